"""Training from a config."""

from __future__ import annotations

from mmengine.config import Config

from mscmreid.apis.config import drop_missing_backends, set_work_dir
from mscmreid.registry import RUNNERS

AMP = {"fp16": "float16", "bf16": "bfloat16", "none": "float32"}


def train(
    cfg: Config,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: str | None = None,
    launcher: str = "none",
):
    """Train the model of a config.

    Args:
        cfg: of :func:`mscmreid.apis.load_config`.
        work_dir: where logs and checkpoints go; see :func:`mscmreid.apis.config.set_work_dir`.
        resume: 'auto' goes on from the last intact checkpoint in the work folder (from the beginning if there is
            none), a path from that file.
        amp: 'fp16', 'bf16' or 'none', instead of the config's precision.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.

    Returns:
        The runner, after training.
    """
    if cfg.get("strategy") is not None:
        raise ValueError(
            "strategy (FSDP, DeepSpeed, ...) belongs to MMEngine's FlexibleRunner, which these tools do not use: leave "
            "it out; several processes train data-parallel (docs/distributed.md)"
        )
    set_work_dir(cfg, work_dir)
    cfg.launcher = launcher
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
    runner = RUNNERS.build(cfg)
    if message:
        runner.logger.warning(message)
    runner.train()
    return runner
