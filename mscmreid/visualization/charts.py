"""The charts of a report as inline SVG: CMC over trials, distances of pairs, camera pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mscmreid.evaluation.pair_distances import PairDistances
from mscmreid.visualization.templating import template

NAMED_RANKS = (1, 5, 10, 20)


@dataclass(frozen=True)
class Plot:
    """A plotting area: data ranges and where they lie in the picture, in SVG units.

    Attributes:
        x_range, y_range: lowest and highest value.
        width, height: of the picture.
        left, right, top, floor: edges of the area.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: float = 44
    top: float = 28
    right: float = 506
    floor: float = 260
    width: float = 520
    height: float = 300

    def x(self, value: float | np.ndarray) -> np.ndarray:
        """Horizontal position of a value."""
        low, high = self.x_range
        return self.left + (np.asarray(value) - low) / (high - low) * (self.right - self.left)

    def y(self, value: float | np.ndarray) -> np.ndarray:
        """Vertical position of a value."""
        low, high = self.y_range
        return self.floor - (np.asarray(value) - low) / (high - low) * (self.floor - self.top)

    def points(self, xs: Sequence[float] | np.ndarray, ys: Sequence[float] | np.ndarray) -> str:
        """Positions of a polyline's or polygon's values."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(self.x(np.asarray(xs)), self.y(np.asarray(ys)), strict=True))


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, about so many, inside a range."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    size = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw)
    first = np.ceil(low / step - 1e-9) * step
    return [float(round(tick, 10)) + 0.0 for tick in np.arange(first, high + step * 1e-6, step)]


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
    plot = Plot((1, max(2, len(mean))), (floor, 100))
    band = plot.points(np.r_[ranks, ranks[::-1]], np.r_[np.maximum(low, floor), high[::-1]]) if spread.any() else ""
    dots = []
    for rank in (rank for rank in NAMED_RANKS if rank <= len(mean)):
        anchor, shift = ("end", -2) if rank == len(mean) else ("start", 9) if rank == 1 else ("middle", 10)
        value = f"{mean[rank - 1]:.1f}"
        place = dict(x=float(plot.x(rank)), y=float(plot.y(mean[rank - 1])), anchor=anchor, shift=shift)
        dots.append(dict(place, value=value, told=f"rank {rank}: {value} %"))
    x_ticks = [1, *range(5, len(mean) + 1, 5)]
    return _chart("cmc", plot, x_ticks, round_ticks(floor, 100), band, plot.points(ranks, mean), dots)


def distance_chart(pairs: PairDistances) -> str:
    """Shares of pairs by cosine distance: pairs of one person against pairs of two."""
    edges, same, different = pairs.coarse(int(np.clip(1.5 * np.sqrt(pairs.same.sum()), 12, 80)))  # wider where few
    top = float(max(same.max(), different.max())) * 1.08
    plot = Plot((float(edges[0]), float(edges[-1])), (0, top), left=14)

    def curve(shares: np.ndarray, mean: float) -> dict[str, Any]:
        steps = plot.points(np.repeat(edges, 2), np.r_[0, np.repeat(shares, 2), 0])
        return dict(points=steps, x=float(plot.x(mean)), mean=f"{mean:.2f}")

    curves = curve(same, pairs.mean(True)), curve(different, pairs.mean(False))
    return _chart("distances", plot, round_ticks(*plot.x_range, about=6), *curves)


def camera_chart(
    pairs: Mapping[tuple[int, int], Mapping[str, float]], query_cams: Sequence[int], gallery_cams: Sequence[int]
) -> str:
    """Rank-1 (large) and mAP (small) of each camera pair; a darker cell is better, an empty one is not compared.

    Args:
        pairs: (query camera, gallery camera) -> measures in percent.
        query_cams, gallery_cams: rows and columns.
    """
    rows = [(query, [pairs.get((query, gallery)) for gallery in gallery_cams]) for query in query_cams]
    return _chart(
        "cameras", rows, gallery_cams, dict(width=float(np.clip(880 / len(gallery_cams), 66, 110)), height=58)
    )


@dataclass(frozen=True)
class SeverityLine:
    """A corruption: its severities (0: clean images) and a measure in percent at each."""

    name: str
    severities: Sequence[int]
    values: Sequence[float]


def severity_chart(family: str, lines: Sequence[SeverityLine], highest: float, last: int) -> str:
    """mAP by severity of the corruptions of one family, with their mean.

    Args:
        family: over the picture.
        lines: its corruptions.
        highest, last: of all pictures that stand beside each other: largest value and severity.
    """
    columns, key_lines = 2, -(-(len(lines) + 1) // 2)
    floor = 190.0
    plot = Plot((0, last), (0, 1.06 * highest), 34, 30, 330, floor, 340, floor + 44 + 18 * key_lines)
    shared = sorted(set.intersection(*(set(line.severities) for line in lines)))
    means = [float(np.mean([line.values[list(line.severities).index(s)] for line in lines])) for s in shared]
    drawn = [
        dict(
            points=plot.points(line.severities, line.values),
            hue=f"hsl({round(360 * (0.57 + number / len(lines)) % 360)} 55% 50%)",
            dash=("none", "7 3", "2 3", "9 3 2 3", "4 2", "1 2")[number % 6],
            name=line.name,
            told=", ".join(f"{s}: {v:.1f}" for s, v in zip(line.severities, line.values, strict=True)),
            x=plot.left + number % columns * 150,
            y=plot.floor + 52 + 18 * (number // columns),
        )
        for number, line in enumerate(lines)
    ]
    mean = plot.points(shared, means) if len(lines) > 1 else ""
    at = dict(x=plot.left + len(lines) % columns * 150, y=plot.floor + 52 + 18 * (len(lines) // columns))
    return _chart(
        "severities",
        plot,
        family,
        range(last + 1),
        round_ticks(*plot.y_range, about=4),
        drawn,
        mean,
        at,
        lines[0].values[0],
    )


def _chart(name: str, *values: Any) -> str:
    """The SVG that a macro of ``charts.svg`` draws."""
    return getattr(template("charts.svg").module, name)(*values).strip()
