"""What a calibration found, as a picture: people missed against false matches, probabilities, pairs of cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.fileio import written_atomically
from mscmreid.retrieval.calibration import Calibration, ScoreModel
from mscmreid.visualization.condition_chart import require_matplotlib

INK, LINE, MARK = "#20242b", "#3b6fb6", "#d73027"


def draw_calibration(calibration: Calibration, path: str | Path) -> None:
    """A row for each pair of modalities: DET curve, probability by score, false matches by pair of cameras.

    Args:
        calibration: what was found.
        path: picture to write; its suffix says which kind (.png, .svg, .pdf).

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = calibration.kinds
    figure = require_matplotlib()(figsize=(12, 3.7 * len(kinds) + 0.5), layout="constrained")
    for panels, (kind, means) in zip(figure.subplots(len(kinds), 3, squeeze=False), kinds.items(), strict=True):
        _det(panels[0], kind, means)
        _probability(panels[1], means)
        _cameras(panels[2], means)
        for panel in panels:
            panel.spines[["top", "right"]].set_visible(False)
            panel.tick_params(labelsize=8)
    figure.suptitle(f"Scores of {calibration.source}", fontsize=10, x=0.01, ha="left")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.removeprefix(".") or "png", dpi=130)


def _det(panel: Any, kind: str, means: ScoreModel) -> None:
    curve = np.array(means.curve)
    shown = curve[:, 1] > 0
    panel.plot(100 * curve[shown, 1], 100 * (1 - curve[shown, 2]), color=LINE, linewidth=1.6)
    false, true = means.false_matches, means.true_matches
    panel.errorbar(
        [100 * false.value],
        [100 * (1 - true.value)],
        xerr=[
            [100 * (false.value - min(false.low, false.value))],
            [100 * (max(false.high, false.value) - false.value)],
        ],
        yerr=[[100 * (max(true.high, true.value) - true.value)], [100 * (true.value - min(true.low, true.value))]],
        fmt="o",
        color=MARK,
        markersize=5,
        capsize=3,
        linewidth=1.2,
    )
    panel.annotate(
        f"threshold {means.threshold:.3f}\n[{means.threshold_interval[0]:.3f}, {means.threshold_interval[1]:.3f}]",
        (100 * false.value, 100 * (1 - true.value)),
        textcoords="offset points",
        xytext=(9, 9),
        fontsize=8,
        color=MARK,
    )
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_ylim(0, 100)
    panel.grid(alpha=0.25)
    panel.set_xlabel("false matches, percent of pairs of two people", fontsize=8)
    panel.set_ylabel("missed, percent of pairs of one person", fontsize=8)
    panel.set_title(kind, loc="left", fontsize=10)


def _probability(panel: Any, means: ScoreModel) -> None:
    low, high = min(means.scores), max(means.scores)
    grid = np.linspace(max(-1, low - 0.02), min(1, high + 0.02), 400)
    panel.plot(grid, 100 * np.interp(grid, means.scores, means.probabilities), color=LINE, linewidth=1.6)
    panel.axvline(means.threshold, color=MARK, linewidth=1.2)
    panel.axvspan(*means.threshold_interval, color=MARK, alpha=0.12, linewidth=0)
    panel.set_ylim(0, 102)
    panel.grid(alpha=0.25)
    panel.set_xlabel("score (cosine)", fontsize=8)
    panel.set_ylabel(f"percent, if {100 * means.prior:.2g} % of pairs show one person", fontsize=8)
    panel.set_title(f"probability of one person ({means.method})", loc="left", fontsize=10)


def _cameras(panel: Any, means: ScoreModel) -> None:
    known = [pair for pair in means.cameras if "false_matches" in pair]
    panel.set_title("false matches by pair of cameras", loc="left", fontsize=10)
    if not known:
        panel.text(0.5, 0.5, "cameras are not known", ha="center", fontsize=9, color="#6b7280")
        panel.set_axis_off()
        return
    known = sorted(known, key=lambda pair: pair["false_matches"]["value"])[-20:]
    for place, pair in enumerate(known):
        rate = pair["false_matches"]
        panel.plot([100 * rate["low"], 100 * rate["high"]], [place, place], color=LINE, linewidth=1.2)
        panel.plot([100 * rate["value"]], [place], "o", color=LINE, markersize=4)
    panel.axvline(100 * means.wished, color=MARK, linewidth=1.0, linestyle="--")
    panel.set_yticks(range(len(known)), [" / ".join(pair["cameras"]) for pair in known])
    panel.set_xlim(left=0)
    panel.grid(alpha=0.25, axis="x")
    panel.set_xlabel("percent, 95 % interval; dashed: as wished", fontsize=8)
