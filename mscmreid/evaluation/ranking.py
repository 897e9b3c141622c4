"""CMC, mAP and mINP of queries against a gallery: from distances, or from features within a memory bound.

>>> import numpy as np
>>> distance = np.array([[0.1, 0.3, 0.2], [0.4, 0.2, 0.3]])
>>> result = rank_distances(distance, query_pids=[1, 2], gallery_pids=[1, 2, 1])
>>> result.rank(1), result.mAP, result.num_queries
(100.0, 100.0, 2)

Measures (all in percent, means over the queries that have a match): rank-k is 100 for a query with a match among the
first k rows (plain CMC) or the first k identities, each at its best row (identity CMC); AP is the mean over the
matches of (matches so far / rank), without interpolation; INP is the number of matches / rank of the last match.
Ties keep the gallery's order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mscmreid.cores import few_cores, on_few_cores
from mscmreid.evaluation.match_ranks import FEW_ROWS, WORK_BYTES, BlockRanks, GalleryIndex, rank_block
from mscmreid.evaluation.rules import NOTHING_IGNORED, ExclusionRule
from mscmreid.evaluation.similarity import check_finite, product_bytes, similarities

DEFAULT_MEMORY = 1 << 30


@dataclass(frozen=True)
class RankingResult:
    """Per-query values of one ranking, and their means.

    Attributes:
        query_index: (n,) position of each query in the query list, ascending.
        first_rank: (n,) rank of the best match, 0 for a query without a match.
        ap: (n,) average precision in percent, NaN for a query without a match.
        inp: (n,) inverse negative penalty in percent, NaN for a query without a match.
        total_queries: number of queries asked for, those without a match included.
        num_gallery: rows of the gallery.
    """

    query_index: np.ndarray
    first_rank: np.ndarray
    ap: np.ndarray
    inp: np.ndarray
    total_queries: int
    num_gallery: int

    @property
    def has_match(self) -> np.ndarray:
        """(n,) bool: the queries that the means are taken over."""
        return self.first_rank > 0

    @property
    def num_queries(self) -> int:
        """Queries used, those with at least one match."""
        return int(self.has_match.sum())

    @property
    def num_left_out(self) -> int:
        """Queries left out of the means because no gallery row matches."""
        return len(self.first_rank) - self.num_queries

    @property
    def mAP(self) -> float:
        """Mean average precision in percent."""
        return float(self.ap[self.has_match].mean())

    @property
    def mINP(self) -> float:
        """Mean inverse negative penalty in percent."""
        return float(self.inp[self.has_match].mean())

    @property
    def cmc(self) -> np.ndarray:
        """(20,) CMC at ranks 1..20 in percent."""
        return self.cmc_curve(20)

    def cmc_curve(self, max_rank: int) -> np.ndarray:
        """(max_rank,) CMC in percent; behind the last rank of a small gallery it stays at its last value."""
        first = self.first_rank[self.has_match]
        counts = np.bincount(np.minimum(first, max_rank + 1), minlength=max_rank + 2)[1 : max_rank + 1]
        return 100.0 * np.cumsum(counts) / len(first)

    def rank(self, k: int) -> float:
        """Rank-k in percent."""
        return float(self.cmc_curve(k)[-1])

    def values(self, ranks: Sequence[int] = (1, 5, 10, 20)) -> dict[str, float]:
        """``{'R1': ..., 'R5': ..., 'mAP': ..., 'mINP': ...}`` in percent."""
        curve = self.cmc_curve(max(ranks))
        return {**{f"R{k}": float(curve[k - 1]) for k in ranks}, "mAP": self.mAP, "mINP": self.mINP}


@dataclass(frozen=True)
class Selection:
    """One ranking to make: rows of a feature table that query, rows that are the gallery, and how to count.

    Attributes:
        query: (Q,) row numbers, in the protocol's order.
        gallery: (G,) row numbers, in the protocol's order.
        rule: gallery rows that a query ignores.
        identity_cmc: identity CMC instead of plain CMC.
        trial: number of the gallery draw.
    """

    query: np.ndarray
    gallery: np.ndarray
    rule: ExclusionRule = NOTHING_IGNORED
    identity_cmc: bool = False
    trial: int = 0


def rank_distances(
    distance: np.ndarray,
    query_pids: Sequence[int] | np.ndarray,
    gallery_pids: Sequence[int] | np.ndarray,
    query_cams: Sequence[int] | np.ndarray | None = None,
    gallery_cams: Sequence[int] | np.ndarray | None = None,
    *,
    rule: ExclusionRule = NOTHING_IGNORED,
    identity_cmc: bool = False,
    memory_bytes: int = DEFAULT_MEMORY,
    query_paths: Sequence[str] | None = None,
) -> RankingResult:
    """Rank a matrix of distances.

    Args:
        distance: (Q, G), smaller is nearer, any real type; not changed.
        query_pids, gallery_pids: (Q,), (G,) ids.
        query_cams, gallery_cams: (Q,), (G,) cameras; needed if the rule speaks of cameras.
        rule: gallery rows that a query ignores.
        identity_cmc: identity CMC instead of plain CMC.
        memory_bytes: most memory to use beyond the inputs.
        query_paths: image of each query, for error messages.

    Raises:
        ValueError: empty or wrongly shaped inputs, NaN or infinite distances, no query with a match.
    """
    distance = np.asarray(distance)
    q_pids, g_pids, q_cams, g_cams = _check_columns(query_pids, gallery_pids, query_cams, gallery_cams, rule)
    if distance.shape != (len(q_pids), len(g_pids)):
        raise ValueError(
            f"distance must have shape (queries, gallery) = ({len(q_pids)}, {len(g_pids)}), found {distance.shape}"
        )
    dtype = distance.dtype if distance.dtype in (np.float32, np.float64) else np.dtype(np.float64)

    def scores(rows: np.ndarray) -> np.ndarray:
        block = np.negative(distance[rows], dtype=dtype)
        finite = np.isfinite(block)
        if not finite.all():
            row = int(rows[np.flatnonzero(~finite.all(axis=1))[0]])
            where = f"query {row}" + (f" ({query_paths[row]})" if query_paths is not None else "")
            raise ValueError(f"distances must be finite, found NaN or infinite values in the row of {where}")
        return block

    return rank_by_scores(
        scores,
        q_pids,
        g_pids,
        q_cams,
        g_cams,
        rule=rule,
        identity_cmc=identity_cmc,
        memory_bytes=memory_bytes,
        bytes_per_query=len(g_pids) * (2 * dtype.itemsize + 1),
        itemsize=dtype.itemsize,
    )


def rank_by_scores(
    scores: Callable[[np.ndarray], np.ndarray],
    query_pids: Sequence[int] | np.ndarray,
    gallery_pids: Sequence[int] | np.ndarray,
    query_cams: Sequence[int] | np.ndarray | None = None,
    gallery_cams: Sequence[int] | np.ndarray | None = None,
    *,
    rule: ExclusionRule = NOTHING_IGNORED,
    identity_cmc: bool = False,
    memory_bytes: int = DEFAULT_MEMORY,
    bytes_per_query: int,
    itemsize: int,
) -> RankingResult:
    """Rank by scores that are made a chunk of queries at a time.

    Args:
        scores: takes (n,) query positions, gives a new (n, G) array of finite scores, higher is nearer.
        bytes_per_query: memory that ``scores`` takes for each query.
        itemsize: bytes of one score.
        query_pids, gallery_pids, query_cams, gallery_cams, rule, identity_cmc, memory_bytes: as in
            :func:`rank_distances`.
    """
    q_pids, g_pids, q_cams, g_cams = _check_columns(query_pids, gallery_pids, query_cams, gallery_cams, rule)
    job = _Job(np.arange(len(q_pids)), None, q_pids, q_cams, GalleryIndex(g_pids, g_cams), rule, identity_cmc)
    return _complete(_rank_jobs(scores, q_pids, [job], bytes_per_query, 0, itemsize, memory_bytes))[0]


def rank_features(
    query: np.ndarray,
    gallery: np.ndarray,
    query_pids: Sequence[int] | np.ndarray,
    gallery_pids: Sequence[int] | np.ndarray,
    query_cams: Sequence[int] | np.ndarray | None = None,
    gallery_cams: Sequence[int] | np.ndarray | None = None,
    *,
    rule: ExclusionRule = NOTHING_IGNORED,
    identity_cmc: bool = False,
    memory_bytes: int = DEFAULT_MEMORY,
    query_paths: Sequence[str] | None = None,
    gallery_paths: Sequence[str] | None = None,
) -> RankingResult:
    """Rank by the inner product of feature rows (the cosine similarity if the rows have unit length).

    Args:
        query, gallery: (Q, D), (G, D) features, memory-mapped if they are large; read in tiles.
        memory_bytes: most memory to use beyond the features.
        query_pids, gallery_pids, query_cams, gallery_cams, rule, identity_cmc: as in :func:`rank_distances`.
        query_paths, gallery_paths: images of the rows, for error messages.

    Raises:
        ValueError: as :func:`rank_distances`; a memory bound under one query's need.
    """
    q_pids, g_pids, q_cams, g_cams = _check_columns(query_pids, gallery_pids, query_cams, gallery_cams, rule)
    for name, features, pids in (("query", query, q_pids), ("gallery", gallery, g_pids)):
        if features.ndim != 2 or len(features) != len(pids):
            raise ValueError(f"{name} features must have shape ({len(pids)}, D), found {features.shape}")
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(f"features must have one width, found {query.shape[1]} (query), {gallery.shape[1]} (gallery)")
    check_finite(query, np.arange(len(query)), "query features", query_paths)
    check_finite(gallery, np.arange(len(gallery)), "gallery features", gallery_paths)

    job = _Job(np.arange(len(q_pids)), None, q_pids, q_cams, GalleryIndex(g_pids, g_cams), rule, identity_cmc)
    parts = _rank_jobs(
        lambda rows: similarities(query, rows, gallery),
        q_pids,
        [job],
        *product_bytes(query.shape[1], len(g_pids)),
        4,
        memory_bytes,
    )
    return _complete(parts)[0]


def rank_selections(
    features: np.ndarray,
    pids: np.ndarray,
    cams: np.ndarray | None,
    selections: Sequence[Selection],
    *,
    memory_bytes: int = DEFAULT_MEMORY,
    paths: Sequence[str] | None = None,
) -> list[RankingResult]:
    """Rank many selections of one feature table; those that share rows share one product of features.

    Args:
        features: (N, D), nearness is the inner product.
        pids, cams: (N,) integers.
        selections: what to rank; row numbers refer to ``features``.
        memory_bytes: most memory to use beyond the features.
        paths: images of the rows, for error messages.

    Returns:
        One result a selection, in their order.
    """
    pids = np.asarray(pids)
    used = _marked(np.zeros(len(features), dtype=bool), *(rows for s in selections for rows in (s.query, s.gallery)))
    check_finite(features, np.flatnonzero(used), "features", paths)
    results: list[RankingResult | None] = [None] * len(selections)
    for members, query_union, gallery_union in _share_products(selections, len(features)):
        jobs = []
        for number in members:
            chosen = selections[number]
            rows = np.searchsorted(query_union, chosen.query)
            if np.bincount(rows).max(initial=0) > 1:
                raise ValueError(f"a selection must name each query row once, trial {chosen.trial} repeats some")
            query_cams = None if cams is None else cams[chosen.query]
            gallery_cams = None if cams is None else cams[chosen.gallery]
            _check_columns(pids[chosen.query], pids[chosen.gallery], query_cams, gallery_cams, chosen.rule)
            jobs.append(
                _Job(
                    rows,
                    np.searchsorted(gallery_union, chosen.gallery),
                    pids[chosen.query],
                    query_cams,
                    GalleryIndex(pids[chosen.gallery], gallery_cams),
                    chosen.rule,
                    chosen.identity_cmc,
                )
            )

        # few rows of a person in every gallery: whole columns are taken and compared
        by_column = all(job.gallery.max_matches() <= FEW_ROWS for job in jobs)

        def product(
            rows: np.ndarray,
            query: np.ndarray = query_union,
            gallery: np.ndarray = gallery_union,
            by_column: bool = by_column,
        ) -> np.ndarray:
            return similarities(features, query[rows], features, gallery, by_column)

        parts = _rank_jobs(
            product,
            pids[query_union],
            jobs,
            *product_bytes(features.shape[1], len(gallery_union)),
            4,
            memory_bytes,
        )
        for number, part in zip(members, _complete(parts), strict=True):
            results[number] = part
    return [result for result in results if result is not None]


@dataclass(frozen=True)
class _Job:
    """A ranking as positions in a shared product: rows and columns of it, and what stands there."""

    rows: np.ndarray  # (Q,) positions among the product's queries
    columns: np.ndarray | None  # (G,) positions among the product's gallery rows; None: the product is this job's alone
    query_pids: np.ndarray
    query_cams: np.ndarray | None
    gallery: GalleryIndex
    rule: ExclusionRule
    identity_cmc: bool


def _rank_jobs(
    scores: Callable[[np.ndarray], np.ndarray],
    product_pids: np.ndarray,
    jobs: Sequence[_Job],
    bytes_per_query: int,
    fixed_bytes: int,
    itemsize: int,
    memory_bytes: int,
) -> list[RankingResult]:
    """Rank every job, a chunk of the product's queries at a time.

    ``scores(rows)`` gives a new (n, columns) array; ``bytes_per_query`` is what one of its rows takes, ``fixed_bytes``
    what it takes beside them.
    """
    by_pid = np.argsort(product_pids, kind="stable")
    at_once = few_cores(len(jobs))
    per_query = bytes_per_query + at_once * max(
        job.gallery.bytes_per_query(itemsize) - (0 if job.columns is not None else len(job.gallery.pids) * itemsize)
        for job in jobs
    )
    fixed = fixed_bytes + 2 * WORK_BYTES * at_once
    chunk = (memory_bytes - fixed) // per_query
    if chunk < 1:
        raise ValueError(
            f"the memory bound is too small: ranking one query against this gallery takes {fixed + per_query} bytes, "
            f"memory_bytes is {memory_bytes}"
        )
    where_of = [_positions(job.rows, len(product_pids)) for job in jobs]
    found: list[list[tuple[np.ndarray, BlockRanks]]] = [[] for _ in jobs]
    for start in range(0, len(by_pid), chunk):
        rows = by_pid[start : start + chunk]
        product = scores(rows)
        ranked = on_few_cores(functools.partial(_rank_one, product, rows), jobs, where_of)
        for blocks, block in zip(found, ranked, strict=True):
            blocks += block
        del product  # before the next one is made
    return [_collect(blocks, len(job.rows), len(job.gallery.pids)) for blocks, job in zip(found, jobs, strict=True)]


def _rank_one(
    product: np.ndarray, rows: np.ndarray, job: _Job, where: np.ndarray
) -> list[tuple[np.ndarray, BlockRanks]]:
    """The ranks of a job's queries among ``rows`` and where these stand in the job; nothing if there are none."""
    positions = where[rows]
    inside = np.flatnonzero(positions >= 0)
    if not len(inside):
        return []
    positions = positions[inside]
    if job.columns is None:
        block = product
    elif len(inside) == len(rows):
        block = product.T[job.columns].T if product.flags.f_contiguous else np.take(product, job.columns, axis=1)
    else:
        block = product[np.ix_(inside, job.columns)]
    cams = None if job.query_cams is None else job.query_cams[positions]
    ranks = rank_block(block, job.query_pids[positions], cams, job.gallery, job.rule, job.identity_cmc)
    return [(positions, ranks)]


