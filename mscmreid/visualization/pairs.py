"""How far apart images of one person and of different people lie, over all pairs that a protocol compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mscmreid.evaluation import FeatureTable, Selection
from mscmreid.evaluation.similarity import norms, similarities
from mscmreid.visualization.nearest import ignored_rows

BINS = 2000
MAX_QUERIES = 2000
CHUNK = 256


@dataclass(frozen=True)
class PairDistances:
    """Histograms of cosine distances (1 - cosine, 0..2) of query-gallery pairs that the rule allows.

    Attributes:
        edges: (BINS + 1,) of the bins.
        same, different: (BINS,) numbers of pairs that show one person, or two.
        num_queries: queries that were looked at; ``total_queries``: of so many.
    """

    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray
    num_queries: int
    total_queries: int

    @property
    def centres(self) -> np.ndarray:
        """(BINS,) middles of the bins."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def mean(self, same: bool) -> float:
        """Mean distance of pairs of one person, or of two."""
        counts = self.same if same else self.different
        return float((self.centres * counts).sum() / counts.sum())

    def found_at(self, false_share: float) -> float:
        """Share in percent of same-person pairs nearer than the nearest ``false_share`` of the other pairs."""
        others = np.cumsum(self.different) / self.different.sum()
        limit = int(np.searchsorted(others, false_share))
        return float(100 * self.same[:limit].sum() / self.same.sum())

    @property
    def area(self) -> float:
        """Chance in percent that a same-person pair is nearer than another pair (area under the ROC curve)."""
        farther = self.different.sum() - np.cumsum(self.different)
        wins = (self.same * (farther + self.different / 2)).sum()
        return float(100 * wins / (self.same.sum() * self.different.sum()))

    def coarse(self, num_bins: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(edges, share of same-person pairs, share of other pairs) in wider bins over the occupied range."""
        used = np.flatnonzero(self.same + self.different)
        step = max(1, -(-(used[-1] - used[0] + 1) // num_bins))
        starts = np.arange(used[0], used[-1] + 1, step)
        edges = self.edges[np.minimum(np.r_[starts, starts[-1] + step], BINS)]
        shares = []
        for counts in (self.same, self.different):
            sums = np.add.reduceat(counts, starts).astype(np.float64)
            sums[-1] = counts[starts[-1] : starts[-1] + step].sum()
            shares.append(sums / max(1, counts.sum()))
        return edges, shares[0], shares[1]


def pair_distances(
    matrix: np.ndarray, table: FeatureTable, selection: Selection, max_queries: int = MAX_QUERIES
) -> PairDistances | None:
    """Distances of all pairs of one trial that the rule allows; None where there are none of one kind.

    Args:
        matrix: (N, D) features of the table's rows, as :meth:`FeatureTable.matrix` gives them.
        table: their metadata.
        selection: one trial of a protocol.
        max_queries: of more queries, so many are taken at even steps.
    """
    total = len(selection.query)
    steps = np.linspace(0, total - 1, min(total, max_queries)).round().astype(np.int64)
    queries = selection.query[steps]
    length = norms(matrix[queries]), norms(matrix[selection.gallery])
    edges = np.linspace(0, 2, BINS + 1)
    same, different = np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64)
    for start in range(0, len(queries), CHUNK):
        rows = queries[start : start + CHUNK]
        scores = similarities(matrix, rows, matrix, selection.gallery)
        distance = 1 - scores / (length[0][start : start + CHUNK] * length[1].T)
        bins = np.clip((distance * (BINS / 2)).astype(np.int64), 0, BINS - 1)
        allowed = ~np.stack([ignored_rows(table, selection, int(row)) for row in rows])
        is_same = table.pid[rows][:, None] == table.pid[selection.gallery]
        same += np.bincount(bins[allowed & is_same], minlength=BINS)
        different += np.bincount(bins[allowed & ~is_same], minlength=BINS)
    if not same.any() or not different.any():
        return None
    return PairDistances(edges, same, different, len(queries), total)
