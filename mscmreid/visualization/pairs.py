"""How far apart images of one person and of different people lie, over all pairs that a protocol compares."""

from __future__ import annotations

import numpy as np

from mscmreid.evaluation import FeatureTable, Selection
from mscmreid.evaluation.pair_distances import PairCounter, PairDistances
from mscmreid.evaluation.similarity import norms, similarities
from mscmreid.visualization.nearest import ignored_rows

MAX_QUERIES = 2000
CHUNK = 256


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
    counter = PairCounter()
    for start in range(0, len(queries), CHUNK):
        rows = queries[start : start + CHUNK]
        scores = similarities(matrix, rows, matrix, selection.gallery)
        distance = 1 - scores / (length[0][start : start + CHUNK] * length[1].T)
        allowed = ~np.stack([ignored_rows(table, selection, int(row)) for row in rows])
        is_same = table.pid[rows][:, None] == table.pid[selection.gallery]
        counter.add(distance, is_same, allowed)
    return counter.result(len(queries), total)
