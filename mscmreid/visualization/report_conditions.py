"""The section of a report on bad conditions: a result of clean images beside those of corrupted ones."""

from __future__ import annotations

from collections.abc import Sequence

from mscmreid.evaluation import Result
from mscmreid.evaluation.conditions import SHOWN, counterparts, summarize
from mscmreid.visualization.charts import SeverityLine, severity_chart
from mscmreid.visualization.report_parts import Part, part, table

NAMES = {"R1": "Rank-1", "mAP": "mAP", "mINP": "mINP"}
MEASURE = "mAP"


def conditions_part(clean: Result, corrupted: Sequence[Result]) -> Part | None:
    """Clean numbers, the mean over all conditions, each family's, what is lost, and mAP by severity.

    Args:
        clean: a result of images as they are.
        corrupted: results under bad conditions; those of another protocol or feature are left aside.

    Returns:
        None where none of ``corrupted`` belongs to ``clean``.
    """
    members = counterparts(clean, corrupted)
    if not members:
        return None
    summary = summarize([clean], members)[0]
    rows = [["clean images", "", *(f"{summary['clean'][name]:.1f}" for name in SHOWN), *("" for _ in SHOWN)]]
    lines_of_families = ("all corruptions", summary["mean"]), *summary["families"].items()
    names_of = {
        family: [name for name in summary["severities"] if _family(name, members) == family]
        for family in summary["families"]
    }
    for family, values in lines_of_families:
        lost = (f"{summary['clean'][name] - values[name]:.1f}" for name in SHOWN)
        told = ", ".join(name.replace("_", " ") for name in names_of.get(family, []))
        rows.append([family, told, *(f"{values[name]:.1f}" for name in SHOWN), *lost])
    severities = sorted({s for values in summary["severities"].values() for s in values}, key=int)
    detail = [
        [name.replace("_", " "), f"{summary['clean'][MEASURE]:.1f}"]
        + [f"{values[s][MEASURE]:.1f}" if s in values else "–" for s in severities]
        + [f"{summary['corruptions'][name][MEASURE]:.1f}"]
        for name, values in summary["severities"].items()
    ]
    every = [value[MEASURE] for values in summary["severities"].values() for value in values.values()]
    highest = max(10.0, summary["clean"][MEASURE], *every)
    charts = []
    for family, names in names_of.items():
        lines = [
            SeverityLine(
                name.replace("_", " ").removesuffix(f" {family}"),
                [0, *(int(s) for s in summary["severities"][name])],
                [summary["clean"][MEASURE], *(v[MEASURE] for v in summary["severities"][name].values())],
            )
            for name in names
        ]
        charts.append(severity_chart(family, lines, highest, max(int(s) for s in severities)))
    whose = sorted({str((member.condition or {})["modality"]) for member in members})
    told = (
        f"{len(summary['severities'])} corruptions of {' or '.join(whose)} images at severity {', '.join(severities)}, "
        "the other images as they are. Means over the severities; what is lost, in points. The mean of all corruptions "
        "leaves the infrared family out where there are others"
    )
    tables = [
        table(["images", "", *NAMES.values(), *(f"{name} lost" for name in NAMES.values())], rows, 2),
        table(
            ["corruption", "clean", *(f"severity {s}" for s in severities), "mean"], detail, 1, f"{MEASURE} of each one"
        ),
    ]
    return part("conditions", "Bad conditions", told, charts=charts, tables=tables)


def _family(name: str, members: Sequence[Result]) -> str:
    conditions = [member.condition or {} for member in members]
    return next(condition["family"] for condition in conditions if condition.get("corruption") == name)


def split_conditions(results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """(results that get a chapter, results that stand in the section on bad conditions of one of these).

    A result of corrupted images without its clean counterpart gets a chapter of its own.
    """
    clean = [result for result in results if result.condition is None]
    owned = {id(member) for result in clean for member in counterparts(result, results)}
    return [r for r in results if id(r) not in owned], [r for r in results if id(r) in owned]
