"""Ranks of the matches of a block of queries, without sorting the gallery.

A measure only needs the rank of each match, and the rank of a match is one plus the number of rows above it, which
comparisons of whole blocks count. Equal scores keep the gallery's order, exactly: a row before the match counts when
its score is greater or equal, a row behind it when its score is greater. Where ids have many gallery rows, one id is
counted after another, whose queries share their matching columns; where they have few, all queries are counted at once.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from mscmreid.evaluation.rules import ExclusionRule

WORK_BYTES = 1 << 19  # comparison masks of this size stay in a core's cache
FEW_ROWS = 8  # up to so many gallery rows of an id, see _matches_at_once and _best_of_ids
TURNED_ROWS = 512
SORT_FROM = 256  # with more matches than this, one stable sort of the row is cheaper than counting for each match


@dataclass(frozen=True)
class BlockRanks:
    """Per query of a block: all (n,), zero where the query has no match.

    Attributes:
        first_rank: rank of the best match: among identities (identity CMC) or among rows (plain CMC).
        ap: average precision, 0..1.
        inp: inverse negative penalty (number of matches / rank of the last match), 0..1.
    """

    first_rank: np.ndarray
    ap: np.ndarray
    inp: np.ndarray


class GalleryIndex:
    """Ids and cameras of a gallery, prepared once for any number of query blocks.

    Args:
        pids: (G,) integer ids.
        cams: (G,) integer cameras; None if unknown.
    """

    def __init__(self, pids: np.ndarray, cams: np.ndarray | None) -> None:
        self.pids, self.cams = pids, cams
        self.order = np.argsort(pids, kind="stable")  # grouped by id, gallery order within an id
        ordered = pids[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.unique_pids = ordered[self.starts]
        self.stops = np.r_[self.starts[1:], len(pids)]
        self.is_grouped = bool((np.diff(self.order) == 1).all())

    def columns(self, pid: int) -> np.ndarray:
        """Gallery positions of an id, ascending; empty if the gallery does not have it."""
        at = int(np.searchsorted(self.unique_pids, pid))
        if at == len(self.unique_pids) or self.unique_pids[at] != pid:
            return self.order[:0]
        return self.order[self.starts[at] : self.stops[at]]

    def columns_of(self, pids: np.ndarray) -> np.ndarray:
        """(n, max_matches) gallery positions of each of the ids (n,), ascending; -1 where an id has fewer."""
        at = np.minimum(np.searchsorted(self.unique_pids, pids), len(self.unique_pids) - 1)
        count = np.where(self.unique_pids[at] == pids, self.stops[at] - self.starts[at], 0)[:, None]
        number = np.arange(self.max_matches())
        place = np.minimum(self.starts[at][:, None] + number, len(self.order) - 1)
        return np.where(number < count, self.order[place], -1)

    def max_matches(self) -> int:
        """Gallery rows of the id that has the most."""
        return int((self.stops - self.starts).max())

    def bytes_per_query(self, itemsize: int) -> int:
        """Memory that ranking takes for each query of a block, its row of scores included."""
        copies = 1 if self.is_grouped else 2
        per_id = len(self.starts) * (2 * itemsize + 8)
        sorting = len(self.pids) * 32 if self.max_matches() > SORT_FROM else 0
        if self.max_matches() <= FEW_ROWS:
            copies += 1
            per_id += len(self.starts) * 3 * itemsize
        return len(self.pids) * itemsize * copies + per_id + self.max_matches() * 64 + sorting


@dataclass(frozen=True)
class _Block:
    """What :func:`rank_block` is given, with ignored rows as -inf as far as they are no matches."""

    scores: np.ndarray
    pids: np.ndarray
    cams: np.ndarray | None
    gallery: GalleryIndex
    rule: ExclusionRule

    @property
    def unseen(self) -> int:
        """Stands for "no such match" and sorts behind every rank."""
        return self.scores.shape[1] + 1

    def ignored_matches(self, rows: slice, columns: np.ndarray) -> np.ndarray:
        """Which of the matches in ``columns`` the rule ignores for the queries ``rows``; bool, (rows, columns)."""
        assert self.cams is not None and self.gallery.cams is not None
        return self.rule.ignored_matches(self.cams[rows, None], self.gallery.cams[columns])


def rank_block(
    scores: np.ndarray,
    query_pids: np.ndarray,
    query_cams: np.ndarray | None,
    gallery: GalleryIndex,
    rule: ExclusionRule,
    identity_cmc: bool,
) -> BlockRanks:
    """Rank a block of queries.

    Args:
        scores: (n, G) finite floats, higher is nearer; overwritten (ignored rows become -inf).
        query_pids: (n,) ids, equal ids side by side.
        query_cams: (n,) cameras; may be None if the rule needs none.
        gallery: the G gallery rows.
        rule: rows to ignore.
        identity_cmc: rank identities by their best row for the CMC, not rows.
    """
    if rule.camera_pairs or rule.same_camera:
        assert query_cams is not None and gallery.cams is not None
        for cam in np.unique(query_cams):
            columns = np.flatnonzero(rule.ignored_cameras(int(cam), gallery.cams))
            if len(columns):
                scores[np.ix_(np.flatnonzero(query_cams == cam), columns)] = -np.inf

    num_rows = len(scores)
    block = _Block(scores, query_pids, query_cams, gallery, rule)
    matches = _matches_at_once if gallery.max_matches() <= FEW_ROWS else _matches_by_id
    ranks, best_score, best_column = matches(block)
    ranks.sort(axis=1)
    seen = ranks < block.unseen
    num_matches = seen.sum(axis=1)
    has_match = num_matches > 0
    precision = np.where(seen, np.arange(1, ranks.shape[1] + 1) / ranks, 0.0)
    divisor = np.maximum(num_matches, 1)
    last = ranks[np.arange(num_rows), divisor - 1]
    first = _identity_ranks(scores, best_score, best_column, gallery) if identity_cmc else ranks[:, 0]
    return BlockRanks(
        first_rank=np.where(has_match, first, 0),
        ap=precision.sum(axis=1) / divisor,
        inp=np.where(has_match, num_matches / last, 0.0),
    )


def _matches_at_once(queries: _Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranks (n, max_matches) of the matches, ``unseen`` where there is none; score and column (n, 1) of the best.

    The first matches of all queries are counted together, then the second ones, and so on.
    """
    scores = queries.scores
    columns = queries.gallery.columns_of(queries.pids)
    here = np.arange(len(scores))[:, None]
    if queries.rule.same_id_same_camera:
        ignored = (columns >= 0) & queries.ignored_matches(slice(None), columns)
        rows, numbers = np.nonzero(ignored)
        scores[rows, columns[rows, numbers]] = -np.inf
    values = scores[here, columns]
    values[columns < 0] = -np.inf
    best = values.argmax(axis=1)[:, None]  # the first of equal ones
    absent = values == -np.inf
    values[absent] = np.inf  # nothing is above it, nor equal to it
    ranks = _ranks_in_rows(scores, values, columns)
    ranks[absent] = queries.unseen
    return ranks, values[here, best], columns[here, best]


