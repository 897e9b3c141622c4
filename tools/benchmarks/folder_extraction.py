"""Features of a large folder with a tiny network: bounded memory, and a killed run goes on where it stood.

    python tools/benchmarks/folder_extraction.py [--images 100000]

The folder holds links to a hundred small pictures (48 x 24); the network is MSCMNet on a narrow ResNet-18 at 32 x 16.
The run is killed (SIGKILL) when two fifths of its shards are written, and started again. For comparison a tenth of the
images is done in a process of its own: what grows with their number is the difference.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from made_up_sysu import write_photos
from measuring import goal, in_child, table

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "mscm_sysu.py"
SHARD = 4096


def extract(folder: str, cache_dir: str) -> dict[str, float]:
    """Extract a folder; seconds, rows, shards that were there, peak memory in MiB."""
    import resource

    from mscmreid.apis import init_model, load_config
    from mscmreid.retrieval.shards import extract_folder

    torch.set_num_threads(1)
    torch.manual_seed(0)
    there = len(list(Path(cache_dir).glob("*.npy")))
    options = {"image_size": (32, 16), "model.backbone.depth": 18, "model.backbone.base_channels": 4}
    cfg = load_config(CONFIG, options)
    cfg.model.backbone.init_cfg = None
    model = init_model(cfg, device="cpu")
    start = time.perf_counter()
    features = extract_folder(model, folder, "infrared", cache_dir, batch_size=256, shard_size=SHARD)
    taken = time.perf_counter() - start
    rows = sum(len(shard) for shard in features.shards)
    assert rows == len(features.paths)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return dict(seconds=taken, rows=rows, there=there, peak=peak)


def make_folder(folder: Path, num_images: int, num_photos: int = 100) -> Path:
    """``num_images`` links to small pictures, a thousand a subfolder."""
    photos = write_photos(folder.with_name(folder.name + "_photos"), num_photos, size=(48, 24))
    for i in range(num_images):
        place = folder / f"{i // 1000:04d}"
        if i % 1000 == 0:
            place.mkdir(parents=True)
        os.link(photos[i % num_photos], place / f"{i % 1000:03d}.jpg")
    return folder


def killed_run(folder: Path, cache: Path, shards: int) -> tuple[int, float]:
    """Start, kill when ``shards`` are written; how many there are then, and seconds since the start."""
    command = [sys.executable, __file__, "--child", str(folder), str(cache)]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(list(cache.glob("*.npy"))) < shards:
        if child.poll() is not None:
            raise RuntimeError(f"the run ended by itself: {child.stderr.read()[-2000:] if child.stderr else ''}")
        time.sleep(0.05)
    time.sleep(0.5)  # into the middle of the next shard
    child.send_signal(signal.SIGKILL)
    child.wait()
    return len(list(cache.glob("*.npy"))), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    if args.child:
        print(json.dumps(extract(*args.child)))
        return
    total = -(-args.images // SHARD)
    if total < 3:
        parser.error(f"--images must be more than {2 * SHARD:,}, found {args.images:,}")
    with tempfile.TemporaryDirectory() as name:
        folder, cache = make_folder(Path(name, "images"), args.images), Path(name, "features")
        cache.mkdir()
        written, before = killed_run(folder, cache, max(1, 2 * total // 5))
        second = in_child(__file__, "--child", folder, cache)
        tenth = make_folder(Path(name, "tenth"), args.images // 10)
        small = in_child(__file__, "--child", tenth, Path(name, "features of the tenth"))
    done = args.images - int(second["there"]) * SHARD
    table(
        ("folder", "images", "seconds", "images/s", "peak memory MiB"),
        [
            (f"killed after {written} of {total} shards", f"{written * SHARD:,}", f"{before:.0f}", "", ""),
            (
                "started again",
                f"{done:,} of {args.images:,}",
                f"{second['seconds']:.0f}",
                f"{done / second['seconds']:.0f}",
                f"{second['peak']:.0f}",
            ),
            (
                "a tenth of it",
                f"{small['rows']:,}",
                f"{small['seconds']:.0f}",
                f"{small['rows'] / small['seconds']:.0f}",
                f"{small['peak']:.0f}",
            ),
        ],
    )
    complete = second["rows"] == args.images and second["there"] == written > 0
    goal(
        f"{args.images:,} images, killed and gone on",
        "every image once, finished shards kept",
        f"{int(second['rows']):,} rows, {int(second['there'])} of {total} shards kept",
        complete,
    )
    growth = second["peak"] - small["peak"]
    goal(
        "memory does not grow with the folder", "<= 64 MiB for ten times the images", f"{growth:.0f} MiB", growth <= 64
    )


if __name__ == "__main__":
    main()
