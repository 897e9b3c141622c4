"""Which queries to show, and what each of them finds under its protocol's rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mscmreid.evaluation import FeatureTable, RankingResult, Selection
from mscmreid.evaluation.similarity import similarities

CHOICES = ("spread", "best", "worst", "hardest", "first")
"""Ways to choose queries, see :func:`choose_queries`."""


@dataclass(frozen=True)
class Nearest:
    """What one query finds.

    Attributes:
        query: its row of the feature table.
        rows: (n,) rows of the gallery images it may see, nearest first; ties keep the gallery's order.
        similarity: (n,) float32 inner products with them.
        is_match: (n,) bool, whether they show the query's person.
    """

    query: int
    rows: np.ndarray
    similarity: np.ndarray
    is_match: np.ndarray


def nearest_rows(
    matrix: np.ndarray, table: FeatureTable, selection: Selection, positions: Sequence[int], top: int = 10
) -> list[Nearest]:
    """The ``top`` nearest gallery rows of some queries, without those that the selection's rule ignores.

    Args:
        matrix: (N, D) features of the table's rows, as :meth:`FeatureTable.matrix` gives them.
        table: their metadata.
        selection: one trial of a protocol.
        positions: which of ``selection.query``.
        top: at most so many rows of each query.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, found {top}")
    queries = selection.query[np.asarray(positions, dtype=np.int64)]
    scores = similarities(matrix, queries, matrix, selection.gallery)
    found = []
    for query, row_scores in zip(queries, scores, strict=True):
        allowed = ~ignored_rows(table, selection, int(query))
        order = np.argsort(-row_scores, kind="stable")
        order = order[allowed[order]][:top]
        rows = selection.gallery[order]
        found.append(Nearest(int(query), rows, row_scores[order], table.pid[rows] == table.pid[query]))
    return found


def ignored_rows(table: FeatureTable, selection: Selection, query: int) -> np.ndarray:
    """(G,) bool: the gallery rows of a selection that the query (a row of the table) must not see."""
    gallery = selection.gallery
    pid, cam = int(table.pid[query]), int(table.cam_id[query])
    return selection.rule.ignored(pid, cam, table.pid[gallery], table.cam_id[gallery])


def choose_queries(ranking: RankingResult, query_pids: np.ndarray, how: str = "spread", num: int = 5) -> list[int]:
    """Positions of queries worth looking at; only queries with a match, each person once.

    Args:
        ranking: one trial's per-query values.
        query_pids: (Q,) person of each query.
        how: 'best' and 'worst' by average precision; 'hardest': the first match stands furthest down; 'spread': from
            the best person to the worst in even steps of rank, each by their median query; 'first': in the protocol's
            order.
        num: how many; fewer if there are not so many people.

    Raises:
        ValueError: an unknown way, or no number to choose.
    """
    if how not in CHOICES or num < 1:
        raise ValueError(f"choose at least 1 query in one of the ways {', '.join(CHOICES)}; found {num} by {how!r}")
    used = np.flatnonzero(ranking.has_match)
    if how == "spread":
        return _spread(used, ranking.ap, query_pids, num)
    orders: Mapping[str, Callable[[], np.ndarray]] = {
        "best": lambda: np.argsort(-ranking.ap[used], kind="stable"),
        "worst": lambda: np.argsort(ranking.ap[used], kind="stable"),
        "hardest": lambda: np.lexsort((ranking.ap[used], -ranking.first_rank[used])),
        "first": lambda: np.arange(len(used)),
    }
    ordered = used[orders[how]()]
    _, first = np.unique(query_pids[ordered], return_index=True)  # the place where each person comes first
    return ordered[np.sort(first)][:num].tolist()


def _spread(used: np.ndarray, ap: np.ndarray, query_pids: np.ndarray, num: int) -> list[int]:
    """Median query of each of ``num`` people, taken in even steps from the best to the worst of them."""
    typical = []
    for pid in np.unique(query_pids[used]):
        own = used[query_pids[used] == pid]
        typical.append(own[np.argsort(-ap[own], kind="stable")[(len(own) - 1) // 2]])
    people = np.array(typical)[np.argsort(-ap[typical], kind="stable")]
    steps = np.linspace(0, len(people) - 1, min(num, len(people)))
    return people[np.round(steps).astype(np.int64)].tolist()
