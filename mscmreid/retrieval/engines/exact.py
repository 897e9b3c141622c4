"""Every row of the gallery, a block after another: no index, no further package, the list that is right."""

from __future__ import annotations

import numpy as np

from mscmreid.retrieval.engines.base import best, filled, rounding_bound
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.snapshot import Snapshot

BLOCK, QUERIES = 4096, 1024
"""Rows and queries that are compared at a time."""


class ExactEngine:
    """Compares each query with each row.

    A product in float32 of a block tells roughly how near its rows are; a row that its rounding error could bring into
    the list is a candidate, and the candidates' exact scores decide (:mod:`mscmreid.retrieval.engines.base`). Beside
    the features of a block, memory is needed for the candidates only, of which there are few more than ``top`` a query;
    where very many rows tie, they are decided early.
    """

    name, is_exact = "exact", True

    def find(self, snapshot: Snapshot, queries: np.ndarray, top: int, where: Filter) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Engine`."""
        mask = snapshot.mask(where)
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(queries), QUERIES):
            found += self._find(snapshot, queries[start : start + QUERIES], top, mask)
        return filled(found, top)

    def _find(
        self, snapshot: Snapshot, queries: np.ndarray, top: int, mask: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        lists = [
            _Candidates(snapshot, query, top, rounding_bound(snapshot.dim, float(np.linalg.norm(query))))
            for query in queries
        ]
        for start, segment, rows in snapshot.blocks(BLOCK):
            wanted = np.flatnonzero(mask[start : start + rows.stop - rows.start])
            if not len(wanted):
                continue
            all_of_them = len(wanted) == rows.stop - rows.start
            features = segment.read(rows if all_of_them else wanted + rows.start)
            rough = queries @ np.asarray(features, dtype=np.float32).T
            for candidates, scores in zip(lists, rough, strict=True):
                candidates.see(start + wanted, scores)
        return [candidates.result() for candidates in lists]


class _Candidates:
    """Rows that may be among the ``top`` nearest of one query."""

    def __init__(self, snapshot: Snapshot, query: np.ndarray, top: int, error: float) -> None:
        self.snapshot, self.query, self.top, self.error = snapshot, query, top, error
        self.positions = np.zeros(0, dtype=np.int64)
        self.rough = np.zeros(0, dtype=np.float32)
        self.lowest = -np.inf

    def see(self, positions: np.ndarray, rough: np.ndarray) -> None:
        """Take those of a block that may belong to the list.

        ``top`` rows are at least as near as the ``top``-th rough score less the error; whoever is, has a rough score of
        at least that less the error once more.
        """
        kept = np.flatnonzero(rough >= self.lowest)
        if not len(kept):
            return
        self.positions = np.concatenate([self.positions, positions[kept]])
        self.rough = np.concatenate([self.rough, rough[kept]])
        if len(self.rough) > self.top:
            self._raise_lowest()
        if len(self.rough) > 4 * self.top + 1024:  # ties: decide them now
            decided, _ = best(self.snapshot, self.query, self.positions, self.top)
            self.rough = self.rough[np.searchsorted(self.positions, decided)]  # positions come in ascending order
            order = np.argsort(decided)
            self.positions, self.rough = decided[order], self.rough[order]

    def _raise_lowest(self) -> None:
        last = np.partition(self.rough, len(self.rough) - self.top)[-self.top]
        self.lowest = max(self.lowest, float(last) - 2 * self.error)
        kept = self.rough >= self.lowest
        self.positions, self.rough = self.positions[kept], self.rough[kept]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions and exact scores, in order."""
        return best(self.snapshot, self.query, self.positions, self.top)
