"""k-reciprocal re-ranking (Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017).

With N = queries + gallery rows: d is the squared Euclidean distance of unit features, each row divided by its largest
entry. R(i) are the reciprocal neighbours of i among its first k1 + 1, joined by the half-size reciprocal sets of its
members that overlap it by more than two thirds. V(i) holds exp(-d(i, j)) for j in R(i), scaled to sum 1, then averaged
over the first k2 neighbours of i. The Jaccard distance of two rows is 1 - m / (2 - m) with m = sum of min(V(i), V(j)),
and the result is (1 - lambda) Jaccard + lambda d.

Only k1 + 1 neighbours and the non-zero entries of V are kept: O(N k) memory, and one chunk of distances at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mscmreid.evaluation.ranking import DEFAULT_MEMORY, RankingResult, Selection, rank_by_scores
from mscmreid.evaluation.similarity import check_finite, norms, similarities

EXP_SERIES = [1 / math.factorial(power) for power in range(19, -1, -1)]
"""exp on -1..0 to float64's last digit; numpy's own exp differs by processor."""


def rerank_selection(
    features: np.ndarray,
    pids: np.ndarray,
    cams: np.ndarray,
    selection: Selection,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    memory_bytes: int = DEFAULT_MEMORY,
    paths: Sequence[str] | None = None,
) -> RankingResult:
    """Rank one selection of a feature table by re-ranked distances.

    Args:
        features: (N, D); rows are taken as directions (scaled to unit length).
        pids, cams: (N,).
        selection: which rows, which rule, which CMC.
        k1, k2, lambda_value: as in the paper; its values are the defaults.
        memory_bytes: most memory for a chunk of distances.
        paths: images of the rows, for error messages.
    """
    check_finite(features, np.r_[selection.query, selection.gallery], "features", paths)
    distances = ReRanking(features, selection.query, selection.gallery, k1, k2, lambda_value, memory_bytes).distances
    return rank_by_scores(
        lambda rows: -distances(rows),
        pids[selection.query],
        pids[selection.gallery],
        cams[selection.query],
        cams[selection.gallery],
        rule=selection.rule,
        identity_cmc=selection.identity_cmc,
        memory_bytes=memory_bytes,
        bytes_per_query=24 * (len(selection.query) + len(selection.gallery)),
        itemsize=8,
    )


class ReRanking:
    """Re-ranked distances of query rows to gallery rows.

    Args:
        features: (N, D); ``query`` and ``gallery`` are row numbers.
        k1, k2, lambda_value: as in the paper.
        memory_bytes: most memory for a chunk of distances.
    """

    def __init__(
        self,
        features: np.ndarray,
        query: np.ndarray,
        gallery: np.ndarray,
        k1: int = 20,
        k2: int = 6,
        lambda_value: float = 0.3,
        memory_bytes: int = DEFAULT_MEMORY,
    ) -> None:
        if k1 < 1 or k2 < 1 or not 0 <= lambda_value <= 1:
            raise ValueError(f"re-ranking needs k1, k2 >= 1 and lambda in 0..1, found {k1}, {k2}, {lambda_value}")
        rows = np.r_[query, gallery]
        unit = np.asarray(features[rows], dtype=np.float32)
        self._unit = unit / np.maximum(norms(unit), 1e-12).astype(np.float32)
        self._num_queries = len(query)
        self._lambda = lambda_value
        chunk = max(1, memory_bytes // (len(rows) * 24))
        neighbours, self._largest = _neighbours(self._distance_rows, len(rows), max(k1 + 1, k2), chunk)
        encoding = [self._weights(row, members) for row, members in enumerate(reciprocal_sets(neighbours, k1))]
        self._encoding = _average(encoding, neighbours[:, :k2])
        self._columns = _by_column(self._encoding, self._num_queries)

    def _distance_rows(self, rows: np.ndarray) -> np.ndarray:
        """(n, N) float64 squared Euclidean distances; exactly 0 of a row to itself."""
        distance = self._distances(rows, np.arange(len(self._unit)))
        distance[np.arange(len(rows)), rows] = 0
        return distance

    def _distances(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(n, m) float64 squared Euclidean distances of unit rows."""
        similarity = similarities(self._unit, rows, self._unit, others)
        return np.maximum(2 - 2 * similarity.astype(np.float64), 0)

    def _weights(self, row: int, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A row of V before its averaging: its columns and their values, which sum to 1."""
        distance = self._distances(np.array([row]), members)[0]
        weights = np.polyval(EXP_SERIES, -np.where(members == row, 0, distance) / self._largest[row])
        return members, weights / weights.sum()

    def distances(self, queries: np.ndarray) -> np.ndarray:
        """(n, G) float64 re-ranked distances of some queries (positions in the query list) to all gallery rows."""
        gallery = np.arange(self._num_queries, len(self._unit))
        original = self._distances(queries, gallery) / self._largest[queries, None]
        starts, gallery_rows, gallery_values = self._columns
        num_gallery = original.shape[1]
        for row, query in enumerate(queries):
            columns, values = self._encoding[query]
            entries, counts = _segments(starts, columns)
            smaller = np.minimum(gallery_values[entries], np.repeat(values, counts))
            shared = np.bincount(gallery_rows[entries], weights=smaller, minlength=num_gallery)
            jaccard = 1 - shared / (2 - shared)
            original[row] = (1 - self._lambda) * jaccard + self._lambda * original[row]
        return original


Sparse = list[tuple[np.ndarray, np.ndarray]]
"""One (columns, values) pair a row."""


def _neighbours(
    distance_rows: Callable[[np.ndarray], np.ndarray], num_rows: int, count: int, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` nearest rows of every row (N, count), itself included, and every row's largest distance (N,).

    Equal distances keep the order of the rows.
    """
    count = min(count, num_rows)
    neighbours = np.empty((num_rows, count), dtype=np.int64)
    largest = np.empty(num_rows)
    for start in range(0, num_rows, chunk):
        rows = np.arange(start, min(start + chunk, num_rows))
        distance = distance_rows(rows)
        bound = np.partition(distance, count - 1, axis=1)[:, count - 1]
        largest[rows] = np.maximum(distance.max(axis=1), 1e-12)
        for row, values, limit in zip(rows, distance, bound, strict=True):
            candidates = np.flatnonzero(values <= limit)
            neighbours[row] = candidates[np.argsort(values[candidates], kind="stable")][:count]
    return neighbours, largest


def reciprocal_sets(neighbours: np.ndarray, k1: int) -> list[np.ndarray]:
    """The expanded k-reciprocal neighbours R*(i) of every row, ascending row numbers.

    Args:
        neighbours: (N, at least k1 + 1 or N) nearest rows of every row, itself included.
        k1: size of the neighbourhood.
    """
    wholes, halves = _reciprocal(neighbours[:, : k1 + 1]), _reciprocal(neighbours[:, : int(np.around(k1 / 2)) + 1])
    starts = np.r_[0, np.cumsum([len(half) for half in halves])]
    members_of_halves = np.concatenate(halves)
    is_member = np.zeros(len(neighbours), dtype=bool)
    sets = []
    for members in wholes:
        is_member[members] = True
        entries, counts = _segments(starts, members)  # the half-size sets of all members, one behind the other
        others = members_of_halves[entries]
        owner = np.repeat(np.arange(len(members)), counts)
        overlap = np.bincount(owner[is_member[others]], minlength=len(members))
        is_member[members] = False
        joins = overlap > 2 / 3 * counts
        sets.append(np.unique(np.concatenate([members, others[joins[owner]]])))
    return sets


def _reciprocal(neighbours: np.ndarray) -> list[np.ndarray]:
    """Of every row, those of its neighbours that have it among theirs."""
    rows = np.arange(len(neighbours))
    mutual = np.stack([(neighbours[column] == rows[:, None]).any(axis=1) for column in neighbours.T], axis=1)
    return [near[keep] for near, keep in zip(neighbours, mutual, strict=True)]


def _average(encoding: Sparse, neighbours: np.ndarray) -> Sparse:
    """Every row of V averaged over the row's first k2 neighbours (local query expansion)."""
    averaged = []
    for near in neighbours:
        columns = np.concatenate([encoding[row][0] for row in near])
        values = np.concatenate([encoding[row][1] for row in near])
        unique, place = np.unique(columns, return_inverse=True)
        averaged.append((unique, np.bincount(place, weights=values) / len(near)))
    return averaged


def _by_column(encoding: Sparse, num_queries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gallery's rows of V by column: start of each column (N + 1,), gallery rows, values."""
    lengths = [len(columns) for columns, _ in encoding[num_queries:]]
    columns = np.concatenate([columns for columns, _ in encoding[num_queries:]])
    values = np.concatenate([values for _, values in encoding[num_queries:]])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(len(encoding) + 1))
    return starts, rows[order], values[order]


def _segments(starts: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all entries of some columns, one column after another, and how many each has."""
    counts = starts[columns + 1] - starts[columns]
    offsets = np.repeat(starts[columns] - np.r_[0, np.cumsum(counts)[:-1]], counts)
    return np.arange(len(offsets)) + offsets, counts
