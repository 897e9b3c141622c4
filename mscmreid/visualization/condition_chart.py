"""A measure by the severity of each corruption, a panel a family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.corruptions import family_of
from mscmreid.fileio import written_atomically


def draw_conditions(summary: Mapping[str, Any], title: str, path: str | Path, measure: str = "mAP") -> None:
    """Draw one result under all conditions; severity 0 is the clean images.

    Args:
        summary: of :func:`mscmreid.evaluation.conditions.summarize`.
        title: over the picture: data set and protocol.
        path: picture to write; its suffix says which kind (.png, .svg, .pdf).
        measure: in percent.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure_class = require_matplotlib()
    families: dict[str, dict[str, dict[int, float]]] = {}
    for name, values in summary["severities"].items():
        points = {0: summary["clean"][measure]} | {int(s): value[measure] for s, value in values.items()}
        families.setdefault(family_of(name), {})[name] = points
    figure = figure_class(figsize=(3.3 * len(families) + 0.4, 3.9), layout="constrained")
    panels = figure.subplots(1, len(families), squeeze=False, sharey=True)[0]
    for panel, (family, lines) in zip(panels, families.items(), strict=True):
        for number, (name, points) in enumerate(lines.items()):
            xs = sorted(points)
            label = name.removesuffix(f"_{family}").replace("_", " ")
            style = dict(color=f"C{number}", linewidth=1.3, marker="osD^vP"[number % 6], markersize=3.5)
            panel.plot(xs, [points[x] for x in xs], label=label, **style)
        shared = sorted(set.intersection(*(set(points) for points in lines.values())))
        means = [float(np.mean([points[x] for points in lines.values()])) for x in shared]
        if len(lines) > 1:
            panel.plot(shared, means, color="#20242b", linewidth=3, alpha=0.55, label="mean", zorder=1)
        panel.set_title(family, loc="left", fontsize=10)
        panel.set_xticks(sorted({x for points in lines.values() for x in points}))
        panel.set_xlabel("severity (0: clean)", fontsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
        panel.tick_params(labelsize=8)
        panel.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    highest = max(value for lines in families.values() for points in lines.values() for value in points.values())
    panels[0].set_ylim(0, 1.08 * highest)
    panels[0].set_ylabel(f"{measure}, percent", fontsize=9)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.removeprefix(".") or "png", dpi=130)


def require_matplotlib() -> Any:
    """matplotlib's Figure, or an ImportError that says how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("charts of conditions need matplotlib: pip install 'mscmreid[report]'") from error
    return Figure
