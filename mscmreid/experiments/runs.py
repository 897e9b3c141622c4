"""Several configs with several seeds, on several splits: run one by one, side by side or as jobs, and resumed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mscmreid.apis.config import config_hash, load_config
from mscmreid.engine.runner.checkpoint import trained_checkpoint
from mscmreid.engine.runner.ownership import ABLATION, owned
from mscmreid.engine.runner.run_config import LOADERS
from mscmreid.evaluation import load_results
from mscmreid.evaluation.results import conforms
from mscmreid.fileio import sha256_of, write_text
from mscmreid.gate import damage_named, read_json
from mscmreid.resources import find_config

RECORD = "ablate.json"
WHICH = ("last", "best")
SPLITS = tuple(range(1, 11))
"""RegDB's; each is a training and a test, a published number is their mean."""

Call = Callable[[Sequence[str], Path], int]
"""Runs a command, its output appended to a file; returns the exit status."""


@dataclass(frozen=True)
class Plan:
    """What is run; each combination of config, seed and split is a run.

    Attributes:
        configs: files or names of the package's configs, each with a name of its own.
        seeds: different numbers, not negative; ``randomness.seed`` of the runs.
        work_dir: folder of all runs and of the table.
        splits: numbers out of 1 to 10, for configs on RegDB; empty: the split that each config says.
        options: ``KEY=VALUE`` texts of ``--cfg-options`` for every run.
        values: the same, parsed.
        which: test the 'last' epoch of a training or the 'best' in its validation.
        checkpoints: a path with ``{split}``, ``{seed}``, ``{config}`` in it: test these, train nothing.
        rerank: add k-reciprocal re-ranked rows to the results.
        flip: add the features of the mirrored images.
    """

    configs: Sequence[str | Path]
    work_dir: str | Path
    seeds: Sequence[int] = (0,)
    splits: Sequence[int] = ()
    options: Sequence[str] = ()
    values: Mapping[str, Any] | None = None
    which: str = "last"
    checkpoints: str | None = None
    rerank: bool = False
    flip: bool = False

    @property
    def test_options(self) -> list[str]:
        """Options of ``test.py``."""
        return [f"--{name}" for name in ("rerank", "flip") if getattr(self, name)]

    @property
    def results_name(self) -> str:
        """Name of a run's results file: what was tested is a part of it, so no test hides another."""
        tested = "given" if self.checkpoints else self.which
        return "_".join(["results", tested, *(option[2:] for option in self.test_options)]) + ".json"

    def runs(self, need_checkpoints: bool = True) -> list[Run]:
        """One run for each split of each seed of each config, in ``work_dir/<config>/seed_<seed>[/split_<split>]``.

        Args:
            need_checkpoints: whether the ``checkpoints`` must be there, as they must to be tested.

        Raises:
            FileNotFoundError: a config or a checkpoint is missing.
            ValueError: no config, two of one name, no or repeated or negative seeds, unknown or repeated splits, a
                config that is not on RegDB with splits, an option that an axis sets, another ``which``, checkpoints
                that do not name a file for each run.
        """
        paths = [find_config(config) for config in self.configs]
        self._check(paths)
        runs = [
            Run(self, path, seed, split) for path in paths for seed in self.seeds for split in self.splits or (None,)
        ]
        for run in runs:
            if need_checkpoints and run.checkpoint and not run.checkpoint.is_file():
                raise FileNotFoundError(
                    f"{run.title}: expected a checkpoint at {run.checkpoint.absolute()}, found none"
                )
        return runs

    def _check(self, paths: list[Path]) -> None:
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(f"expected config files, found none at {', '.join(missing)}")
        names = [path.stem for path in paths]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected configs with a name of their own each, found {names}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"expected different seeds, 0 or more, found {list(self.seeds)}")
        if len(set(self.splits)) < len(self.splits) or not set(self.splits) <= set(SPLITS):
            raise ValueError(f"splits must be different numbers from 1 to 10, found {list(self.splits)}")
        if self.which not in WHICH:
            raise ValueError(f"which must be one of {WHICH}, found {self.which!r}")
        for key in self.values or {}:
            if key == "randomness.seed" or (self.splits and key.split(".")[-1] == "split_id"):
                raise ValueError(f"{key} is set for each run: choose with --seeds and --splits")
        if self.checkpoints is not None:
            axes = dict(config=len(paths) > 1, seed=len(self.seeds) > 1, split=bool(self.splits))
            for axis in (axis for axis, is_needed in axes.items() if is_needed):
                if f"{{{axis}}}" not in self.checkpoints:
                    raise ValueError(
                        f"checkpoints must name a file for each {axis}, with {{{axis}}} in it, found "
                        f"{self.checkpoints!r}"
                    )
        configs = {path: load_config(path, self.values) for path in paths}
        known: dict[str, Path] = {}
        for path, cfg in configs.items():
            other = known.setdefault(config_hash(cfg), path)
            if other is not path:
                raise ValueError(
                    f"{other} and {path} compute the same, so their difference would be that of nothing: an option of "
                    "--cfg-options may say what they differ in, or one of them differs only in where it writes"
                )
        for path, cfg in configs.items() if self.splits else ():
            for name in ("test_dataloader",) if self.checkpoints else LOADERS:
                dataset = cfg[name].dataset if cfg.get(name) else None
                if dataset is not None and "split_id" not in dataset:
                    raise ValueError(
                        f"{path}: {name}.dataset must be RegDB with a split_id to have splits, found {dict(dataset)}"
                    )


