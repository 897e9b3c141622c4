"""Testing a checkpoint on clean images and under every bad condition."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from mscmreid.apis.test import prepare_test, ranking_metric
from mscmreid.corruptions import INFRARED, SEVERITIES, choose_corruptions, family_of
from mscmreid.datasets import corrupted_rows
from mscmreid.engine.runner.runner import ReIDRunner
from mscmreid.evaluation.conditions import family_table, severity_table, summarize
from mscmreid.evaluation.results import SCHEMA_VERSION, Result, load_results, save_results
from mscmreid.fileio import write_text
from mscmreid.interruption import kept_when_interrupted
from mscmreid.structures import MODALITIES
from mscmreid.visualization.condition_chart import draw_conditions, require_matplotlib

VARIANTS = {"visible": ("visible",), "infrared": ("infrared",), "both": MODALITIES}
"""Whose images are corrupted -> modalities. The infrared family is for infrared images, whatever is said."""


@dataclass(frozen=True)
class Condition:
    """One corruption at one severity, of the images of some modalities ('visible', 'infrared' or 'both')."""

    corruption: str
    severity: int
    modality: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in results."""
        return dict(
            corruption=self.corruption,
            family=family_of(self.corruption),
            severity=self.severity,
            modality=self.modality,
        )

    @property
    def name(self) -> str:
        """Of its results file."""
        return f"{self.corruption}_{self.severity}_{self.modality}"


def choose_conditions(corruptions: Sequence[str], severities: Sequence[int], variant: str) -> list[Condition]:
    """Every corruption at every severity.

    Args:
        corruptions: names, families, 'all'; see :func:`mscmreid.corruptions.choose_corruptions`.
        severities: some of 1 .. 5.
        variant: one of :data:`VARIANTS`.

    Raises:
        ValueError: an unknown corruption, severity or variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"images to corrupt must be one of {', '.join(VARIANTS)}, found {variant!r}")
    wrong = sorted({*severities} - {*SEVERITIES})
    if wrong or not severities:
        raise ValueError(f"severities must be some of {SEVERITIES}, found {wrong or 'none'}")
    return [
        Condition(name, severity, INFRARED if family_of(name) == INFRARED else variant)
        for name in choose_corruptions(corruptions)
        for severity in sorted({*severities})
    ]


def test_conditions(
    cfg: Config,
    checkpoint: str | Path,
    corruptions: Sequence[str] = ("all",),
    severities: Sequence[int] = SEVERITIES,
    variant: str = "visible",
    out_json: str | None = None,
    **options: Any,
) -> list[Result]:
    """Rank the clean images, then the images under every condition, and print and save both beside each other.

    A condition's images are extracted anew, the others' features are those of the clean pass. Each condition's results
    go to a file of their own in ``conditions_<checkpoint>/`` of the work folder; started again, those that are there
    (of the same weights, config, options and versions) are read and not made. At the end ``out_json`` has all results
    and their summary, and a chart lies beside it (.png).

    Args:
        cfg, checkpoint: as in :func:`mscmreid.apis.test`.
        corruptions, severities, variant: as in :func:`choose_conditions`.
        out_json: None: ``conditions_<checkpoint>.json`` in the work folder.
        options: others of :func:`mscmreid.apis.test`.

    Returns:
        The clean results, then those of every condition (in the main process).

    Raises:
        ImportError: matplotlib is not installed.
        FileNotFoundError, ValueError: as in :func:`mscmreid.apis.test` and :func:`choose_conditions`.
    """
    require_matplotlib()
    conditions = choose_conditions(corruptions, severities, variant)
    runner = prepare_test(cfg, checkpoint, **options)
    metric = ranking_metric(runner)
    runner.test()
    clean, metric.base = metric.last_results, metric.last_table
    metric.out_features = metric.out_json = None
    stem = f"conditions_{Path(checkpoint).stem}"
    folder = Path(runner.work_dir, stem)
    found = {condition: _earlier(folder, condition, clean) for condition in conditions} if is_main_process() else {}
    todo: list[Any] = [[condition for condition in conditions if found.get(condition) is None]]
    broadcast_object_list(todo)
    if len(todo[0]) < len(conditions):
        print_log(f"{len(conditions) - len(todo[0])} of {len(conditions)} conditions are in {folder}", "current")
    start = time.monotonic()
    for number, condition in enumerate(todo[0], start=1):
        with kept_when_interrupted(
            lambda: f"conditions that are finished are kept in {folder}; the same command goes on"
        ):
            results = _run(runner, condition)
        if is_main_process():
            save_results(results, folder / f"{condition.name}.json")
            found[condition] = results
            left = (time.monotonic() - start) / number * (len(todo[0]) - number)
            values = f"mAP {results[0].mean['mAP']:.1f}, clean {clean[0].mean['mAP']:.1f}"
            print_log(
                f"{condition.corruption} {condition.severity}: {values}; {number} of {len(todo[0])} conditions, "
                f"{left:.0f} s left",
                "current",
            )
    if not is_main_process():
        return []
    corrupted = [result for condition in conditions for result in found[condition] or []]
    _save(clean, corrupted, Path(out_json or Path(runner.work_dir, f"{stem}.json")))
    return [*clean, *corrupted]


def _run(runner: ReIDRunner, condition: Condition) -> list[Result]:
    """Extract and rank under one condition; the results are those of the main process."""
    loop, metric = runner.test_loop, ranking_metric(runner)
    clean_loader, level = loop.dataloader, runner.logger.level
    modalities = VARIANTS[condition.modality]
    dataset = corrupted_rows(clean_loader.dataset, condition.corruption, condition.severity, modalities)
    metric.meta["condition"] = condition.to_json()
    loop.dataloader = runner.build_dataloader(dict(runner.cfg.test_dataloader, dataset=dataset))
    runner.logger.setLevel(logging.WARNING)  # a line a condition will do
    try:
        loop.run()
    finally:
        runner.logger.setLevel(level)
        loop.dataloader = clean_loader
        del metric.meta["condition"]
    return metric.last_results


def _earlier(folder: Path, condition: Condition, clean: Sequence[Result]) -> list[Result] | None:
    """Results of a run before this one, if they were made as the clean ones were."""
    path = folder / f"{condition.name}.json"
    if not path.exists():
        return None
    results = load_results(path)
    if [_origin(result) for result in results] == [_origin(result, condition) for result in clean]:
        return results
    print_log(f"{path} is of other weights, options or versions and is made anew", "current", logging.WARNING)
    return None


def _origin(result: Result, condition: Condition | None = None) -> dict[str, Any]:
    """What a result was made from; ``condition`` in the place of its own."""
    names = ("protocol_key", "feature_label", "inference", "checkpoint_sha256", "config_hash", "resize", "versions")
    origin = {name: getattr(result, name) for name in names}
    if condition is not None:
        origin["protocol_key"] = {**origin["protocol_key"], "condition": condition.to_json()}
    return origin


def _save(clean: Sequence[Result], corrupted: Sequence[Result], path: Path) -> None:
    """The file with all results and their summary, the tables, the chart."""
    summaries = summarize(clean, corrupted)
    results = [result.to_json() for result in (*clean, *corrupted)]
    content = dict(schema_version=SCHEMA_VERSION, results=results, summary=summaries)
    write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", path)
    first = summaries[0]
    picture = path.with_suffix(".png")
    title = f"{clean[0].dataset} {clean[0].split}, {first['setting']}, {first['feature']}"
    draw_conditions(first, title, picture)
    print_log(f"\n{family_table(summaries)}\n\n{severity_table(first)}", "current")
    print_log(f"results: {path}; chart: {picture}", "current")
