"""Testing a checkpoint under every protocol of a config."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log

from mscmreid import __version__
from mscmreid.apis.config import config_hash, config_of_stage, drop_missing_backends, naming_the_part, set_work_dir
from mscmreid.engine.runner.checkpoint import read_checkpoint
from mscmreid.engine.runner.checks import check_people, check_split
from mscmreid.engine.runner.runner import ReIDRunner
from mscmreid.evaluation import VIReIDMetric
from mscmreid.fileio import sha256_of
from mscmreid.registry import RUNNERS

UNTRAINED = "untrained"
"""In the place of a checkpoint: score the network as it is initialised (to compare with)."""


def test(
    cfg: Config,
    checkpoint: str | Path,
    work_dir: str | None = None,
    out_features: str | None = None,
    out_json: str | None = None,
    rerank: bool = False,
    flip: bool = False,
    precision: str | None = None,
    launcher: str = "none",
) -> list:
    """Extract features once, rank them under all protocols of ``test_evaluator``, print and save the table.

    Args:
        cfg: of :func:`mscmreid.apis.load_config`.
        checkpoint: of training, or a converted official one; every weight must fit. The word 'untrained' scores the
            network as it is initialised.
        work_dir: where the log and the results go; see :func:`mscmreid.apis.config.set_work_dir`.
        out_features: .npz file to keep the features of *all* rows of the test data in.
        out_json: file for the results; None: ``test_<checkpoint>.json`` in the work folder.
        rerank: a k-reciprocal re-ranked row behind every plain one.
        flip: flip test-time augmentation: the features of the mirrored images are added.
        precision: 'float32', 'tf32', 'mixed', 'bfloat16' or 'float16' of the forward pass, instead of the config's.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.

    Returns:
        List of :class:`mscmreid.evaluation.results.Result`, one for each row of the table (in the main process).

    Raises:
        FileNotFoundError, ValueError: the checkpoint is missing, damaged, does not fit the model, or was trained on
            another split of the data.
    """
    runner = prepare_test(
        cfg,
        checkpoint,
        work_dir,
        out_features,
        out_json,
        rerank=rerank,
        flip=flip,
        precision=precision,
        launcher=launcher,
    )
    runner.test()
    metric = ranking_metric(runner)
    print_log(f"results: {metric.out_json}", "current")
    return metric.last_results


def prepare_test(
    cfg: Config,
    checkpoint: str | Path,
    work_dir: str | None = None,
    out_features: str | None = None,
    out_json: str | None = None,
    rerank: bool = False,
    flip: bool = False,
    precision: str | None = None,
    launcher: str = "none",
) -> ReIDRunner:
    """A runner whose ``test()`` is the test that :func:`test` (same arguments and errors) makes."""
    untrained = str(checkpoint) == UNTRAINED
    content = {} if untrained else read_checkpoint(checkpoint)
    meta = content.get("meta", {})
    set_work_dir(cfg, work_dir)
    cfg = config_of_stage(cfg, meta)
    cfg.launcher = launcher
    cfg.resume, cfg.load_from, cfg.load_strict = False, None if untrained else str(checkpoint), True
    drop_missing_backends(cfg)
    metric = set_test_options(cfg, rerank, flip, precision)
    metric.out_features = out_features
    metric.out_json = out_json or str(Path(cfg.work_dir, f"test_{Path(checkpoint).stem}.json"))
    with naming_the_part(cfg):
        runner = RUNNERS.build(cfg)
        if not untrained:
            runner.check_fits(content, str(checkpoint))
        runner._test_loop = runner.build_test_loop(runner._test_loop)
    for check in (check_split, check_people):
        check(meta.get("dataset_meta"), runner.test_loop.dataloader.dataset.metainfo, checkpoint)
    if untrained:
        runner.logger.warning("no checkpoint: this scores the network as it is initialised")
        runner._init_model_weights()
    initial_weights = runner.initial_weights if untrained else meta.get("initial_weights")
    _describe(runner.test_loop.evaluator, cfg, None if untrained else Path(checkpoint), initial_weights)
    return runner


def ranking_metric(runner: ReIDRunner) -> VIReIDMetric:
    """The metric of the test loop that ranks."""
    return next(metric for metric in runner.test_loop.evaluator.metrics if isinstance(metric, VIReIDMetric))


def set_test_options(cfg: Config, rerank: bool = False, flip: bool = False, precision: str | None = None) -> ConfigDict:
    """Write the options of a test that change its numbers into the config (arguments as in :func:`test`).

    Returns:
        The config of the metric.
    """
    if flip:
        add_flip(cfg)
    if precision is not None:
        cfg.test_cfg.precision = precision
    metric = _ranking_metric(cfg)
    metric.rerank = rerank or metric.get("rerank", False)
    return metric


def add_flip(cfg: Config) -> None:
    """Let the model of a config extract mirrored images, too; added, where the config does not say how they join."""
    inference = dict(cfg.model.get("inference") or {})
    cfg.model.inference = {**inference, "flip": inference.get("flip") or "add"}


def _ranking_metric(cfg: Config) -> ConfigDict:
    """The config of the one VIReIDMetric of ``test_evaluator``."""
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    found = [e for e in evaluators if str(e.type).split(".")[-1] == "VIReIDMetric"]
    if len(found) != 1:
        raise ValueError(f"test_evaluator must have one VIReIDMetric, found {[e.type for e in evaluators]}")
    return found[0]


def _describe(evaluator: Evaluator, cfg: Config, checkpoint: Path | None, initial_weights: str | None) -> None:
    """Tell the metrics where the features come from."""
    meta = dict(
        checkpoint=UNTRAINED if checkpoint is None else str(checkpoint),
        checkpoint_sha256=None if checkpoint is None else sha256_of(checkpoint),
        initial_weights=initial_weights,
        config_hash=config_hash(cfg),
        stage=cfg.get("stage"),
        versions=dict(mscmreid=__version__, torch=str(torch.__version__)),
    )
    for metric in evaluator.metrics:
        metric.meta = dict(getattr(metric, "meta", {}), **meta)