@dataclass(frozen=True)
class Run:
    """One config with one seed, on one split.

    Attributes:
        plan: which it belongs to.
        config: file.
        seed: ``randomness.seed``.
        split: number, or None where the config says it.
    """

    plan: Plan
    config: Path
    seed: int
    split: int | None = None

    @property
    def title(self) -> str:
        """The run's name in messages."""
        return f"{self.config.stem}, seed {self.seed}" + (f", split {self.split}" if self.split else "")

    @property
    def seed_folder(self) -> Path:
        """What the splits of one config and seed share."""
        return Path(self.plan.work_dir, self.config.stem, f"seed_{self.seed}")

    @property
    def folder(self) -> Path:
        """Its own work folder."""
        return self.seed_folder / f"split_{self.split}" if self.split else self.seed_folder

    @property
    def results(self) -> Path:
        """Its results file; it is there when the test is over, not before."""
        return self.folder / self.plan.results_name

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to test, where it is given."""
        names = {"{config}": self.config.stem, "{seed}": str(self.seed), "{split}": str(self.split)}
        path = self.plan.checkpoints
        for name, value in names.items():
            path = path and path.replace(name, value)
        return Path(path) if path else None

    @property
    def axes(self) -> dict[str, int]:
        """The options that make it this run of its plan."""
        return {"randomness.seed": self.seed, **({"split_id": self.split} if self.split else {})}

    @property
    def all_options(self) -> list[str]:
        """``--cfg-options`` of its training and test."""
        return ["--cfg-options", *self.plan.options, *(f"{key}={value}" for key, value in self.axes.items())]

    def load_config(self) -> Config:
        """Its config, with options, seed and split."""
        return load_config(self.config, {**(self.plan.values or {}), **self.axes})


class Record:
    """What is known of a run, in ``ablate.json`` of its folder: which config, how long it trained, whether to the end.

    Raises:
        ValueError: the folder holds a run of another config, or with other options.
    """

    def __init__(self, run: Run) -> None:
        self.path = run.folder / RECORD
        wanted = config_hash(run.load_config())
        self.content: dict[str, Any] = dict(
            config=str(run.config), seed=run.seed, config_hash=wanted, trained=False, attempts=[]
        )
        if self.path.is_file():
            self.content = _read_record(self.path)
            if self.content["config_hash"] != wanted:
                raise ValueError(
                    f"{run.folder} holds a run of {self.content['config']} as it was then or with other options (hash "
                    f"{self.content['config_hash']}, now {wanted}): choose another --work-dir, or delete that folder"
                )

    @property
    def is_trained(self) -> bool:
        """Whether the training came to its end."""
        return self.content["trained"]

    @property
    def training_seconds(self) -> tuple[float, bool]:
        """Seconds of all attempts together, and whether each attempt's are known (a killed one's are not)."""
        seconds = [attempt["seconds"] for attempt in self.content["attempts"]]
        return sum(s for s in seconds if s is not None), None not in seconds

    def start(self) -> None:
        """Note that an attempt to train begins."""
        self.content["attempts"].append(dict(start=time.strftime("%Y-%m-%d %H:%M:%S"), seconds=None))
        self.write()

    def stop(self, seconds: float, trained: bool) -> None:
        """Note how long it took, and whether the training came to its end."""
        self.content["attempts"][-1]["seconds"] = round(seconds, 1)
        self.content["trained"] = trained
        self.write()

    def write(self) -> None:
        """Leave it in the folder."""
        write_text(json.dumps(self.content, indent=1) + "\n", self.path)


def _read_record(path: Path) -> dict[str, Any]:
    """The content of a record, with all that is read of it."""
    what = "the record of a run"
    content = read_json(path, what)
    with damage_named(path, what, "Delete the folder that it is in, or choose another --work-dir"):
        seconds = [attempt["seconds"] for attempt in content["attempts"]]
        kinds = {"config": str, "config_hash": str, "trained": bool}
        wrong = [name for name, kind in kinds.items() if not isinstance(content[name], kind)]
        wrong += ["seconds"] if not all(conforms(one, float | None) for one in seconds) else []
        if wrong:
            raise ValueError(f"{wrong[0]} is not what a run writes")
    return content


def is_finished(run: Run) -> bool:
    """Whether the run's results are there.

    Raises:
        ValueError: the run in that folder is of another config, or nothing says of which; the results are of another
            checkpoint; the file is damaged.
    """
    record = Record(run)
    if not run.results.is_file():
        return False
    if not record.path.is_file():
        raise ValueError(f"{run.results} stands without {RECORD}, which says what it is of: delete it to test again")
    results = load_results(run.results)
    if run.checkpoint is not None and any(r.checkpoint_sha256 != sha256_of(run.checkpoint) for r in results):
        raise ValueError(
            f"{run.results} was made with another checkpoint than {run.checkpoint}: delete it to test again"
        )
    return bool(results)


def job_command(run: Run, script: str, processes: int = 1) -> str:
    """The shell command that does this run alone, as a separate job, and writes no table."""
    plan = run.plan
    command = ["python", script, str(run.config), "--seeds", str(run.seed), "--work-dir", str(plan.work_dir)]
    command += ["--splits", str(run.split)] if run.split else []
    command += ["--checkpoints", plan.checkpoints] if plan.checkpoints else ["--which", plan.which]
    command += plan.test_options + (["--processes", str(processes)] if processes > 1 else [])
    return shlex.join([*command, "--no-table", *(["--cfg-options", *plan.options] if plan.options else [])])


class Processes:
    """Child processes that can be stopped together."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def call(self, command: Sequence[str], log: Path) -> int:
        """Run a command to its end, its output appended to ``log``; returns the exit status."""
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"$ {shlex.join(command)}\n")
            file.flush()
            with self._lock:
                if self._stopped:
                    return 1
                process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
                self._running.add(process)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            process.terminate()


