"""Results under bad conditions beside those of the clean images: means by family and corruption, tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mscmreid.evaluation.results import MEASURES, Result
from mscmreid.tables import aligned_lines

SHOWN = ("R1", "mAP", "mINP")


def summarize(clean: Sequence[Result], corrupted: Sequence[Result]) -> list[dict[str, Any]]:
    """Means of every row of the clean table over its corrupted counterparts.

    Args:
        clean: results of the images as they are.
        corrupted: of every corruption and severity, one for each of ``clean``.

    Returns:
        For each of ``clean`` ``dict(setting, feature, clean, mean, families, corruptions, severities)``. ``clean`` and
        ``mean`` are measure -> percent, ``families`` and ``corruptions`` name -> (measure -> percent), means over all
        severities (``mean`` is without the infrared family, where there are others); ``severities`` is corruption ->
        severity -> (measure -> percent).

    Raises:
        ValueError: a clean result has no corrupted counterpart.
    """
    return [_summary(result, counterparts(result, corrupted)) for result in clean]


def counterparts(clean: Result, results: Sequence[Result]) -> list[Result]:
    """Those of ``results`` that are ``clean`` under a bad condition: of its protocol, feature and checkpoint."""
    return [
        other
        for other in results
        if other.condition is not None
        and _kind(other) == _kind(clean)
        and (other.checkpoint_sha256 or "") == (clean.checkpoint_sha256 or "")
    ]


def _kind(result: Result) -> tuple:
    """What a result and its corrupted counterparts share."""
    protocol = {**result.protocol_key, "condition": None}
    return repr(protocol), result.feature_label


def _summary(result: Result, members: Sequence[Result]) -> dict[str, Any]:
    if not members:
        raise ValueError(f"{result.setting} {result.feature_label} has no result under a bad condition")
    severities: dict[str, dict[str, dict[str, float]]] = {}
    families: dict[str, list[Result]] = {}
    for member in members:
        condition = member.condition or {}
        severities.setdefault(condition["corruption"], {})[str(condition["severity"])] = member.mean
        families.setdefault(condition["family"], []).append(member)

    def counts(family: str) -> bool:
        return family != "infrared" or len(families) == 1

    return dict(
        setting=result.setting,
        feature=result.feature_label,
        clean=result.mean,
        mean=_mean([member.mean for family, of_it in families.items() for member in of_it if counts(family)]),
        families={family: _mean([member.mean for member in of_it]) for family, of_it in families.items()},
        corruptions={name: _mean(list(values.values())) for name, values in severities.items()},
        severities=severities,
    )


def _mean(values: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([value[name] for value in values])) for name in MEASURES}


def family_table(summaries: Sequence[dict[str, Any]]) -> str:
    """A block for each summary: clean, the mean of all conditions, each family's, with what is lost."""
    blocks = []
    for summary in summaries:
        lines = [("images", *SHOWN, *(f"{name} lost" for name in SHOWN))]
        lines.append(("clean", *_cells(summary["clean"]), *("" for _ in SHOWN)))
        for name, values in (("corrupted, mean", summary["mean"]), *summary["families"].items()):
            lost = {measure: summary["clean"][measure] - values[measure] for measure in SHOWN}
            lines.append((name, *_cells(values), *_cells(lost)))
        blocks.append("\n".join([f"{summary['setting']}, {summary['feature']}", *aligned_lines(lines)]))
    return "\n\n".join(blocks)


def severity_table(summary: dict[str, Any], measure: str = "mAP") -> str:
    """A line for each corruption: one measure at each severity, and its mean."""
    severities = sorted({severity for values in summary["severities"].values() for severity in values})
    lines = [(f"{measure} at severity", "clean", *severities, "mean")]
    for name, values in summary["severities"].items():
        shown = [f"{values[s][measure]:.1f}" if s in values else "-" for s in severities]
        lines.append((name, f"{summary['clean'][measure]:.1f}", *shown, f"{summary['corruptions'][name][measure]:.1f}"))
    return "\n".join([f"{summary['setting']}, {summary['feature']}", *aligned_lines(lines)])


def _cells(values: dict[str, float]) -> list[str]:
    return [f"{values[name]:.1f}" for name in SHOWN]
