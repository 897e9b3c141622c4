"""The table of several configs with several seeds and splits: Markdown, CSV and a plot."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mscmreid.apis.config import config_hash, load_config
from mscmreid.apis.test import set_test_options
from mscmreid.engine.runner.checkpoint import read_checkpoint
from mscmreid.evaluation import Result, load_results, over_splits, save_results, split_table, terminal_table
from mscmreid.evaluation.table import check_comparable
from mscmreid.experiments.costs import ModelInfo, model_info
from mscmreid.experiments.runs import SPLITS, Record, Run, is_finished
from mscmreid.fileio import write_text, written_atomically
from mscmreid.tables import csv_lines, markdown_table

MEASURES = ("R1", "mAP", "mINP")
NAME = "ablation"
CSV_HEAD = (
    *("config", "feature", "setting", "measure", "mean", "std", "seeds", "values"),
    *("parameters", "training_flops_per_image", "inference_flops_per_image"),
    *("training_seconds", "training_seconds_complete"),
)


@dataclass
class TableRow:
    """One config's line.

    Attributes:
        name: of the config.
        info: what its model costs.
        num_seeds: seeds that were asked for.
        seeds: those that are finished, on all splits.
        results: protocol setting -> one result a finished seed (over its splits), all of one feature.
        seconds: training time of each finished seed, and whether all of it is known; empty for given checkpoints.
    """

    name: str
    info: ModelInfo
    num_seeds: int
    seeds: list[int] = field(default_factory=list)
    results: dict[str, list[Result]] = field(default_factory=dict)
    seconds: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def feature(self) -> str:
        """The feature of the results, '' if there are none."""
        return next((results[0].feature_label for results in self.results.values()), "")

    def values(self, setting: str, measure: str) -> list[float]:
        """The measure in percent, one value a finished seed (each the mean over its gallery draws or splits)."""
        return [result.mean[measure] for result in self.results.get(setting, [])]


def collect_rows(runs: Sequence[Run], feature: str | None = None) -> list[TableRow]:
    """One row a config, in the order of the runs.

    Args:
        runs: of :meth:`mscmreid.experiments.runs.Plan.runs`.
        feature: of which to report the results; None: each config's first one.

    Raises:
        ValueError: a config was not tested with ``feature``; results of different protocols, or of one protocol twice.
    """
    rows: dict[str, TableRow] = {}
    first: dict[str, tuple[str, Result]] = {}
    for members in runs_by_seed(runs):
        run, name = members[0], members[0].config.stem
        if name not in rows:
            info = model_info(load_config(run.config, run.plan.values))
            rows[name] = TableRow(name, info, len(run.plan.seeds))
        if not all(is_finished(member) for member in members):
            continue
        row = rows[name]
        row.seeds.append(run.seed)
        if run.checkpoint is None:
            times = [Record(member).training_seconds for member in members]
            row.seconds.append((sum(seconds for seconds, _ in times), all(known for _, known in times)))
        for result in _of_feature(results_of(members), feature, run):
            owner, known = first.setdefault(result.setting, (name, result))
            check_comparable(known, result, (owner, name))
            row.results.setdefault(result.setting, []).append(result)
        if any(len(results) != len(row.seeds) for results in row.results.values()):
            raise ValueError(f"{run.title}: expected one result a protocol, as its other seeds have, in {run.results}")
    return list(rows.values())


def runs_by_seed(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of one config and seed together: its splits."""
    groups: dict[Path, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.seed_folder, []).append(run)
    return list(groups.values())


def results_of(runs: Sequence[Run]) -> list[Result]:
    """Results of one config and seed, all of whose ``runs`` are finished; with splits, over them.

    Raises:
        ValueError: the splits were not tested in the same way.
    """
    run = runs[0]
    if run.split is None:
        return load_results(run.results)
    cfg = Run(run.plan, run.config, run.seed, SPLITS[0]).load_config()
    set_test_options(cfg, run.plan.rerank, run.plan.flip)
    checkpoint = run.plan.checkpoints or f"{run.seed_folder / 'split_{split}'}: {run.plan.which} epoch"
    return over_splits([load_results(member.results) for member in runs], checkpoint, config_hash(cfg))


def write_splits(runs: Sequence[Run]) -> list[Path]:
    """For each config and seed with all its splits finished, ``splits_*.json`` (the results over the splits) and
    ``splits_*.txt`` (the same as a table with every split) in the folder of the seed.

    Returns:
        The text files.
    """
    written = []
    for members in runs_by_seed(runs):
        if members[0].split is None or not all(is_finished(member) for member in members):
            continue
        results = results_of(members)
        parts = [terminal_table(results), *(split_table(result) for result in results)]
        if len(members) < len(SPLITS):
            parts.append(f"Only {len(members)} of the {len(SPLITS)} splits: not comparable with published numbers.")
        if unknown := [run.split for run in members if run.checkpoint and not _trained_split(run.checkpoint)]:
            parts.append(f"The checkpoints of the splits {unknown} do not say which split they were trained on.")
        path = members[0].seed_folder / members[0].plan.results_name.replace("results_", "splits_")
        save_results(results, path)
        write_text("\n\n".join(parts) + "\n", path.with_suffix(".txt"))
        written.append(path.with_suffix(".txt"))
    return written


def _trained_split(checkpoint: Path) -> str | None:
    """The split that a checkpoint says it was trained on."""
    meta = read_checkpoint(checkpoint).get("meta", {})
    return (meta.get("dataset_meta") or {}).get("split")


def _of_feature(results: Sequence[Result], feature: str | None, run: Run) -> list[Result]:
    plain = [result for result in results if not result.rerank]
    feature = feature or plain[0].feature
    found = [result for result in plain if result.feature == feature]
    if not found:
        raise ValueError(f"{run.title} was not tested with {feature!r}: {sorted({r.feature for r in plain})}")
    return found