def _ranks_in_rows(scores: np.ndarray, values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n, m) ranks of ``values``, which stand in ``columns`` (n, m) of their rows of ``scores`` (n, G)."""
    ranks = np.empty(values.shape, dtype=np.int64)
    place = np.arange(scores.shape[1])[:, None]
    for start in range(0, len(scores), TURNED_ROWS):
        some = slice(start, start + TURNED_ROWS)
        turned = np.ascontiguousarray(scores[some].T)  # (G, few)
        for value, column, found in zip(
            np.ascontiguousarray(values[some].T), columns[some].T, ranks[some].T, strict=True
        ):
            above = count_down(turned > value)
            found[:] = above + 1
            tied = np.flatnonzero(count_down(turned >= value) - above > 1)
            if len(tied):
                found[tied] += ((turned[:, tied] == value[tied]) & (place < column[tied])).sum(axis=0)
    return ranks


def _matches_by_id(queries: _Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As :func:`_matches_at_once`, for one id after another."""
    scores, gallery, num_rows = queries.scores, queries.gallery, len(queries.scores)
    ranks = np.full((num_rows, gallery.max_matches()), queries.unseen, dtype=np.int64)
    best_score = np.full((num_rows, 1), np.inf, dtype=scores.dtype)
    best_column = np.zeros((num_rows, 1), dtype=np.int64)
    bounds = np.flatnonzero(np.r_[True, queries.pids[1:] != queries.pids[:-1], True])
    work = np.empty(WORK_BYTES, dtype=bool)
    for start, stop in itertools.pairwise(bounds):
        columns = gallery.columns(int(queries.pids[start]))
        if not len(columns):
            continue
        block = scores[start:stop]
        values = block[:, columns]  # (rows, matches)
        if queries.rule.same_id_same_camera:
            values[queries.ignored_matches(slice(start, stop), columns)] = -np.inf
            block[:, columns] = values
        best = values.argmax(axis=1)  # the first of equal ones
        best_score[start:stop, 0] = values[np.arange(len(values)), best]
        best_column[start:stop, 0] = columns[best]
        found = _ranks_by_sorting(block, columns) if len(columns) > SORT_FROM else _ranks(block, values, columns, work)
        found[values == -np.inf] = queries.unseen
        ranks[start:stop, : len(columns)] = found
    return ranks, best_score, best_column


