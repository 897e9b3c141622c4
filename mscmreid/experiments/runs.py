"""Several configs with several seeds: run one after another, side by side or as separate jobs, and resumed."""

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
from mscmreid.engine.runner.checkpoint import trained_checkpoint, write_text
from mscmreid.evaluation import load_results
from mscmreid.resources import find_config

RECORD = "ablate.json"
WHICH = ("last", "best")

Call = Callable[[Sequence[str], Path], int]
"""Runs a command, its output appended to a file; returns the exit status."""


@dataclass(frozen=True)
class AblationRun:
    """One config with one seed.

    Attributes:
        config: file.
        seed: ``randomness.seed`` of the run.
        folder: its own work folder.
        options: ``KEY=VALUE`` texts for ``--cfg-options``, besides the seed's.
        values: the same, parsed.
        which: test the 'last' or the 'best' epoch.
    """

    config: Path
    seed: int
    folder: Path
    options: tuple[str, ...]
    values: Mapping[str, Any]
    which: str

    @property
    def title(self) -> str:
        """The run's name in messages."""
        return f"{self.config.stem}, seed {self.seed}"

    @property
    def results(self) -> Path:
        """Its results file; it is there when the test is over, not before."""
        return self.folder / f"results_{self.which}.json"

    @property
    def all_options(self) -> list[str]:
        """``--cfg-options`` of its training and test."""
        return ["--cfg-options", *self.options, f"randomness.seed={self.seed}"]

    def load_config(self) -> Config:
        """Its config, with options and seed."""
        return load_config(self.config, {**self.values, "randomness.seed": self.seed})


class Record:
    """What is known of a run, in ``ablate.json`` of its folder: which config, how long it trained, whether to the end.

    Raises:
        ValueError: the folder holds a run of another config, or with other options.
    """

    def __init__(self, run: AblationRun) -> None:
        self.path = run.folder / RECORD
        wanted = config_hash(run.load_config())
        self.content: dict[str, Any] = dict(
            config=str(run.config), seed=run.seed, config_hash=wanted, trained=False, attempts=[]
        )
        if self.path.is_file():
            self.content = json.loads(self.path.read_text())
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
        self._write()

    def stop(self, seconds: float, trained: bool) -> None:
        """Note how long it took, and whether the training came to its end."""
        self.content["attempts"][-1]["seconds"] = round(seconds, 1)
        self.content["trained"] = trained
        self._write()

    def _write(self) -> None:
        write_text(json.dumps(self.content, indent=1) + "\n", self.path)


def plan_runs(
    configs: Sequence[str | Path],
    seeds: Sequence[int],
    work_dir: str | Path,
    options: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    which: str = "last",
) -> list[AblationRun]:
    """One run for each seed of each config, in ``work_dir/<config>/seed_<seed>``; configs first.

    Args:
        configs: files or names of the package's configs, each with a name of its own.
        seeds: different numbers, not negative.
        work_dir: folder of all runs and of the table.
        options: ``KEY=VALUE`` texts for every run.
        values: the same, parsed.
        which: test the 'last' epoch of a training or the 'best' in its validation.

    Raises:
        FileNotFoundError: a config is missing.
        ValueError: no config, two of one name, no or repeated or negative seeds, another ``which``.
    """
    paths = [find_config(config) for config in configs]
    names = [path.stem for path in paths]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"expected configs with a name of their own each, found {names}")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"expected different seeds, 0 or more, found {list(seeds)}")
    if which not in WHICH:
        raise ValueError(f"which must be one of {WHICH}, found {which!r}")
    return [
        AblationRun(path, seed, Path(work_dir, path.stem, f"seed_{seed}"), tuple(options), dict(values or {}), which)
        for path in paths
        for seed in seeds
    ]


def is_finished(run: AblationRun) -> bool:
    """Whether the run's results are there.

    Raises:
        ValueError: they, or the run in that folder, are of another config; the file is damaged.
    """
    Record(run)
    return run.results.is_file() and bool(load_results(run.results))


def job_command(run: AblationRun, script: str, work_dir: str | Path) -> str:
    """The shell command that does this run alone, as a separate job, and writes no table."""
    command = [script, str(run.config), "--seeds", str(run.seed), "--work-dir", str(work_dir), "--which", run.which]
    return shlex.join(["python", *command, "--no-table", *(["--cfg-options", *run.options] if run.options else [])])


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


def do_run(run: AblationRun, tools: Path, call: Call) -> str | None:
    """Train (or go on training) and test one run.

    Args:
        run: not finished.
        tools: folder of ``train.py`` and ``test.py``.
        call: runs a command.

    Returns:
        None, or what went wrong.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    record, log = Record(run), run.folder / "ablate.log"
    where = ["--work-dir", str(run.folder)]
    if not record.is_trained:
        record.start()
        start = time.monotonic()
        command = [sys.executable, str(tools / "train.py"), str(run.config), *where, "--resume", *run.all_options]
        status = call(command, log)
        record.stop(time.monotonic() - start, trained=status == 0)
        if status:
            return _failure(run, "training", status, log)
    checkpoint = trained_checkpoint(run.folder, run.which)
    command = [sys.executable, str(tools / "test.py"), str(run.config), str(checkpoint), *where]
    status = call([*command, "--out-json", str(run.results), *run.all_options], log)
    if status:
        return _failure(run, "test", status, log)
    load_results(run.results)
    return None


def _failure(run: AblationRun, part: str, status: int, log: Path) -> str:
    tail = "\n    ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
    return f"{run.title}: the {part} ended with status {status}; the end of {log}:\n    {tail}"


def run_all(runs: Sequence[AblationRun], tools: Path, jobs: int = 1, say: Callable[[str], None] = print) -> list[str]:
    """Do all runs that are not finished; one that fails does not keep the others from running.

    Interrupted (KeyboardInterrupt, SystemExit), it ends the processes it started; the next call goes on from there.

    Args:
        runs: of :func:`plan_runs`.
        tools: folder of ``train.py`` and ``test.py``.
        jobs: how many run at a time.
        say: takes a line a run.

    Returns:
        What went wrong, an entry a failed run.

    Raises:
        ValueError: ``jobs`` is less than 1; a folder holds a run of another config (told before anything is run).
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, found {jobs}")
    finished = [run for run in runs if is_finished(run)]
    for run in finished:
        say(f"{run.title}: has results in {run.folder}, not done again")
    processes, failures = Processes(), []

    def one(run: AblationRun) -> str | None:
        say(f"{run.title}: running in {run.folder}")
        try:
            return do_run(run, tools, processes.call)
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
            processes.stop()
            raise
    return failures
