"""From an evaluation to the picture of its rankings."""

from __future__ import annotations

from pathlib import Path

from mscmreid.evaluation import Evaluation, FeatureTable, Result
from mscmreid.gate import path_below
from mscmreid.visualization.nearest import Nearest, choose_queries, nearest_rows
from mscmreid.visualization.rankings import RankedImage, Ranking


def evaluation_rankings(
    evaluation: Evaluation,
    table: FeatureTable,
    data_root: str | Path,
    how: str = "spread",
    num: int = 5,
    top: int = 10,
) -> list[Ranking]:
    """Queries of an evaluation's first trial with their nearest gallery images, ready to draw.

    Args:
        evaluation: one row of :func:`mscmreid.evaluation.evaluate` over ``table``, not re-ranked.
        table: the features; its paths are relative to ``data_root``.
        how, num: see :func:`choose_queries`.
        top: gallery images of each query.
    """
    result, selection = evaluation.result, evaluation.selections[0]
    positions = choose_queries(evaluation.rankings[0], table.pid[selection.query], how, num)
    matrix = table.matrix(result.feature, result.flip)
    found = nearest_rows(matrix, table, selection, positions, top)
    return [as_ranking(nearest, table, data_root) for nearest in found]


def as_ranking(nearest: Nearest, table: FeatureTable, data_root: str | Path) -> Ranking:
    """Paths and captions of what a query found."""
    query = RankedImage(path_below(data_root, table.path[nearest.query]), person(table, nearest.query))
    gallery = [
        RankedImage(path_below(data_root, table.path[row]), f"{person(table, row)}  {score:.2f}", bool(match))
        for row, score, match in zip(nearest.rows, nearest.similarity, nearest.is_match, strict=True)
    ]
    return Ranking(query, gallery)


def person(table: FeatureTable, row: int) -> str:
    """Who and where: 'id 17 cam 3'."""
    return f"id {table.pid[row]} cam {table.cam_id[row]}"


def ranking_title(result: Result) -> tuple[str, str]:
    """(title, subtitle) of a result's picture: what was ranked, under which protocol, how well.

    The Rank-1 is the mean over all trials; the picture shows the first one.
    """
    std = result.std
    rank1 = f"Rank-1 {result.mean['R1']:.1f} %" + (f" ± {std['R1']:.1f}" if std else "")
    title = f"{result.dataset}, {result.setting}, {result.feature_label}: {rank1}"
    trials = f"gallery draw {result.trials[0]} of {result.num_trials}" if result.num_trials > 1 else "one gallery"
    parts = [f"protocol {result.protocol}", f"{result.cmc_kind} CMC", result.exclusion, trials]
    return title, ", ".join(parts) + "; green (tick): the query's person, red (cross): somebody else"