def _collect(blocks: list[tuple[np.ndarray, BlockRanks]], num_queries: int, num_gallery: int) -> RankingResult:
    index = np.concatenate([positions for positions, _ in blocks]) if blocks else np.zeros(0, dtype=np.int64)
    order = np.argsort(index, kind="stable")

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(ranks, name) for _, ranks in blocks])[order] if blocks else np.zeros(0)

    first = column("first_rank").astype(np.int64)
    ap, inp = (np.where(first > 0, 100.0 * column(name), np.nan) for name in ("ap", "inp"))
    return RankingResult(index[order], first, ap, inp, total_queries=num_queries, num_gallery=num_gallery)


def _positions(rows: np.ndarray, size: int) -> np.ndarray:
    """(size,) where each product row stands in ``rows``, -1 where it does not."""
    where = np.full(size, -1, dtype=np.int64)
    where[rows] = np.arange(len(rows))
    return where


def _share_products(
    selections: Sequence[Selection], num_rows: int
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Groups of selections for which one product over the union of their rows costs no more than their own products.

    A group's unions are kept as marks on the table's ``num_rows`` rows, which are faster to unite than lists of rows.
    """
    groups: list[tuple[list[int], np.ndarray, np.ndarray]] = []
    for number, chosen in enumerate(selections):
        own = len(chosen.query) * len(chosen.gallery)
        for i, (members, query, gallery) in enumerate(groups):
            query_union, gallery_union = _marked(query, chosen.query), _marked(gallery, chosen.gallery)
            if query_union.sum() * gallery_union.sum() <= query.sum() * gallery.sum() + own:
                groups[i] = ([*members, number], query_union, gallery_union)
                break
        else:
            nothing = np.zeros(num_rows, dtype=bool)
            groups.append(([number], _marked(nothing, chosen.query), _marked(nothing, chosen.gallery)))
    for members, query, gallery in groups:
        yield members, np.flatnonzero(query), np.flatnonzero(gallery)


def _marked(marks: np.ndarray, *row_lists: np.ndarray) -> np.ndarray:
    """``marks`` (N,) bool with the rows of the lists marked too, as a new array."""
    marks = marks.copy()
    for rows in row_lists:
        marks[rows] = True
    return marks


def _check_columns(
    query_pids: Sequence[int] | np.ndarray,
    gallery_pids: Sequence[int] | np.ndarray,
    query_cams: Sequence[int] | np.ndarray | None,
    gallery_cams: Sequence[int] | np.ndarray | None,
    rule: ExclusionRule,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """The columns as arrays, checked."""
    q_pids, g_pids = np.asarray(query_pids), np.asarray(gallery_pids)
    for name, pids in (("query", q_pids), ("gallery", g_pids)):
        if not len(pids):
            raise ValueError(f"the {name} set is empty: nothing can be ranked; check the protocol and the data root")
    for name, pids in (("query", q_pids), ("gallery", g_pids)):
        if pids.dtype.kind not in "iu" or pids.min() < 0:
            raise ValueError(
                f"{name} ids must be integers of 0 or more, found {pids.dtype}, smallest {pids.min()}: rows without an "
                "id cannot be scored"
            )
    cams: list[np.ndarray | None] = []
    for name, pids, given in (("query", q_pids, query_cams), ("gallery", g_pids, gallery_cams)):
        if given is None:
            if rule.needs_cameras:
                raise ValueError(f"the rule '{rule.describe()}' needs {name}_cams, found None")
            cams.append(None)
            continue
        column = np.asarray(given)
        if column.shape != pids.shape:
            raise ValueError(f"{name}_cams must have shape {pids.shape} like {name}_pids, found {column.shape}")
        if column.dtype.kind not in "iu":
            raise ValueError(f"{name} cameras must be integers, found {column.dtype}")
        cams.append(column)
    return q_pids, g_pids, cams[0], cams[1]


def _complete(results: list[RankingResult]) -> list[RankingResult]:
    for result in results:
        if not result.num_queries:
            raise ValueError(
                f"none of the {result.total_queries} queries has a match in the gallery of {result.num_gallery} rows "
                "that the rule lets it see: no measure exists; check ids and cameras of query and gallery"
            )
    return results