def settings_of(rows: Sequence[TableRow]) -> list[str]:
    """All protocol settings, in the order in which they appear."""
    return list(dict.fromkeys(setting for row in rows for setting in row.results))


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation (divisor n - 1; None for one value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def _cell(values: Sequence[float], baseline: Sequence[float] = ()) -> str:
    if not values:
        return ""
    mean, std = mean_and_std(values)
    text = f"{mean:.2f}" + ("" if std is None else f" ± {std:.2f}")
    return text + (f" ({mean - np.mean(baseline):+.2f})" if baseline else "")


def _time(seconds: Sequence[tuple[float, bool]]) -> str:
    if not seconds:
        return ""
    mean = sum(s for s, _ in seconds) / len(seconds)
    text = f"{mean / 60:.1f} min" if mean < 5400 else f"{mean / 3600:.1f} h"
    return text if all(known for _, known in seconds) else f"> {text}"


def markdown(
    rows: Sequence[TableRow], notes: Sequence[str], bases: Mapping[str, str] | None = None, tests: str = ""
) -> str:
    """The table as Markdown, with what it needs to be understood above it.

    Args:
        rows: of :func:`collect_rows`.
        notes: lines of text above the table, such as date and command.
        bases: config -> the config to which its differences are given, in parentheses.
        tests: more Markdown behind the table.
    """
    named = {row.name: row for row in rows}
    columns = [(setting, measure) for setting in settings_of(rows) for measure in MEASURES]
    head = ["config", "seeds", "feature", *(f"{setting} {measure}" for setting, measure in columns)]
    head += ["parameters", "GFLOPs/image train", "GFLOPs/image test"]
    timed = any(row.seconds for row in rows)
    head += ["training time"] if timed else []
    lines = []
    for row in rows:
        seeds = str(len(row.seeds)) if len(row.seeds) == row.num_seeds else f"{len(row.seeds)} of {row.num_seeds}"
        cells = [row.name, seeds, row.feature]
        for setting, measure in columns:
            base = named.get((bases or {}).get(row.name, ""))
            other = base.values(setting, measure) if base else []
            cells.append(_cell(row.values(setting, measure), other))
        cells += [f"{row.info.num_parameters / 1e6:.2f} M"]
        cells += [f"{flops / 1e9:.3g}" for flops in (row.info.training_flops, row.info.inference_flops)]
        lines.append([*cells, *([_time(row.seconds)] if timed else [])])
    return "\n".join([*notes, "", markdown_table(head, lines), *(["", tests.rstrip()] if tests else [])]) + "\n"


def csv_text(rows: Sequence[TableRow]) -> str:
    """The table as CSV: a line for each config, setting and measure, with every seed's value."""
    lines: list[list[object]] = [list(CSV_HEAD)]
    for row in rows:
        info = row.info
        costs: list[int | str] = [info.num_parameters, info.training_flops, info.inference_flops]
        costs += [" ".join(str(s) for s, _ in row.seconds), " ".join(str(known) for _, known in row.seconds)]
        seeds = " ".join(map(str, row.seeds))
        if not row.results:
            lines.append([row.name, "", "", "", "", "", seeds, "", *costs])
        for setting in row.results:
            for measure in MEASURES:
                values = row.values(setting, measure)
                mean, std = mean_and_std(values)
                numbers = [f"{mean:.4f}", "" if std is None else f"{std:.4f}"]
                each = " ".join(f"{value:.4f}" for value in values)
                lines.append([row.name, row.feature, setting, measure, *numbers, seeds, each, *costs])
    file = io.StringIO()
    csv_lines(lines, file)
    return file.getvalue()


def plot(rows: Sequence[TableRow], path: str | Path) -> None:
    """Rank-1 and mAP of every config: a dot a seed, a bar for their mean; one panel a protocol setting.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the plot needs matplotlib: pip install 'mscmreid[report]'") from error
    settings = settings_of(rows)
    figure = Figure(figsize=(5 * max(1, len(settings)) + 2, 0.5 * len(rows) + 1.5), layout="constrained")
    panels = figure.subplots(1, max(1, len(settings)), sharey=True, squeeze=False)[0]
    places = np.arange(len(rows))
    for panel, setting in zip(panels, settings, strict=False):
        for shift, measure in ((-0.18, "R1"), (0.18, "mAP")):
            values = [row.values(setting, measure) for row in rows]
            means = [np.mean(v) if v else 0.0 for v in values]
            bars = panel.barh(places + shift, means, height=0.34, alpha=0.6, label=measure)
            for bar, every in zip(bars, values, strict=True):
                middle = bar.get_y() + bar.get_height() / 2
                panel.plot(every, [middle] * len(every), ".", color="black", markersize=5)
        panel.set_title(setting)
        panel.set_xlabel("%")
        panel.set_xlim(left=0)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(places, [row.name for row in rows])
    panels[0].invert_yaxis()
    if settings:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.removeprefix(".") or "png", dpi=120)


def write_table(
    rows: Sequence[TableRow],
    work_dir: str | Path,
    notes: Sequence[str],
    bases: Mapping[str, str] | None = None,
    tests: str = "",
) -> list[Path]:
    """Write ``ablation.md``, ``ablation.csv`` and ``ablation.png``, each whole or not at all.

    Returns:
        The files.

    Raises:
        ImportError: matplotlib is missing (the other two files are written).
    """
    paths = [Path(work_dir, f"{NAME}.{kind}") for kind in ("md", "csv", "png")]
    for path, text in zip(paths, (markdown(rows, notes, bases, tests), csv_text(rows)), strict=False):
        write_text(text, path)
    plot(rows, paths[2])
    return paths
