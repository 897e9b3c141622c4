"""The paired test of every line of an ablation against its base: which steps are real."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from mscmreid.evaluation.compare import (
    Comparison,
    System,
    Tested,
    common_settings,
    compare_systems,
    comparison_cells,
    comparison_head,
    spread_cells,
    spread_head,
    spreads,
)
from mscmreid.experiments.runs import Run, is_finished
from mscmreid.experiments.systems import read_results
from mscmreid.experiments.table import results_of, runs_by_seed
from mscmreid.tables import markdown_table

MEASURES = ("R1", "mAP", "mINP")


def choose_bases(names: Sequence[str], entries: Sequence[str]) -> dict[str, str]:
    """What each config is compared with.

    Args:
        names: of the configs.
        entries: of ``--baseline``: ``NAME``, the base of all others, and ``CONFIG=NAME``, that of one of them.

    Returns:
        Config -> its base; a config without one is not in it.

    Raises:
        ValueError: an unknown name, a config that is its own base, two bases for all.
    """
    bases: dict[str, str] = {}
    for_all = [entry for entry in entries if "=" not in entry]
    if len(for_all) > 1:
        raise ValueError(f"there is one baseline for all configs, found {', '.join(for_all)}; CONFIG=NAME is for one")
    for base in for_all:
        bases.update({name: base for name in names if name != base})
    for entry in entries:
        name, equals, base = entry.partition("=")
        if equals:
            bases[name] = base
    for name, base in bases.items():
        if name not in names or base not in names or name == base:
            raise ValueError(f"the baseline must be one of {list(names)}, and another than the config; {name}: {base}")
    return {name: bases[name] for name in names if name in bases}


def systems_of(runs: Sequence[Run], feature: str | None = None) -> tuple[list[System], list[str]]:
    """What is finished as systems to compare.

    Args:
        runs: of :meth:`mscmreid.experiments.runs.Plan.runs`.
        feature: feature to compare; None: each config's first one.

    Returns:
        The configs with something finished, and for each test without per-query values a line that says so.
    """
    tested: dict[str, list[list[Tested]]] = {}
    lacking = []
    for members in runs_by_seed(runs):
        if not all(is_finished(run) for run in members):
            continue
        try:
            tested.setdefault(members[0].config.stem, []).append(_tested(members, feature))
        except (ValueError, FileNotFoundError) as error:
            lacking.append(f"{members[0].title}: {error}")
    return [System(name, found) for name, found in tested.items() if found], lacking


def _tested(members: Sequence[Run], feature: str | None) -> list[Tested]:
    """The rows of one seed; with splits, each with the queries of every split."""
    rows = [read_results(run.results, feature) for run in members]
    if members[0].split is None:
        return rows[0]
    label = rows[0][0].result.feature_label
    over = [result for result in results_of(members) if result.feature_label == label]
    return [Tested(result, [test.queries[0] for test in tests]) for result, *tests in zip(over, *rows, strict=True)]


def paired_tables(runs: Sequence[Run], bases: Mapping[str, str], feature: str | None = None) -> str:
    """Markdown: every config against its base, and what one training's number depends on.

    Args:
        runs, feature: as in :func:`systems_of`.
        bases: of :func:`choose_bases`.
    """
    systems, lacking = systems_of(runs, feature)
    count = {system.name: len(system.runs) for system in systems}
    left_out = list(lacking)
    pairs = []
    for name, base in bases.items():
        if name not in count or base not in count:
            left_out.append(f"{name} - {base}: no test with per-query values of {name if name not in count else base}")
        elif min(count[name], count[base]) < 2 and count[name] != count[base]:
            left_out.append(f"{name} - {base}: {count[name]} and {count[base]} trainings; two of each are needed")
        else:
            pairs.append((name, base))
    named = {name for pair in pairs for name in pair}
    compared = [system for system in systems if system.name in named]
    parts = []
    if pairs:
        comparisons = compare_systems(compared, pairs, MEASURES)
        parts += [_told(comparisons)]
        for setting, members in itertools.groupby(comparisons, key=lambda comparison: comparison.setting):
            found = list(members)
            cells = [comparison_cells(comparison, found) for comparison in found]
            parts += [f"{setting}:", markdown_table(comparison_head(found), cells)]
    several = [system for system in systems if len(system.runs) > 1]
    if several and common_settings(several):
        parts += [
            "What one training's number depends on: standard deviation in points, and share of the variance.",
            markdown_table(
                spread_head(), [spread_cells(*entry, m) for entry in spreads(several) for m in ("R1", "mAP")]
            ),
        ]
    if left_out:
        parts.append("Not compared:\n\n" + "\n".join(f"- {line}" for line in left_out))
    return "\n\n".join(parts) + "\n" if parts else ""


def _told(comparisons: Sequence[Comparison]) -> str:
    people = comparisons[0].difference.num_people
    kinds = sorted({comparison.difference.over for comparison in comparisons})
    correction = (
        " after Holm's correction over the lines of a measure" if len({c.first for c in comparisons}) > 1 else ""
    )
    told = (
        f"Paired tests on the same queries and gallery draws, {people} people, over {' or '.join(kinds)}; A is called "
        f"better or worse where p < 0.05{correction}."
    )
    if any(comparison.num_first == 1 for comparison in comparisons):
        told += " Of one training each, a difference is one of these networks; another seed would move it, too."
    return told