def _ranks(block: np.ndarray, values: np.ndarray, columns: np.ndarray, work: np.ndarray) -> np.ndarray:
    """(n, m) ranks of the matches ``values`` = ``block[:, columns]`` in the rows of ``block`` (n, G), by counting."""
    num_rows, num_gallery = block.shape
    width = -(-num_gallery // 8) * 8  # whole 8-byte words
    if width > len(work):
        work = np.empty(width, dtype=bool)
    rows_at_once = max(1, min(num_rows, len(work) // width))
    columns_at_once = max(1, len(work) // (width * rows_at_once))
    ranks = np.empty(values.shape, dtype=np.int64)
    for row in range(0, num_rows, rows_at_once):
        part = block[row : row + rows_at_once]
        for first in range(0, len(columns), columns_at_once):
            some = columns[first : first + columns_at_once]
            above = work[: len(some) * len(part) * width].reshape(len(some), len(part), width)
            above[:, :, num_gallery:] = False
            for i, column in enumerate(some):
                value = values[row : row + len(part), first + i, None]
                np.greater_equal(part[:, :column], value, out=above[i, :, :column])
                np.greater(part[:, column:], value, out=above[i, :, column:num_gallery])
            counts = count_true(above.reshape(-1, width)).reshape(len(some), len(part))
            ranks[row : row + len(part), first : first + len(some)] = counts.T + 1
    return ranks


def _ranks_by_sorting(block: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n, m) ranks of ``columns`` in each row of ``block``, by a stable sort of one row after another."""
    ranks = np.empty((len(block), len(columns)), dtype=np.int64)
    rank_of = np.empty(block.shape[1], dtype=np.int64)
    for row, scores in enumerate(block):
        rank_of[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
        ranks[row] = rank_of[columns]
    return ranks


def count_down(mask: np.ndarray) -> np.ndarray:
    """Number of True in each column of a bool array (L, n); (n,) int64. A byte counts 255 rows before it overflows."""
    counts = np.zeros(mask.shape[1], dtype=np.int64)
    for start in range(0, len(mask), 255):
        counts += np.add.reduce(mask[start : start + 255].view(np.uint8), axis=0, dtype=np.uint8)
    return counts


def count_true(mask: np.ndarray) -> np.ndarray:
    """Number of True in each row of a C-contiguous bool array (n, L) with L a multiple of 8; (n,) int64.

    Eight bools are added at a time, as the bytes of one 8-byte word; a byte holds 255 of them before it overflows.
    """
    words = mask.view(np.uint64)
    counts = np.zeros(len(mask), dtype=np.int64)
    for start in range(0, words.shape[1], 255):
        sums = np.add.reduce(words[:, start : start + 255], axis=1)
        counts += sums.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
    return counts


def _identity_ranks(
    scores: np.ndarray, best_score: np.ndarray, best_column: np.ndarray, gallery: GalleryIndex
) -> np.ndarray:
    """(n,) one plus the number of other ids whose best row stands above the query's best match.

    ``best_score`` and ``best_column`` (n, 1) are those of the best match. Its own id never counts: its best row is
    that match, which is neither greater than itself nor before itself.
    """
    grouped = scores if gallery.is_grouped else scores[:, gallery.order]
    best_of_id = _best_of_ids(grouped, gallery)
    ranks = 1 + (best_of_id > best_score).sum(axis=1)
    tied = np.flatnonzero((best_of_id == best_score).sum(axis=1) > 1)
    step = max(1, WORK_BYTES // grouped.shape[1])
    for rows in (tied[i : i + step] for i in range(0, len(tied), step)):
        before = (grouped[rows] == best_score[rows]) & (gallery.order < best_column[rows])
        before_of_id = np.logical_or.reduceat(before, gallery.starts, axis=1)
        ranks[rows] += (before_of_id & (best_of_id[rows] == best_score[rows])).sum(axis=1)
    return ranks


def _best_of_ids(grouped: np.ndarray, gallery: GalleryIndex) -> np.ndarray:
    """(n, ids) best score of every id; ``grouped`` (n, G) has the columns of an id side by side.

    numpy's reduceat takes its time for each id, so where ids have few rows each, all first rows are compared with all
    second rows, and so on, a few queries at a time with their scores turned so that equal columns lie side by side.
    """
    sizes = gallery.stops - gallery.starts
    if sizes.max() > FEW_ROWS:
        return np.maximum.reduceat(grouped, gallery.starts, axis=1)
    rounds = [(np.flatnonzero(sizes > k), gallery.starts[sizes > k] + k) for k in range(1, sizes.max())]
    best_of_id = np.empty((len(grouped), len(sizes)), dtype=grouped.dtype)
    for start in range(0, len(grouped), TURNED_ROWS):
        turned = np.ascontiguousarray(grouped[start : start + TURNED_ROWS].T)  # (G, few)
        best = turned[gallery.starts]
        for ids, columns in rounds:
            best[ids] = np.maximum(best[ids], turned[columns])
        best_of_id[start : start + TURNED_ROWS] = best.T
    return best_of_id
