"""Training from a config."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner

from mscmreid.apis.config import drop_missing_backends, naming_the_part, set_work_dir, stage_config
from mscmreid.engine.runner.checkpoint import (
    STAGES,
    find_checkpoints,
    finished_stages,
    read_checkpoint,
    trained_checkpoint,
)
from mscmreid.engine.runner.ownership import owned, require_empty
from mscmreid.engine.runner.processes import launcher_rank
from mscmreid.fileio import write_text
from mscmreid.interruption import kept_when_interrupted
from mscmreid.registry import RUNNERS

AMP = {"fp16": "float16", "bf16": "bfloat16", "none": "float32"}


def train(
    cfg: Config,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: str | None = None,
    launcher: str = "none",
    overwrite: bool = False,
    preemptible: bool = False,
) -> Runner:
    """Train the model of a config, stage after stage where it has ``stages``.

    The work folder belongs to this training while it lasts: a second one in it is refused.

    Args:
        cfg: of :func:`mscmreid.apis.load_config`.
        work_dir: where logs and checkpoints go; see :func:`mscmreid.apis.config.set_work_dir`. Each stage has a folder
            of its own name in it.
        resume: 'auto' goes on from the last intact checkpoint in the work folder (from the beginning if there is
            none), a path from that file. With stages: in the stage that has not come to its end, or is the file's.
        amp: 'fp16', 'bf16' or 'none', instead of the config's precision.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        overwrite: delete the checkpoints of an earlier training in the work folder.
        preemptible: on SIGTERM write a checkpoint, in the middle of an epoch if need be, see
            :class:`mscmreid.engine.PreemptionHook`.

    Returns:
        The runner (of the last stage), after training.

    Raises:
        FolderInUseError: another process trains in the work folder.
        ValueError: the work folder has checkpoints, and neither ``resume`` nor ``overwrite`` says what to do with them.
    """
    set_work_dir(cfg, work_dir)
    cfg.launcher = launcher
    if overwrite and resume is not None:
        raise ValueError("--overwrite begins anew, --resume goes on: choose one of them")
    if resume not in (None, "auto") and not Path(resume).is_file():
        raise FileNotFoundError(f"expected a checkpoint to resume from at {resume}, found no file")
    # of the processes of one run the first owns the folder for all
    is_first = launcher_rank(launcher) == 0
    with owned(cfg.work_dir) if is_first else nullcontext():
        elsewhere = resume not in (None, "auto") and Path(resume).parent.resolve() != Path(cfg.work_dir).resolve()
        if is_first and (resume is None or (elsewhere and not cfg.get("stages"))):
            require_empty(cfg.work_dir, list(cfg.get("stages") or ()), overwrite)
        if preemptible:
            cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), dict(type="PreemptionHook")]
        with kept_when_interrupted(lambda: _kept(Path(cfg.work_dir), list(cfg.get("stages") or ()))):
            return _train_stages(cfg, resume, amp) if cfg.get("stages") else _train(cfg, resume, amp)


def _kept(folder: Path, stages: Sequence[str]) -> str:
    """What an interrupted training leaves, and how to go on."""
    parts = [folder, *(folder / stage for stage in stages)]
    found = [path for part in parts for path in find_checkpoints(part)]
    if not found:
        return f"no checkpoint was written in {folder} yet; start again"
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return f"{newest} is kept; the same command with --resume goes on from there"


def _train_stages(cfg: Config, resume: str | None, amp: str | None) -> Runner:
    """Train stage after stage."""
    folder, names = Path(cfg.work_dir), list(cfg.stages)
    finished = _stages_before(names, folder, resume)
    if launcher_rank(cfg.launcher) == 0:
        for name in names[len(finished) + 1 :]:  # they begin anew, and not in hours but now it is told if they cannot
            require_empty(folder / name)
    runner: Any = None
    for name in names[len(finished) :]:
        staged = stage_config(cfg, name)
        staged.work_dir = str(folder / name)
        staged.experiment_name = f"{cfg.get('experiment_name') or Path(cfg.filename or 'run').stem}_{name}"
        if resume == "auto" and finished and not find_checkpoints(staged.work_dir):
            resume = None  # it was interrupted before its first checkpoint
        if resume is not None:
            staged.load_from = None
        elif finished:
            which = cfg.stages[name].get("start_from", "last")
            staged.load_from = str(trained_checkpoint(folder / finished[-1], which))
        print_log(f"stage {name!r}", "current")
        runner = None  # the memory of the stage before
        runner = _train(staged, resume, amp)
        resume = None
        finished = [*finished, name]
        if is_main_process():
            write_text(json.dumps(finished), folder / STAGES)
        barrier()  # the next stage reads what the main process has written
    return runner


def _stages_before(names: Sequence[str], folder: Path, resume: str | None) -> list[str]:
    """The stages that need not be trained any more.

    Raises:
        ValueError: the checkpoint to resume from, or the folder, is of other stages; all are finished.
    """
    if resume is None:
        (folder / STAGES).unlink(missing_ok=True)
        return []
    if resume != "auto":
        stage = read_checkpoint(resume)["meta"].get("stage")
        if stage not in names:
            raise ValueError(f"{resume} was made in the stage {stage!r}, the config has {list(names)}")
        return list(names[: names.index(stage)])
    finished = finished_stages(folder)
    if finished != list(names[: len(finished)]):
        raise ValueError(f"{folder} holds the stages {finished}, the config has {list(names)}: choose another folder")
    return finished[: len(names) - 1]  # a finished last stage is resumed at its end


def _train(cfg: Config, resume: str | None, amp: str | None) -> Runner:
    """Train one config without stages."""
    if cfg.get("strategy") is not None:
        raise ValueError(
            "strategy (FSDP, DeepSpeed, ...) belongs to MMEngine's FlexibleRunner, which these tools do not use: leave "
            "it out; several processes train data-parallel (docs/distributed.md)"
        )
    if amp is not None:
        if amp not in AMP:
            raise ValueError(f"--amp must be one of {sorted(AMP)}, found {amp!r}")
        if cfg.optim_wrapper.get("type", "OptimWrapper") not in (
            "OptimWrapper",
            "AmpOptimWrapper",
            "AutocastOptimWrapper",
        ):
            raise ValueError(f"--amp does not fit optim_wrapper.type={cfg.optim_wrapper.type!r} of the config")
        cfg.optim_wrapper.type = "AutocastOptimWrapper"
        cfg.optim_wrapper.dtype = AMP[amp]
    if resume == "auto":
        cfg.resume = "auto"
    elif resume is not None:
        cfg.resume, cfg.load_from = True, resume
    message = drop_missing_backends(cfg)
    with naming_the_part(cfg):
        runner = RUNNERS.build(cfg)
        if message:
            runner.logger.warning(message)
        runner.train()
    return runner
