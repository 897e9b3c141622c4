"""A report of results to look at: one HTML file that needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from mscmreid.evaluation import Evaluation, FeatureTable, Result, camera_pair_values
from mscmreid.visualization.charts import camera_chart, cmc_chart, distance_chart
from mscmreid.visualization.nearest import choose_queries, nearest_rows
from mscmreid.visualization.page import document, facts, heading, section
from mscmreid.visualization.pairs import pair_distances
from mscmreid.visualization.svg import element
from mscmreid.visualization.tiles import Tiles


def results_report(results: Sequence[Result]) -> str:
    """The HTML of results without their features: tables, facts and CMC curves.

    Args:
        results: as :func:`mscmreid.evaluation.load_results` gives them.
    """
    note = "Distances, pairs of cameras and rankings need the features: make the report from the feature file."
    return document(results, [_chapter(n, result, [], note) for n, result in enumerate(results, start=1)])


def evaluation_report(
    evaluations: Sequence[Evaluation],
    table: FeatureTable,
    data_root: str | Path | None,
    num_queries: int = 5,
    num_hardest: int = 8,
    top: int = 10,
) -> str:
    """The HTML of evaluations with everything that their features show.

    Args:
        evaluations: of :func:`mscmreid.evaluation.evaluate` over ``table``. Re-ranked ones get their numbers and CMC
            only: distances and neighbours are those of the plain features.
        table: the features.
        data_root: folder of the images; None leaves images out and puts ids in their place.
        num_queries: queries among the best and among the worst, each of another person.
        num_hardest: queries whose first match stands furthest down, each of another person.
        top: gallery images of each query.

    Raises:
        FileNotFoundError, ValueError: an image is missing or cannot be decoded; it is named.
    """
    tiles = Tiles(table, data_root)
    chapters = []
    for number, evaluation in enumerate(evaluations, start=1):
        result = evaluation.result
        if result.rerank:
            chapters.append(
                _chapter(number, result, [], "Re-ranked: the plain features' chapter shows their rankings.")
            )
            continue
        matrix = table.matrix(result.feature, result.flip)
        parts = [
            _distances(number, evaluation, table, matrix),
            _cameras(number, evaluation, table, matrix),
            _hardest(number, evaluation, table, matrix, tiles, num_hardest),
            _rankings(number, evaluation, table, matrix, tiles, "best", num_queries, top),
            _rankings(number, evaluation, table, matrix, tiles, "worst", num_queries, top),
        ]
        chapters.append(_chapter(number, result, parts))
    return document([evaluation.result for evaluation in evaluations], chapters)


def _chapter(number: int, result: Result, parts: Sequence[str], note: str = "") -> str:
    """One result: its numbers, its CMC with the first part beside it, the other parts below."""
    told = f"{result.cmc_kind} CMC"
    if result.num_trials > 1:
        told += f"; the line is the mean of {result.num_trials} gallery draws, the band one standard deviation"
    cmc = section("cmc", number, "Matched within rank", told, cmc_chart(result.cmc))
    return element(
        "article",
        heading(result)
        + facts(result, number)
        + element("div", cmc + "".join(parts[:1]), class_="pair")
        + "".join(parts[1:])
        + (element("p", escape(note), class_="note") if note else ""),
        id=f"result-{number}",
    )


def _draw(result: Result) -> str:
    return f"gallery draw {result.trials[0]}" if result.num_trials > 1 else "the gallery"


def _distances(number: int, evaluation: Evaluation, table: FeatureTable, matrix: np.ndarray) -> str:
    pairs = pair_distances(matrix, table, evaluation.selections[0])
    if pairs is None:
        return section("distances", number, "Distances", "Every pair is of one kind: there is nothing to compare.", "")
    some = "" if pairs.num_queries == pairs.total_queries else f" of {pairs.num_queries:,} queries"
    told = (
        f"pairs{some} that the protocol compares in {_draw(evaluation.result)}. A pair of one person is nearer than "
        f"one of two in {pairs.area:.1f} % of cases; {pairs.found_at(0.01):.1f} % are nearer than 99 % of the others"
    )
    return section("distances", number, "Distances", told, distance_chart(pairs))


def _cameras(number: int, evaluation: Evaluation, table: FeatureTable, matrix: np.ndarray) -> str:
    selections = evaluation.selections
    every = [camera_pair_values(matrix, table, selection) for selection in selections]
    means = {}
    for pair in sorted({pair for values in every for pair in values}):
        found = [values[pair] for values in every if pair in values]
        means[pair] = {name: float(np.mean([values[name] for values in found])) for name in found[0]}
    query_cams = sorted({int(cam) for s in selections for cam in np.unique(table.cam_id[s.query])})
    gallery_cams = sorted({int(cam) for s in selections for cam in np.unique(table.cam_id[s.gallery])})
    mean = f", mean of {len(selections)} gallery draws" if len(selections) > 1 else ""
    told = (
        f"Rank-1 of the queries of one camera against the gallery images of another{mean}. A dashed cell: the protocol "
        "does not compare them, or no query has a match there"
    )
    chart = camera_chart(means, query_cams, gallery_cams)
    return section("cameras", number, "Pairs of cameras", told, chart)


def _hardest(
    number: int, evaluation: Evaluation, table: FeatureTable, matrix: np.ndarray, tiles: Tiles, num: int
) -> str:
    ranking, selection = evaluation.rankings[0], evaluation.selections[0]
    positions = choose_queries(ranking, table.pid[selection.query], "hardest", num)
    cards = []
    for position, nearest in zip(
        positions, nearest_rows(matrix, table, selection, positions, len(selection.gallery)), strict=True
    ):
        first = int(np.flatnonzero(nearest.is_match)[0])
        shown = [
            tiles.tile(nearest.query, "query"),
            tiles.tile(int(nearest.rows[0]), "nearest", bool(nearest.is_match[0])),
        ]
        if first:
            shown.append(tiles.tile(int(nearest.rows[first]), f"place {first + 1}", True))
        told = f"{table.path[nearest.query]}: first match at place {first + 1}, AP {ranking.ap[position]:.1f} %"
        cards.append(tiles.card(shown, told))
    told = (
        f"in {_draw(evaluation.result)}, one a person: those whose first match stands furthest down, with what stands "
        "first instead"
    )
    return section("hardest", number, "Hardest queries", told, element("div", "".join(cards), class_="cards"))


def _rankings(
    number: int,
    evaluation: Evaluation,
    table: FeatureTable,
    matrix: np.ndarray,
    tiles: Tiles,
    how: str,
    num: int,
    top: int,
) -> str:
    ranking, selection = evaluation.rankings[0], evaluation.selections[0]
    positions = choose_queries(ranking, table.pid[selection.query], how, num)
    found = nearest_rows(matrix, table, selection, positions, top)
    strips = [
        tiles.strip(nearest, top, f"AP {ranking.ap[position]:.1f} %")
        for position, nearest in zip(positions, found, strict=True)
    ]
    told = (
        f"{how} average precision in {_draw(evaluation.result)}, one query a person; nearest first, with the "
        "similarity. A solid frame with a tick is the query's person, a dashed one with a cross somebody else"
    )
    return section(how, number, f"{how.capitalize()} rankings", told, "".join(strips))
