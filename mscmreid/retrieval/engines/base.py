"""What finds the nearest rows of a gallery, and what all of them share: the score and the order of a list.

However an engine finds its candidates, their scores are computed anew from the features that the gallery keeps, exactly
(:mod:`mscmreid.evaluation.similarity`), and the list is ordered by score, then path. So two engines that find the same
rows give the same list, to the last bit, on every machine.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mscmreid.evaluation.similarity import similarities
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.snapshot import Snapshot

FOUND_NOTHING = -1


class Engine(Protocol):
    """Finds the nearest rows.

    Attributes:
        name: as it is asked for and shown.
        is_exact: whether it gives the very list that a comparison with every row gives.
    """

    name: str
    is_exact: bool

    def find(self, snapshot: Snapshot, queries: np.ndarray, top: int, where: Filter) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows of each query among those that a filter lets through.

        Args:
            snapshot: the gallery's version.
            queries: (Q, D) float32 unit rows.
            top: how many each.
            where: the filter.

        Returns:
            (Q, top) int64 positions, nearest first, ties by path, FOUND_NOTHING where there are no more; (Q, top)
            float32 inner products, NaN there.
        """
        ...


def best(snapshot: Snapshot, query: np.ndarray, positions: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``top`` nearest of some positions, in order, and their exact scores.

    Args:
        query: (D,).
        positions: (n,), each once.
    """
    one = np.zeros(1, dtype=np.int64)
    scores = similarities(query[None], one, snapshot.features(positions))[0] + np.float32(0)  # + 0: no minus zero
    if len(np.unique(scores)) == len(scores):
        order = np.argsort(-scores)
    else:
        order = np.lexsort((snapshot.path_rank[positions], -scores))
    order = order[:top]
    return positions[order], scores[order]


def rounding_bound(dim: int, query_norm: float) -> float:
    """How far a float32 inner product, summed in any order, can be from the exact one.

    The classical bound of a sum of D rounded products, D u / (1 - D u) ||x|| ||y|| with u = 2^-24; rows of a gallery
    have unit length within 2 %. The exact score's own rounding is the last term.
    """
    u = 2.0**-24
    return dim * u / (1 - dim * u) * 1.02 * query_norm + 2e-7


def filled(found: list[tuple[np.ndarray, np.ndarray]], top: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists of different lengths as two arrays (Q, top)."""
    positions = np.full((len(found), top), FOUND_NOTHING, dtype=np.int64)
    scores = np.full((len(found), top), np.nan, dtype=np.float32)
    for row, (places, values) in enumerate(found):
        positions[row, : len(places)], scores[row, : len(places)] = places, values
    return positions, scores
