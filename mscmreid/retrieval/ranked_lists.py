"""Ranked lists of one folder of images against another: no ids, no cameras, any number of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from mscmreid.evaluation.similarity import similarities
from mscmreid.progress import Progress
from mscmreid.retrieval.shards import FolderFeatures, extract_folder
from mscmreid.tables import write_csv
from mscmreid.visualization.rankings import RankedImage, Ranking, draw_rankings

__all__ = ["FolderFeatures", "RankedLists", "draw_pages", "extract_folder", "rank_folders", "write_lists"]

QUERY_BLOCK, GALLERY_BLOCK = 512, 4096
QUERIES_A_PAGE = 6


@dataclass(frozen=True)
class RankedLists:
    """What each query found.

    Attributes:
        gallery: (Q, top) int64, positions in the gallery's ``paths``, nearest first; ties keep their order.
        similarity: (Q, top) float32 inner products: the cosine for one plain feature.
    """

    gallery: np.ndarray
    similarity: np.ndarray


def rank_folders(query: FolderFeatures, gallery: FolderFeatures, top: int = 10) -> RankedLists:
    """The ``top`` most similar gallery images of every query; memory does not grow with the folders.

    Raises:
        ValueError: ``top`` under 1, features of different width, or a folder inside the other, so that an image would
            find itself.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, found {top}")
    check_separate(query.folder, gallery.folder)
    widths = sorted({shard.shape[1] for shard in (*query.shards, *gallery.shards)})
    if len(widths) > 1:
        raise ValueError(f"query and gallery features must have one width, found {widths}: use one model for both")
    top = min(top, len(gallery.paths))
    best = np.empty((len(query.paths), top), dtype=np.int64)
    progress = Progress("ranking", len(query.paths))
    for start, rows in query.blocks(QUERY_BLOCK):
        found = np.empty((len(rows), 0), dtype=np.int64)
        for first, block in gallery.blocks(GALLERY_BLOCK):
            scores = similarities(rows, np.arange(len(rows)), block)
            found = _largest(np.concatenate([found, _sortable(scores, first)], axis=1), top)
        best[start : start + len(rows)] = -np.sort(-found, axis=1)
        progress.advance(len(rows))
    return RankedLists(*_unpack(best))


def check_separate(first: str | Path, second: str | Path) -> None:
    """Raise a ValueError if one of two folders is, or lies in, the other."""
    one, two = os.path.realpath(first), os.path.realpath(second)
    if os.path.commonpath([one, two]) in (one, two):
        raise ValueError(
            f"query and gallery must be separate folders, or images would find themselves; found {one!r} and {two!r}"
        )


def _largest(keys: np.ndarray, top: int) -> np.ndarray:
    """The ``top`` largest of each row, in no order."""
    if keys.shape[1] <= top:
        return keys
    return np.partition(keys, keys.shape[1] - top, axis=1)[:, -top:]


def _sortable(scores: np.ndarray, first: int) -> np.ndarray:
    """(n, m) int64 that order like the scores and, where those are equal, put the earlier gallery row first.

    The upper half holds the bits of the float32 score, those of negative ones turned over; the lower half counts the
    gallery's positions (column + ``first``) down.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0: minus zero ties with zero
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    position = np.arange(first, first + scores.shape[1], dtype=np.int64)
    return (ordered << 32) | (0xFFFFFFFF - position)


def _unpack(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gallery positions and scores of the keys of :func:`_sortable`."""
    ordered = (keys >> 32).astype(np.int32)
    bits = np.where(ordered < 0, ordered ^ np.int32(0x7FFFFFFF), ordered).astype(np.int32)
    return 0xFFFFFFFF - (keys & 0xFFFFFFFF), bits.view(np.float32)


def write_lists(lists: RankedLists, query: FolderFeatures, gallery: FolderFeatures, path: str | Path) -> None:
    """A CSV with the columns query, rank (from 1), gallery, similarity; paths are relative to their folders."""
    found = zip(query.paths, lists.gallery, lists.similarity, strict=True)
    rows = (
        (name, rank, gallery.paths[position], f"{score:.6f}")
        for name, positions, scores in found
        for rank, (position, score) in enumerate(zip(positions, scores, strict=True), start=1)
    )
    write_csv(chain([("query", "rank", "gallery", "similarity")], rows), path)


def draw_pages(
    lists: RankedLists,
    query: FolderFeatures,
    gallery: FolderFeatures,
    max_pages: int | None = None,
    queries_a_page: int = QUERIES_A_PAGE,
) -> Iterator[Image.Image]:
    """Pictures of the ranked lists, a few queries each, in the order of the queries; no one is right or wrong.

    Args:
        lists, query, gallery: see :func:`rank_folders`.
        max_pages: at most so many; None: all.
        queries_a_page: rows of a picture.
    """
    starts = range(0, len(query.paths), queries_a_page)[:max_pages]
    for start in starts:
        rows = range(start, min(start + queries_a_page, len(query.paths)))
        rankings = [
            Ranking(
                RankedImage(Path(query.folder, query.paths[row]), query.paths[row]),
                [
                    RankedImage(Path(gallery.folder, name := gallery.paths[position]), f"{score:.3f}\n{name}")
                    for position, score in zip(lists.gallery[row], lists.similarity[row], strict=True)
                ],
            )
            for row in rows
        ]
        yield draw_rankings(
            rankings,
            f"{query.modality} queries in {gallery.modality} images",
            f"queries {rows[0] + 1} to {rows[-1] + 1} of {len(query.paths):,}, {len(gallery.paths):,} gallery images; "
            "under each image its similarity",
        )