def do_run(run: Run, tools: Path, call: Call, processes: int = 1) -> str | None:
    """Train (or go on training) and test one run.

    Args:
        run: not finished.
        tools: folder of ``train.py`` and ``test.py``.
        call: runs a command.
        processes: that train and test together, on this machine.

    Returns:
        None, or what went wrong.

    Raises:
        FolderInUseError: another process, on this machine or one that shares the folder, is at this run.
    """
    with owned(run.folder, ABLATION):
        return _train_and_test(run, tools, call, processes)


def _train_and_test(run: Run, tools: Path, call: Call, processes: int) -> str | None:
    record, log = Record(run), run.folder / "ablate.log"
    python, where = [sys.executable], ["--work-dir", str(run.folder)]
    if processes > 1:
        python += ["-m", "mscmreid.launch", "--standalone", f"--nproc-per-node={processes}"]
        where += ["--launcher", "pytorch"]
    if run.checkpoint is None and not record.is_trained:
        record.start()
        start = time.monotonic()
        command = [*python, str(tools / "train.py"), str(run.config), *where, "--resume", *run.all_options]
        status = call(command, log)
        record.stop(time.monotonic() - start, trained=status == 0)
        if status:
            return _failure(run, "training", status, log)
    record.write()
    checkpoint = run.checkpoint or trained_checkpoint(run.folder, run.plan.which)
    command = [*python, str(tools / "test.py"), str(run.config), str(checkpoint), *where]
    command += ["--out-json", str(run.results), *run.plan.test_options, *run.all_options]
    status = call(command, log)
    if status:
        return _failure(run, "test", status, log)
    load_results(run.results)
    return None


def _failure(run: Run, part: str, status: int, log: Path) -> str:
    tail = "\n    ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
    return f"{run.title}: the {part} ended with status {status}; the end of {log}:\n    {tail}"


def run_all(
    runs: Sequence[Run], tools: Path, jobs: int = 1, say: Callable[[str], None] = print, processes: int = 1
) -> list[str]:
    """Do all runs that are not finished; one that fails does not keep the others from running.

    Interrupted (KeyboardInterrupt, SystemExit), it ends the processes it started; the next call goes on from there.

    Args:
        runs: of :meth:`Plan.runs`.
        tools: folder of ``train.py`` and ``test.py``.
        jobs: how many run at a time.
        say: takes a line a run.
        processes: of each run.

    Returns:
        What went wrong, an entry a failed run.

    Raises:
        ValueError: ``jobs`` or ``processes`` is less than 1; a folder holds a run of another config (told before
            anything is run).
    """
    if jobs < 1 or processes < 1:
        raise ValueError(f"jobs and processes must be at least 1, found {jobs} and {processes}")
    finished = [run for run in runs if is_finished(run)]
    for run in finished:
        say(f"{run.title}: has results in {run.folder}, not done again")
    children, failures = Processes(), []

    def one(run: Run) -> str | None:
        say(f"{run.title}: running in {run.folder}")
        try:
            return do_run(run, tools, children.call, processes)
        except (ValueError, OSError) as error:
            return f"{run.title}: {error}"

    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(one, run): run for run in runs if run not in finished}
        try:
            for future in as_completed(futures):
                if failure := future.result():
                    failures.append(failure)
                say(failure or f"{futures[future].title}: done")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            children.stop()
            raise
    return failures
