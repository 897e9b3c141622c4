"""A section of a report, as ``report.html`` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Part = dict[str, Any]
"""Name, title, told (a sentence under the title), and what it shows."""


def part(name: str, title: str, told: str, **content: Any) -> Part:
    """A section.

    Args:
        name: of the anchor.
        title, told: the heading, and a sentence on what is shown.
        content: some of ``chart`` (an SVG), ``charts`` (several beside each other), ``cards`` and ``strips`` (tiles),
            ``tables`` (of :func:`table`), ``map`` (of :func:`mscmreid.visualization.feature_map.feature_map`).
    """
    empty: Part = dict(chart="", charts=[], cards=[], strips=[], tables=[], map=None)
    unknown = set(content) - {*empty, "top"}
    if unknown:
        raise TypeError(f"a section shows {[*empty, 'top']}, found {sorted(unknown)}")
    return dict(name=name, title=title, told=told, **{**empty, **content})


def table(names: Sequence[str], rows: Sequence[Sequence], num_texts: int = 1, summary: str = "") -> dict[str, Any]:
    """A table of a section.

    Args:
        names: of the columns.
        rows: the cells.
        num_texts: the first so many columns hold text.
        summary: with one, the table is folded away under it.
    """
    return dict(names=list(names), rows=[list(row) for row in rows], num_texts=num_texts, summary=summary)
