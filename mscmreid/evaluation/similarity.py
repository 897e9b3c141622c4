"""Similarities (inner products) of feature rows that come out the same, to the last bit, on every machine.

A sum of floats depends on its order, and every matrix product has an order of its own: by library, processor, number of
threads and place in the matrix. Here no sum is ever rounded, so the order has no effect. Each row x is first rounded to
a grid of its own, whole multiples of a power of two g(x) with |x| < 1.23 g(x) 2^26. The product of two entries is then
a whole multiple of g(x) g(y), and so is every partial sum; by Cauchy-Schwarz each is below 1.51 * 2^52 of them. A
float64 holds all whole numbers up to 2^53, so the product in float64 is exact, and is rounded once, to float32.

The similarity of two rows thus depends on these two rows alone. The grid moves a unit row by at most sqrt(D) 2^-27, and
its similarities typically by 6e-9, less than the rounding to float32 (3e-8).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

TILE = 1024  # rows read at a time


def product_bytes(dim: int, num_gallery: int) -> tuple[int, int]:
    """Memory that :func:`similarities` takes: for each query, its result included, and beside the queries."""
    return 4 * num_gallery + 8 * dim + 8 * TILE, 16 * dim * TILE


def similarities(
    query: np.ndarray,
    query_rows: np.ndarray,
    gallery: np.ndarray,
    gallery_rows: np.ndarray | None = None,
    by_column: bool = False,
) -> np.ndarray:
    """(n, m) float32 inner products of ``query[query_rows]`` and ``gallery[gallery_rows]`` (all rows if None).

    The arrays (N, D) may be memory-mapped and of any float type; only tiles of them are read at a time. With
    ``by_column`` the numbers of a gallery row, and not those of a query, lie side by side in memory.
    """
    num_gallery = len(gallery) if gallery_rows is None else len(gallery_rows)
    scores = np.empty((len(query_rows), num_gallery), dtype=np.float32, order="F" if by_column else "C")
    queries = np.empty((len(query_rows), query.shape[1]))
    for top in range(0, len(queries), TILE):
        queries[top : top + TILE] = on_grid(query[query_rows[top : top + TILE]])
    work = np.empty((min(TILE, num_gallery), len(queries)) if by_column else (len(queries), min(TILE, num_gallery)))
    for left in range(0, num_gallery, TILE):
        columns = slice(left, left + TILE)
        rows = on_grid(gallery[columns if gallery_rows is None else gallery_rows[columns]])
        if by_column:
            scores.T[columns] = np.matmul(rows, queries.T, out=work[: len(rows)])
        else:
            scores[:, columns] = np.matmul(queries, rows.T, out=work[:, : len(rows)])
    return scores


def on_grid(rows: np.ndarray) -> np.ndarray:
    """(N, D) float64: each row rounded to whole multiples of its grid, see the module's text."""
    grid = np.array(rows, dtype=np.float64)
    # Adding and taking away 1.5 * 2^52 steps rounds to whole steps: a float64 of that size has no finer ones.
    shift = np.ldexp(1.5, norm_exponents(grid) - 26 + 52)[:, None]
    grid += shift
    grid -= shift
    return grid


def norms(rows: np.ndarray) -> np.ndarray:
    """(N, 1) float64 lengths of rows, the same on every machine: the squares of a row on its grid add up exactly."""
    found = np.empty((len(rows), 1))
    for start in range(0, len(rows), TILE):
        grid = on_grid(rows[start : start + TILE])
        found[start : start + TILE, 0] = np.sqrt(np.einsum("nd,nd->n", grid, grid))
    return found


def norm_exponents(rows: np.ndarray) -> np.ndarray:
    """(N,) smallest e with |row|^2 < 1.5 * 4^e; the factor keeps the norms of unit rows and their sums off the bounds.

    The squared norm is a sum, too: where its last digits could decide, it is summed exactly.
    """
    squares = np.einsum("nd,nd->n", rows, rows) / 1.5
    mantissa, _ = np.frexp(squares)
    for row in np.flatnonzero((mantissa - 0.5 < 1e-9) | (1 - mantissa < 1e-9)):
        squares[row] = math.fsum(rows[row] ** 2) / 1.5
    exponents = np.frexp(squares)[1]
    return -(-exponents // 2)


def check_finite(features: np.ndarray, rows: np.ndarray, name: str, paths: Sequence[str] | None = None) -> None:
    """Raise a ValueError that names the image if one of ``features[rows]`` (N, D) has a NaN or an infinity."""
    ones = np.ones(features.shape[1], dtype=np.float32)
    for part in _parts(rows):
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.asarray(features[part], dtype=np.float32) @ ones  # not finite if any entry is not
        for row in part[~np.isfinite(sums)]:
            bad = int((~np.isfinite(features[row])).sum())
            if bad:
                where = f"row {row}" + (f" ({paths[row]})" if paths is not None else "")
                raise ValueError(
                    f"{name} must be finite, found {bad} NaN or infinite value(s) in {where}. "
                    "Look at that image and at the model that made the features."
                )


def _parts(rows: np.ndarray, step: int = 2048) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
