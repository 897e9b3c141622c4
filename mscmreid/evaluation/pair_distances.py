"""How far apart images of one person and of two lie: histograms of cosine distances, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 2000


@dataclass(frozen=True)
class PairDistances:
    """Histograms of cosine distances (1 - cosine, 0..2) of pairs of images.

    Attributes:
        edges: (BINS + 1,) of the bins.
        same, different: (BINS,) numbers of pairs that show one person, or two.
        num_queries: images that were compared with the others; ``total_queries``: of so many.
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

    def std(self, same: bool) -> float:
        """Standard deviation of the distances of pairs of one person, or of two."""
        counts = self.same if same else self.different
        return float(np.sqrt((self.centres**2 * counts).sum() / counts.sum() - self.mean(same) ** 2))

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

    @property
    def alignment(self) -> float:
        """Mean |x - y|^2 over pairs of one person, unit features (Wang and Isola, ICML 2020, alpha = 2); 0 is best."""
        return 2 * self.mean(True)  # |x - y|^2 = 2 (1 - cosine)

    @property
    def uniformity(self) -> float:
        """log of the mean of exp(-2 |x - y|^2) over all pairs, those of one person too (the same paper, t = 2).

        Lower is better: near -4 where features lie evenly on a sphere of many dimensions, 0 where all are one point.
        """
        counts = self.same + self.different
        return float(np.log((np.exp(-4 * self.centres) * counts).sum() / counts.sum()))

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


class PairCounter:
    """Collects distances into the histograms of :class:`PairDistances`."""

    def __init__(self) -> None:
        self.same, self.different = np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64)

    def add(self, distance: np.ndarray, is_same: np.ndarray, counts: np.ndarray) -> None:
        """Distances of any shape; ``is_same``: of one person; ``counts``: which of them count (bool, as distance)."""
        bins = np.clip((distance * (BINS / 2)).astype(np.int64), 0, BINS - 1)
        self.same += np.bincount(bins[counts & is_same], minlength=BINS)
        self.different += np.bincount(bins[counts & ~is_same], minlength=BINS)

    def result(self, num_queries: int, total_queries: int) -> PairDistances | None:
        """The histograms; None where there is no pair of one of the two kinds."""
        if not self.same.any() or not self.different.any():
            return None
        return PairDistances(np.linspace(0, 2, BINS + 1), self.same, self.different, num_queries, total_queries)
