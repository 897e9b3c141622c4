"""Results as text: for the terminal, as Markdown and LaTeX rows, and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from textwrap import wrap

from mscmreid import tables
from mscmreid.evaluation.results import MEASURES, PROTOCOL_FIELDS, UNKNOWN, Result
from mscmreid.tables import aligned_lines

HEAD = ("setting", "feature", *MEASURES, "trials", "queries", "gallery")


def terminal_table(results: Sequence[Result]) -> str:
    """A table a person can read: a line a result, a block for each data set, checkpoint and protocol."""
    blocks = []
    for title, members in groupby(results, key=_title):
        found = list(members)
        rows = [cells for result in found for cells in (_cells(result), *_interval_cells(result))]
        lines = aligned_lines([HEAD, *rows], num_texts=2)
        top = [*map(tables.plain, title), lines[0], "-" * max(map(len, lines))]
        blocks.append("\n".join([*top, *lines[1:], *_interval_notes(found)]))
    return "\n\n".join(blocks)


def _interval_cells(result: Result) -> list[list[str]]:
    """The line under a result with its interval, if it has one."""
    if result.interval is None:
        return []
    bounds = [result.interval["bounds"][name] for name in MEASURES]
    return [["", "", *(f"[{low:.1f}, {high:.1f}]" for low, high in bounds), "", "", ""]]


def _interval_notes(results: Sequence[Result]) -> list[str]:
    told = [interval for result in results if (interval := result.interval) is not None]
    people = sorted({interval["num_people"] for interval in told})
    return [f"[ ]: {100 * told[0]['level']:g} % interval over {_span(people)} people" for _ in told[:1]]


def markdown_table(results: Sequence[Result]) -> str:
    """The same rows as a Markdown table, with data set and checkpoint as columns."""
    head = ("data set", *HEAD, "checkpoint")
    return tables.markdown_table(head, [(_dataset(r) + _departures(r), *_cells(r), _hash(r) or "-") for r in results])


def latex_rows(results: Sequence[Result]) -> str:
    """The same rows for a LaTeX ``tabular``, each with its protocol in a comment behind it."""
    lines = []
    for result in results:
        cells = [_dataset(result), *_cells(result)[: 2 + len(MEASURES)]]
        text = " & ".join(tables.latex(cell) for cell in cells)
        over = _trials(result) + ("" if result.splits else " trial(s)")
        protocol = tables.plain(
            f"{result.protocol}, {result.exclusion}, {result.cmc_kind} CMC, {over}{_departures(result)}"
        )
        lines.append(f"{text} \\\\ % {protocol}")
    return "\n".join(lines)


def _title(result: Result) -> tuple[str, ...]:
    """The lines above a block."""
    parts = [_dataset(result), f"protocol {result.protocol}", f"{result.cmc_kind} CMC", result.exclusion]
    title = " | ".join([*parts, f"checkpoint {_hash(result)}"] if _hash(result) else parts)
    return title, *([] if result.not_standard is None else wrap(f"NOT THE STANDARD SET: {result.not_standard}", 120))


def _dataset(result: Result) -> str:
    if result.dataset == UNKNOWN:
        return "data set not named"
    split = "" if result.split == UNKNOWN else f" {'splits ' if result.splits else ''}{result.split}"
    return result.dataset + split


def _departures(result: Result) -> str:
    return f", not the standard set: {result.not_standard}" if result.not_standard else ""


def _hash(result: Result) -> str:
    return (result.checkpoint_sha256 or "")[:8]


def _trials(result: Result) -> str:
    if result.splits:
        return f"{len(result.splits)} splits" if len(result.splits) > 1 else "1 split"
    numbers = result.trials
    if len(numbers) == 1:
        return f"1 (no. {numbers[0]})" if numbers[0] else "1"
    return str(len(numbers))


def _cells(result: Result) -> list[str]:
    measures = [_value(result, name) for name in MEASURES]
    used, left_out = _span(result.num_queries), result.num_left_out
    asked = [queries + others for queries, others in zip(result.num_queries, left_out, strict=True)]
    queries = f"{used} of {_span(asked)}" if any(left_out) else used
    return [result.setting, result.feature_label, *measures, _trials(result), queries, _span(result.num_gallery)]


def _value(result: Result, name: str) -> str:
    std = result.std
    return f"{result.mean[name]:.2f}" + (f"±{std[name]:.2f}" if std else "")


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"


def side_by_side(
    systems: Sequence[tuple[str, Sequence[Result]]], measures: Sequence[str] = ("R1", "mAP", "mINP")
) -> str:
    """Markdown table with a row for each system and feature, and a column for each protocol and measure.

    Args:
        systems: (name, its results) pairs.
        measures: which measures.

    Raises:
        ValueError: two results would stand in one column though their protocols differ; names the fields.
    """
    columns: dict[tuple, Result] = {}
    rows: dict[tuple[str, str], dict[tuple, Result]] = {}
    owners: dict[tuple, str] = {}
    for name, results in systems:
        for result in results:
            column = (result.dataset, result.mode, result.shots, result.direction)
            first = columns.setdefault(column, result)
            owner = owners.setdefault(column, name)
            check_comparable(first, result, (owner, name))
            row = rows.setdefault((name, result.feature_label), {})
            if column in row:
                raise ValueError(f"{name} has two results for {' '.join(map(str, column))}, {result.feature_label}")
            row[column] = result
    head = [
        f"{c[0]} {first.setting} {measure}{' (not the standard set)' if first.not_standard else ''}"
        for c, first in columns.items()
        for measure in measures
    ]
    lines = [
        [*row, *(_value(found[c], measure) if c in found else "-" for c in columns for measure in measures)]
        for row, found in rows.items()
    ]
    return tables.markdown_table(["system", "feature", *head], lines)


def check_comparable(first: Result, second: Result, names: tuple[str, str] = ("the first", "the second")) -> None:
    """Raise a ValueError that names the differing fields unless both results are of one protocol."""
    differing = [
        f"{field} ({getattr(first, field)!r} in {names[0]}, {getattr(second, field)!r} in {names[1]})"
        for field in PROTOCOL_FIELDS
        if getattr(first, field) != getattr(second, field)
    ]
    if differing:
        raise ValueError(
            f"results of different protocols cannot stand in one column: they differ in {'; '.join(differing)}. "
            "Choose those of one protocol (of results_table.py, --where lineage=agw and the like)"
        )
