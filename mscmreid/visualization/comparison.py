"""A picture of two systems: AP of each query against each other, the differences, the queries that change most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mscmreid.evaluation import Evaluation, FeatureTable, PerQuery
from mscmreid.evaluation.compare import Comparison
from mscmreid.visualization.nearest import nearest_rows
from mscmreid.visualization.pictures import as_ranking
from mscmreid.visualization.rankings import FAINT, INK, PAPER, RankedImage, Ranking, draw_rankings

BETTER, WORSE, EVEN = "#0a6a9f", "#c4561a", "#8a8f98"
DPI = 110


def draw_comparison(
    names: tuple[str, str], queries: tuple[PerQuery, PerQuery], comparisons: Sequence[Comparison], title: str
) -> Image.Image:
    """AP of each query under both systems, and every difference with its interval.

    Args:
        names: of the two systems.
        queries: their per-query values, of the same queries.
        comparisons: whose differences are drawn, of one setting.
        title: data set and protocol.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure_class()(figsize=(11, 4.9), layout="constrained", dpi=DPI, facecolor=PAPER)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _draw_queries(left, names, queries)
    _draw_differences(right, comparisons)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", color=INK)
    return _as_image(figure)


def _draw_queries(panel: Any, names: tuple[str, str], queries: tuple[PerQuery, PerQuery]) -> None:
    first, second = (values.mean_ap for values in queries)
    used = np.isfinite(first)
    first, second = first[used], second[used]
    better, worse = int((first > second).sum()), int((first < second).sum())
    colors = np.where(first > second, BETTER, np.where(first < second, WORSE, EVEN))
    panel.plot([0, 100], [0, 100], color=FAINT, linewidth=0.8)
    panel.scatter(
        second, first, c=colors.tolist(), s=9, alpha=float(np.clip(400 / len(first), 0.15, 0.7)), linewidths=0
    )
    panel.set_xlim(-2, 102)
    panel.set_ylim(-2, 102)
    panel.set_aspect("equal")
    panel.set_xlabel(f"AP of a query with {names[1]}, percent", fontsize=9)
    panel.set_ylabel(f"AP of the same query with {names[0]}, percent", fontsize=9)
    style = dict(fontsize=9, fontweight="bold", transform=panel.transAxes)
    background = dict(facecolor=PAPER, alpha=0.85, edgecolor="none", pad=2)
    panel.text(0.03, 0.96, f"{better:,} better with {names[0]}", va="top", color=BETTER, bbox=background, **style)
    panel.text(0.97, 0.04, f"{worse:,} better with {names[1]}", ha="right", color=WORSE, bbox=background, **style)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _draw_differences(panel: Any, comparisons: Sequence[Comparison]) -> None:
    places = np.arange(len(comparisons))
    for place, comparison in zip(places, comparisons, strict=True):
        found = comparison.difference
        color = EVEN if not comparison.is_distinguishable else BETTER if found.difference > 0 else WORSE
        panel.plot([found.low, found.high], [place, place], color=color, linewidth=2.4, solid_capstyle="butt")
        panel.plot(found.difference, place, "o", color=color, markersize=6)
        text = f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
        panel.annotate(text, (found.difference, place), (0, 8), textcoords="offset points", ha="center", fontsize=8)
    panel.axvline(0, color=INK, linewidth=0.9)
    several = len({(c.first, c.second) for c in comparisons}) > 1
    labels = [f"{f'{c.first} - {c.second}' if several else ''} {c.difference.measure}".strip() for c in comparisons]
    panel.set_yticks(places, labels, fontsize=9)
    panel.set_ylim(len(comparisons) - 0.5, -0.7)
    panel.margins(x=0.18)
    first = comparisons[0]
    what = "" if several else f"{first.first} - {first.second}, "
    panel.set_xlabel(f"{what}points; 95 % interval over {first.difference.over}, gray: not distinguishable", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(axis="x", alpha=0.25)
    panel.spines[["top", "right", "left"]].set_visible(False)


def changed_queries(queries: tuple[PerQuery, PerQuery], num: int = 10) -> list[int]:
    """Positions of the queries whose AP (mean over the draws) differs most, each of another person, most first."""
    change = np.abs(queries[0].mean_ap - queries[1].mean_ap)
    change[np.isnan(change)] = -1
    order = np.argsort(-change, kind="stable")
    order = order[change[order] > 0]
    _, first = np.unique(queries[0].pid[order], return_index=True)
    return order[np.sort(first)][:num].tolist()


def draw_changes(
    names: tuple[str, str],
    evaluations: tuple[Evaluation, Evaluation],
    tables: tuple[FeatureTable, FeatureTable],
    data_root: str | Path,
    num: int = 10,
    top: int = 5,
) -> Image.Image | None:
    """The queries that change most, with what each system finds first in the first gallery draw, side by side.

    Args:
        names, evaluations, tables: of the two systems; evaluations are of one protocol and the same queries.
        data_root: folder of the images.
        num: queries, each of another person.
        top: gallery images of each.

    Returns:
        None if no query changes.
    """
    values = tuple(evaluation.per_query(table) for evaluation, table in zip(evaluations, tables, strict=True))
    queries = (values[0], values[1])
    positions = changed_queries(queries, num)
    if not positions:
        return None
    wanted = [queries[0].path[position] for position in positions]
    sides = []
    for name, evaluation, table, of in zip(names, evaluations, tables, queries, strict=True):
        rankings = _rankings(evaluation, table, data_root, wanted, top)
        captioned = [
            Ranking(
                _captioned(ranking.query, f"\nAP {of.mean_ap[position]:.1f}"), [_captioned(g) for g in ranking.gallery]
            )
            for ranking, position in zip(rankings, positions, strict=True)
        ]
        title = f"{name}: the {len(positions)} queries that change most"
        result = evaluation.result
        told = f"AP: mean of {result.num_trials} gallery draws; " if result.num_trials > 1 else ""
        sides.append(draw_rankings(captioned, title, f"{told}images: draw {result.trials[0]}", tile=(64, 128)))
    return beside(sides)


def _rankings(
    evaluation: Evaluation, table: FeatureTable, data_root: str | Path, wanted: Sequence[str], top: int
) -> list[Ranking]:
    selection, result = evaluation.selections[0], evaluation.result
    place_of = {table.path[row]: place for place, row in enumerate(selection.query)}
    places = [place_of[path] for path in wanted]
    matrix = table.matrix(result.feature, result.flip)
    return [as_ranking(nearest, table, data_root) for nearest in nearest_rows(matrix, table, selection, places, top)]


def _captioned(image: RankedImage, line: str = "") -> RankedImage:
    """With the person and the camera below each other, as small tiles need."""
    return RankedImage(image.path, image.caption.replace(" cam", "\ncam") + line, image.is_match)


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures from left to right."""
    whole = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), PAPER)
    x = 0
    for picture in pictures:
        whole.paste(picture, (x, 0))
        x += picture.width
    return whole


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below the other."""
    whole = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), PAPER)
    y = 0
    for picture in pictures:
        whole.paste(picture, (0, y))
        y += picture.height
    return whole


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the picture of a comparison needs matplotlib: pip install 'mscmreid[report]'") from error
    return Figure


def _as_image(figure: Any) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
