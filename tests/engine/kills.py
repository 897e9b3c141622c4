"""Kills training runs with SIGKILL at random moments, resumes them, and compares them with one that was left alone.

    python tests/engine/kills.py [--variant plain --kills 100 --seed 0 --workers 0]

Runs are processes forked from this one, which has imported everything: a run of a second dies in any part of its life,
the start included. Half of the kills come at a moment drawn uniformly from the length of a whole run, half of them
while a checkpoint is being written. What is killed is a run's whole process group, with several processes all of them,
or only one. After each kill the run is started again with ``--resume``; when one reaches its end, its last checkpoint,
its best one and its log must be those of the straight run, to the bit, and the next starts in an empty folder.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ports import free_port
from toy_runs import logged_scalars, make_toy_sysu, toy_run, without_times

from mscmreid.apis import train
from mscmreid.engine.runner.checkpoint import read_checkpoint

EPOCHS, ITERATIONS = 4, 10
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": dict(ema=True),
    "bfloat16": dict(amp="bf16"),
    "two processes": dict(processes=2),
    "two processes, all options": dict(processes=2, ema=True, amp="bf16", sync_bn=True),
}
STAGES = ("starting", "training", "validating")
GIVE_UP_AFTER = 120.0


class StageHook(Hook):
    """Tells the process outside what the run is doing."""

    priority = "VERY_HIGH"
    stage: Any = None  # shared by processes; a config, which is copied, cannot hold it

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.stage.value = STAGES.index("training")

    def before_val(self, runner: Any) -> None:
        self.stage.value = STAGES.index("validating")


@dataclass
class Campaign:
    """What was done and found.

    Attributes:
        kills: (stage, whether a checkpoint was half written) -> how often.
        lives: kills that each finished run had survived.
        differences: what differed from the straight run; should be empty.
        length: seconds that the straight run took.
    """

    kills: Counter = field(default_factory=Counter)
    lives: list[int] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    length: float = 0.0


@dataclass
class Killer:
    """Starts and kills runs of one variant in ``folder``."""

    folder: Path
    data_root: Path
    processes: int = 1
    ema: bool = False
    amp: str = "none"
    sync_bn: bool = False
    workers: int = 0

    def start(self, work_dir: Path) -> tuple[list[multiprocessing.Process], Any]:
        """The processes of a run that goes on in ``work_dir``, and its stage."""
        context = multiprocessing.get_context("fork")
        stage = context.Value(ctypes.c_int, 0, lock=False)
        port = free_port()
        run = [context.Process(target=self._run, args=(work_dir, rank, port, stage)) for rank in range(self.processes)]
        for process in run:
            process.start()
        return run, stage

    def _run(self, work_dir: Path, rank: int, port: str, stage: Any) -> None:
        os.setpgid(0, 0)
        log = os.open(self.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        torch.set_num_threads(1)
        StageHook.stage = stage
        sys.modules["mmengine.runner.runner"].collect_env = dict  # asks compilers for their versions: seconds
        options: dict[str, Any] = dict(
            randomness=dict(seed=0, deterministic=True),
            train_cfg__max_epochs=EPOCHS,
            train_dataloader__batch_sampler__num_batches=ITERATIONS,
            experiment_name="run",
            log_level="INFO",
        )
        for part in ("train", "val"):
            options[f"{part}_dataloader__num_workers"] = self.workers
        if self.sync_bn:
            options["sync_bn"] = "torch"
        cfg = toy_run(self.data_root, work_dir, **options)
        cfg.custom_hooks = [*cfg.custom_hooks, dict(type=StageHook)]
        if self.ema:
            cfg.custom_hooks = [*cfg.custom_hooks, dict(type="EMAHook", momentum=0.1, update_buffers=True)]
        launcher = "none"
        if self.processes > 1:
            launcher = "pytorch"
            os.environ |= dict(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(self.processes),
                LOCAL_WORLD_SIZE=str(self.processes),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            )
        train(cfg, resume="auto", amp=self.amp, launcher=launcher)

    def live(self, work_dir: Path, may_die: Callable[[], tuple[float, bool, int] | None], found: Campaign) -> int:
        """One run to its end through as many kills as ``may_die`` asks for: how many there were.

        ``may_die`` gives (seconds to live, whether to wait for a checkpoint being written then, how many of the
        processes die at once), or None: leave it alone.
        """
        times = reached = 0
        while True:
            left = half_written(work_dir)
            processes, stage = self.start(work_dir)
            end = may_die()
            if end is not None and self._wait_and_kill(work_dir, left, processes, *end):
                found.kills[STAGES[stage.value], bool(half_written(work_dir) - left)] += 1
                times += 1
            else:
                self._wait(processes)
                codes = [process.exitcode for process in processes]
                if any(codes):
                    output = (self.folder / "output.txt").read_text()
                    raise RuntimeError(f"a run that nobody killed ended with {codes}:\n{output[-4000:]}")
                return times
            epochs = max([int(path.stem.removeprefix("epoch_")) for path in work_dir.glob("epoch_*.pth")], default=0)
            if epochs < reached:
                raise RuntimeError(f"epoch {reached} had its checkpoint, after the next kill the newest is {epochs}")
            reached = epochs

    def _wait_and_kill(
        self,
        work_dir: Path,
        left: set[tuple[str, int]],
        processes: list[multiprocessing.Process],
        seconds: float,
        writing: bool,
        dying: int,
    ) -> bool:
        """Whether the run was killed (it may have come to its end before); ``left``: what lay there half written."""
        start = time.monotonic()
        while time.monotonic() - start < seconds or (writing and not half_written(work_dir) - left):
            if not all(process.is_alive() for process in processes):
                return False
            time.sleep(0.0005)
        for process in processes[:dying]:
            _kill_group(process)
        for process in processes[dying:]:
            process.join(random.uniform(0, 0.2))  # the others notice, or wait for the dead one, and are ended too
            _kill_group(process)
        self._wait(processes)
        return True

    @staticmethod
    def _wait(processes: list[multiprocessing.Process]) -> None:
        for process in processes:
            process.join(GIVE_UP_AFTER)
            if process.is_alive():
                _kill_group(process)
                process.join()
                raise RuntimeError(f"a run had not ended after {GIVE_UP_AFTER:.0f} s")


def _kill_group(process: multiprocessing.Process) -> None:
    for kill in (os.killpg, os.kill):  # the group may not be there yet
        try:
            kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def half_written(work_dir: Path) -> set[tuple[str, int]]:
    """(name, inode) of checkpoints that are, or were when their process died, being written."""
    found = set()
    for path in work_dir.glob(".*.pth.*.tmp"):
        try:
            found.add((path.name, path.stat().st_ino))
        except FileNotFoundError:  # moved into place meanwhile
            continue
    return found


def differences(whole: Path, other: Path) -> list[str]:
    """What in two finished work folders is not the same, to the bit."""
    found = []
    names = [sorted(p.name for p in folder.glob("*.pth")) for folder in (whole, other)]
    if names[0] != names[1]:
        return [f"files {names[0]} and {names[1]}"]
    for name in names[0]:
        ours, theirs = read_checkpoint(whole / name), read_checkpoint(other / name)
        for part in sorted({*ours, *theirs} - {"meta", "message_hub"}):
            found += [f"{name}: {part}{where}" for where in unequal(ours.get(part), theirs.get(part))]
        scalars = [without_times(content["message_hub"]["log_scalars"]) for content in (ours, theirs)]
        found += [f"{name}: logged {where}" for where in unequal(*scalars)]
    logs = [logged_scalars(folder) for folder in (whole, other)]
    found += [f"the log of {where}" for where in unequal(*logs)]
    left = [path.name for path in other.glob(".*.tmp")]
    return found + [f"left behind: {name}" for name in left]


def unequal(one: Any, other: Any, where: str = "") -> list[str]:
    """Paths to what differs in two structures of containers, tensors and values."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if list(one) != list(other) and set(one) != set(other):
            return [f"{where}: {sorted(map(str, set(one) ^ set(other)))[:5]} in one only"]
        return [path for key in one for path in unequal(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [path for i, pair in enumerate(zip(one, other, strict=True)) for path in unequal(*pair, f"{where}/{i}")]
    return [] if type(one) is type(other) and one == other else [where]


def campaign(variant: str, kills: int, seed: int, folder: Path, workers: int = 0) -> Campaign:
    """Kill runs of a variant ``kills`` times in all."""
    rng = random.Random(f"{variant} {seed}")
    options = VARIANTS[variant]
    killer = Killer(folder, make_toy_sysu(folder / "data"), **options, workers=workers)
    found = Campaign()
    start = time.monotonic()
    killer.live(folder / "straight", lambda: None, found)
    found.length = time.monotonic() - start

    def moment() -> tuple[float, bool, int] | None:
        if sum(found.kills.values()) >= kills:
            return None
        return rng.uniform(0, found.length), rng.random() < 0.5, rng.randint(1, killer.processes)

    while sum(found.kills.values()) < kills:
        work_dir = folder / f"life{len(found.lives)}"
        found.lives.append(killer.live(work_dir, moment, found))
        found.differences += [f"{work_dir.name}: {text}" for text in differences(folder / "straight", work_dir)]
        shutil.rmtree(work_dir)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--kills", type=int, default=100, help="of each variant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="data workers of a run")
    args = parser.parse_args()
    bad = []
    for variant in args.variant:
        with tempfile.TemporaryDirectory() as folder:
            found = campaign(variant, args.kills, args.seed, Path(folder), args.workers)
        kinds = [f"{count} {stage}{', writing' * writing}" for (stage, writing), count in found.kills.most_common()]
        print(
            f"{variant}: {sum(found.kills.values())} kills ({'; '.join(kinds)}) in {len(found.lives)} runs of "
            f"{found.length:.1f} s each left alone, at most {max(found.lives)} in one; "
            f"{len(found.differences)} differences",
            flush=True,
        )
        bad += found.differences
    if bad:
        sys.exit("\n".join(bad[:20]))


if __name__ == "__main__":
    main()
