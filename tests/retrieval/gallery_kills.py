"""Kills writers of a gallery with SIGKILL at random moments, and looks at the gallery after each.

    python tests/retrieval/gallery_kills.py [--kills 100 --seed 0]

A writer is a process forked from this one. It adds a folder of which a part is new and a part has changed, or takes
images out, or compacts. After each kill the gallery must be, image for image and feature for feature, what it was
before the call or what it is to be after it; then the call is made again. When it gets through, images must be there
once each, and somebody who has had the gallery open all the time must still see the old version. The first calls are
left alone, to see how long they take.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toy_galleries import MadeUpEncoder

from mscmreid import progress
from mscmreid.retrieval import adding
from mscmreid.retrieval.gallery import Gallery

State = dict[str, bytes]
"""Path -> content of the file whose feature the gallery has."""


@dataclass
class Campaign:
    """What was done and found.

    Attributes:
        kills: (what the writer did, whether the gallery was then as before or as after the call) -> how often.
        calls: that got through.
        wrong: what was not as it should be; should be empty.
    """

    kills: Counter = field(default_factory=Counter)
    calls: int = 0
    wrong: list[str] = field(default_factory=list)

    def num_kills(self, of: str) -> int:
        """Of one kind of call."""
        return sum(count for (what, _), count in self.kills.items() if what == of)


class Killer:
    """Writers of one gallery, killed at random."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.encoder = MadeUpEncoder(seconds=0.0005)
        self.images, self.path = folder / "images", folder / "gallery"
        self.images.mkdir()
        Gallery.create(self.path, self.encoder)
        self.count = 0
        self.length: dict[str, float] = {}
        adding.SEGMENT, adding.ENCODED_AT_A_TIME = 16, 8

    def change_files(self) -> None:
        """New files, and other content in some of those that were there."""
        old = sorted(self.images.iterdir())
        for path in self.rng.sample(old, min(len(old), 5)):
            path.write_bytes(b"%d, changed" % self.rng.randrange(10**6))
        for _ in range(self.rng.randint(20, 80)):
            self.count += 1
            (self.images / f"{self.count:05d}.png").write_bytes(b"%d, new" % self.rng.randrange(50))

    def state(self, gallery: Gallery) -> State:
        """What a gallery has; a feature that is not its file's, or a file that is there twice, is an error."""
        gallery.verify()
        found: State = {}
        alive = np.flatnonzero(gallery.snapshot.alive)
        features = gallery.snapshot.features(alive)
        columns = gallery.snapshot.columns
        if len(set(columns.row[alive].tolist())) != len(alive):
            raise AssertionError("two rows have one number")
        for place, feature in zip(alive.tolist(), features, strict=True):
            path = columns.path[place]
            if path in found:
                raise AssertionError(f"{path} is there twice")
            found[path] = feature.tobytes()
        return found

    def feature_of(self, path: Path) -> bytes:
        """The feature that a file has."""
        return MadeUpEncoder().encode([path], "visible").tobytes()

    def live(self, what: str, work: Callable[[Gallery], object], after: State, kills: int, found: Campaign) -> None:
        """One call, made again after each kill, until it gets through; at most ``kills`` kills."""
        reader = Gallery.open(self.path)
        before = self.state(reader)
        killed_here = 0
        while True:
            process = multiprocessing.get_context("fork").Process(target=self._write, args=(work,))
            start = time.monotonic()
            process.start()
            may_die = found.num_kills("add") < kills if what == "add" else killed_here < 1
            if what in self.length and may_die:
                process.join(self.rng.uniform(0, 1.2 * self.length[what]))
                if process.exitcode is None:
                    os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            now = self.state(Gallery.open(self.path))
            if process.exitcode == -signal.SIGKILL:
                killed_here += 1
                is_before, is_after = now == before, now == after
                if not (is_before or is_after):
                    found.wrong.append(
                        f"after a kill in {what}: {len(now)} images, {len(before)} or {len(after)} wanted"
                    )
                found.kills[what, "as before" if is_before else "as after"] += 1
                if is_after and not is_before:
                    before = now
                continue
            if process.exitcode != 0:
                found.wrong.append(f"{what} that nobody killed ended with {process.exitcode}")
            if not killed_here:
                self.length[what] = time.monotonic() - start
            break
        found.calls += 1
        if now != after:
            found.wrong.append(f"after {what}: {len(now)} images, {len(after)} wanted, or others")
        left = self.state(reader)
        reopened = reader.search(features=reader.features([reader.hits()[0].row]), top=3) if left else []
        if left != self._first_seen or (left and not reopened):
            found.wrong.append(f"a reader saw something else after {what}")

    def _write(self, work: Callable[[Gallery], object]) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work(Gallery.open(self.path, self.encoder))

    def round(self, kills: int, found: Campaign) -> None:
        """Add, take out, compact."""
        self.change_files()
        self._first_seen = self.state(Gallery.open(self.path))
        after = {str(path): self.feature_of(path) for path in sorted(self.images.iterdir())}
        self.live("add", lambda gallery: gallery.add(self.images, "visible"), after, kills, found)
        unfinished = Gallery.open(self.path).info()["unfinished"]
        if unfinished:
            found.wrong.append(f"{unfinished} rows of interrupted calls were left behind")
        gone = self.rng.sample(sorted(after), 10)
        for path in gone:
            Path(path).unlink()
        after = {path: feature for path, feature in after.items() if path not in gone}
        self._first_seen = self.state(Gallery.open(self.path))
        self.live("remove", lambda gallery: gallery.remove(paths=gone), after, kills, found)
        self._first_seen = after
        self.live("compact", lambda gallery: gallery.compact(), after, kills, found)


def campaign(kills: int, seed: int, folder: Path) -> Campaign:
    """Kill ``kills`` calls of ``add``, and on the way at most one in each ``remove`` and ``compact``."""
    killer, found = Killer(folder, seed), Campaign()
    while found.num_kills("add") < kills and not found.wrong:
        killer.round(kills, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="in add")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    progress.log = lambda *_: None
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(args.kills, args.seed, Path(folder))
    kinds = [f"{count} in {what}, {how}" for (what, how), count in found.kills.most_common()]
    print(
        f"{sum(found.kills.values())} kills ({'; '.join(kinds)}); {found.calls} calls got through; "
        f"{len(found.wrong)} differences"
    )
    if found.wrong:
        sys.exit("\n".join(found.wrong))


if __name__ == "__main__":
    main()
