"""Similarities (inner products) of feature rows, in tiles of one fixed shape.

A fixed tile makes the value of a pair of rows independent of the memory bound, of the chunk, and of its place in the
gallery: two equal gallery rows tie exactly, wherever they stand. Large tiles also keep the threads of the matrix
product from waiting for each other often, which costs most where other processes use the cores, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

TILE_QUERIES = (128, 512, 1024)
TILE_GALLERY = 512


def tile_height(num_queries: int) -> int:
    """Query rows of a tile for a ranking of ``num_queries`` in all: the smallest that holds them, or the largest."""
    return next((height for height in TILE_QUERIES if height >= num_queries), TILE_QUERIES[-1])


def tile_bytes(num_queries: int, dim: int) -> int:
    """Memory that :func:`similarities` takes beyond its result and the queries' features."""
    height = tile_height(num_queries)
    return 4 * (dim * (height + TILE_GALLERY) + height * TILE_GALLERY)


def similarities(
    query: np.ndarray,
    query_rows: np.ndarray,
    gallery: np.ndarray,
    gallery_rows: np.ndarray | None = None,
    *,
    num_queries: int,
) -> np.ndarray:
    """(n, m) float32 inner products of ``query[query_rows]`` and ``gallery[gallery_rows]`` (all rows if None).

    The arrays (N, D) may be memory-mapped and of any float type; only tiles of them are read at a time.
    ``num_queries`` is the number of queries of the whole ranking, of which ``query_rows`` are a chunk.
    """
    height = tile_height(num_queries)
    num_gallery = len(gallery) if gallery_rows is None else len(gallery_rows)
    scores = np.empty((len(query_rows), num_gallery), dtype=np.float32)
    product = np.empty((height, TILE_GALLERY), dtype=np.float32)
    tops = range(0, len(query_rows), height)
    blocks = [_tile(query, query_rows[top : top + height], height) for top in tops]
    for left in range(0, num_gallery, TILE_GALLERY):
        right = min(left + TILE_GALLERY, num_gallery)
        rows = slice(left, right) if gallery_rows is None else gallery_rows[left:right]
        columns = _tile(gallery, rows, TILE_GALLERY).T
        for top, block in zip(tops, blocks, strict=True):
            np.matmul(block, columns, out=product)
            bottom = min(top + height, len(scores))
            scores[top:bottom, left:right] = product[: bottom - top, : right - left]
    return scores


def _tile(features: np.ndarray, rows: np.ndarray | slice, height: int) -> np.ndarray:
    """(height, D) float32: the rows, with zero rows behind them."""
    part = np.asarray(features[rows], dtype=np.float32)
    if len(part) == height:
        return part
    tile = np.zeros((height, features.shape[1]), dtype=np.float32)
    tile[: len(part)] = part
    return tile


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
