"""The charts of a report: CMC over trials, distances of pairs, camera pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mscmreid.visualization.pairs import PairDistances
from mscmreid.visualization.svg import Plot, element, label, picture, points, round_ticks

NAMED_RANKS = (1, 5, 10, 20)


def cmc_chart(cmc: Sequence[Sequence[float]]) -> str:
    """CMC in percent: the mean over the trials, with a band of one standard deviation.

    Args:
        cmc: per trial the values at ranks 1, 2, ...
    """
    curves = np.asarray(cmc, dtype=np.float64)
    mean = curves.mean(axis=0)
    spread = curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros_like(mean)
    ranks = np.arange(1, len(mean) + 1)
    low, high = mean - spread, np.minimum(mean + spread, 100)
    floor = float(max(0, 10 * np.floor((low.min() - 5) / 10)))
    plot = Plot((1, max(2, len(mean))), (floor, 100), top=28)
    shown = [rank for rank in NAMED_RANKS if rank <= len(mean)]
    parts = [plot.axes([1, *range(5, len(mean) + 1, 5)], "rank", round_ticks(floor, 100), "matched within rank, %")]
    if spread.any():
        band = points(
            np.r_[plot.x(ranks), plot.x(ranks)[::-1]], np.r_[plot.y(np.maximum(low, floor)), plot.y(high)[::-1]]
        )
        parts.append(element("polygon", points=band, class_="band"))
    parts.append(element("polyline", points=points(plot.x(ranks), plot.y(mean)), class_="line same"))
    for rank in shown:
        x, y = float(plot.x(rank)), float(plot.y(mean[rank - 1]))
        anchor, shift = ("end", -2) if rank == len(mean) else ("start", 9) if rank == 1 else ("middle", 10)
        parts.append(element("circle", cx=x, cy=y, r=3.5, class_="dot same"))
        parts.append(label(f"{mean[rank - 1]:.1f}", x + shift, y + 20, anchor, "value"))
    values = ", ".join(f"rank {rank}: {mean[rank - 1]:.1f} %" for rank in shown)
    return picture("".join(parts), plot.width, plot.height, f"CMC curve; {values}")


def distance_chart(pairs: PairDistances) -> str:
    """Shares of pairs by cosine distance: pairs of one person against pairs of two."""
    edges, same, different = pairs.coarse(int(np.clip(1.5 * np.sqrt(pairs.same.sum()), 12, 80)))  # wider where few
    top = float(max(same.max(), different.max())) * 1.08
    plot = Plot((float(edges[0]), float(edges[-1])), (0, top), left=14, top=28)
    parts = [plot.axes(round_ticks(*plot.x_range, about=6), "cosine distance")]
    for name, shares in (("different", different), ("same", same)):
        xs = np.repeat(edges, 2)
        ys = np.r_[0, np.repeat(shares, 2), 0]
        parts.append(element("polygon", points=points(plot.x(xs), plot.y(ys)), class_=f"area {name}"))
        parts.append(element("polyline", points=points(plot.x(xs), plot.y(ys)), class_=f"line thin {name}"))
    means = dict(same=pairs.mean(True), different=pairs.mean(False))
    for name, mean in means.items():
        x = float(plot.x(mean))
        parts.append(element("line", x1=x, x2=x, y1=plot.top, y2=plot.height - plot.bottom, class_=f"mean {name}"))
    right = plot.width - plot.right
    parts.append(label(f"same person, mean {means['same']:.2f}", plot.left, 13, "start", "key same"))
    parts.append(label(f"different people, mean {means['different']:.2f}", right, 13, "end", "key different"))
    title = f"distances: mean {means['same']:.2f} for the same person, {means['different']:.2f} for different people"
    return picture("".join(parts), plot.width, plot.height, title)


def camera_chart(
    pairs: Mapping[tuple[int, int], Mapping[str, float]], query_cams: Sequence[int], gallery_cams: Sequence[int]
) -> str:
    """Rank-1 (large) and mAP (small) of each camera pair; a darker cell is better, an empty one is not compared.

    Args:
        pairs: (query camera, gallery camera) -> measures in percent.
        query_cams, gallery_cams: rows and columns.
    """
    cell_width, cell_height, left, top = float(np.clip(880 / len(gallery_cams), 66, 110)), 58, 74, 44
    width = left + cell_width * len(gallery_cams) + 6
    height = top + cell_height * len(query_cams) + 6
    parts = [
        label("gallery camera", left, 13, "start", "axis-title"),
        label("query", 4, top - 8, "start", "axis-title"),
    ]
    for column, cam in enumerate(gallery_cams):
        parts.append(label(str(cam), left + cell_width * (column + 0.5), top - 8, "middle", "head"))
    for row, query_cam in enumerate(query_cams):
        y = top + cell_height * row
        parts.append(label(f"camera {query_cam}", left - 10, y + cell_height / 2 + 4, "end", "head"))
        for column, gallery_cam in enumerate(gallery_cams):
            x = left + cell_width * column
            parts.append(_cell(pairs.get((query_cam, gallery_cam)), x, y, cell_width, cell_height))
    return picture("".join(parts), max(width, 260), height, "Rank-1 and mAP of each pair of cameras")


def _cell(values: Mapping[str, float] | None, x: float, y: float, width: float, height: float) -> str:
    box: dict[str, Any] = dict(x=x + 1.5, y=y + 1.5, width=width - 3, height=height - 3, rx=3)
    middle = x + width / 2
    if values is None:
        return element("rect", **box, class_="empty") + label("–", middle, y + height / 2 + 5, "middle", "tick")
    share = values["R1"] / 100
    tone = "on-dark" if share > 0.75 else "on-light"
    told = f"Rank-1 {values['R1']:.1f} %, mAP {values['mAP']:.1f} %, {values['num_queries']:.0f} queries"
    cell = element("rect", **box, class_="cell", fill_opacity=f"{0.06 + 0.94 * share:.3f}")
    rank1 = label(f"{values['R1']:.1f}", middle, y + height / 2 + 2, "middle", f"cell-value {tone}")
    precision = label(f"mAP {values['mAP']:.1f}", middle, y + height / 2 + 18, "middle", f"cell-note {tone}")
    return element("g", element("title", escape(told)) + cell + rank1 + precision)
