"""The ranking core, and a whole published test."""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import Report, copy_rate, fastest, matmul_rate

from mscmreid.evaluation import (
    NOTHING_IGNORED,
    ExclusionRule,
    FeatureTable,
    SYSUProtocol,
    evaluate,
    rank_distances,
    rank_features,
)

SYSU = ExclusionRule(camera_pairs=((3, 2),))
LLCM = ExclusionRule(same_id_same_camera=True)


@dataclass(frozen=True)
class Size:
    """A ranking of a data set's size: ids, cameras and distances are made up."""

    name: str
    num_queries: int
    num_ids: int
    per_id: tuple[int, int]  # gallery rows of an id, from .. to, before cutting to num_gallery
    num_gallery: int
    cams: tuple[tuple[int, ...], tuple[int, ...]]  # of queries, of the gallery
    rule: ExclusionRule
    identity_cmc: bool
    goal: float

    def make(self) -> tuple[np.ndarray, ...]:
        """Distances (Q, G) float32, query and gallery ids, query and gallery cameras."""
        rs = np.random.RandomState(0)
        counts = rs.randint(self.per_id[0], self.per_id[1] + 1, self.num_ids)
        while counts.sum() != self.num_gallery:  # to the exact size, a row at a time
            step = np.sign(self.num_gallery - counts.sum())
            row = rs.randint(self.num_ids)
            counts[row] = max(1, counts[row] + step)
        gallery_pids = np.repeat(np.arange(self.num_ids), counts)
        query_pids = np.sort(rs.randint(0, self.num_ids, self.num_queries))
        cams = [
            np.array(c)[rs.randint(0, len(c), n)]
            for c, n in zip(self.cams, (self.num_queries, self.num_gallery), strict=True)
        ]
        distance = rs.rand(self.num_queries, self.num_gallery).astype(np.float32)
        distance -= 0.2 * (query_pids[:, None] == gallery_pids)
        return distance, query_pids, gallery_pids, *cams


VISIBLE, NEAR_INFRARED = (1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 4, 5, 6, 7, 8, 9)
SIZES = [
    Size("SYSU-MM01 single-shot", 3803, 96, (2, 4), 301, ((3, 6), (1, 2, 4, 5)), SYSU, True, 20),
    Size("SYSU-MM01 multi-shot", 3803, 96, (20, 40), 3010, ((3, 6), (1, 2, 4, 5)), SYSU, True, 15),
    Size("RegDB", 2060, 206, (10, 10), 2060, ((1,), (1,)), NOTHING_IGNORED, False, 20),
    Size("LLCM", 7166, 351, (1, 2), 484, (NEAR_INFRARED, VISIBLE), LLCM, True, 20),
]


def rank_by_loops(
    distance: np.ndarray,
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    query_cams: np.ndarray,
    gallery_cams: np.ndarray,
    rule: ExclusionRule,
    identity_cmc: bool,
    python_numbers: bool = False,
) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP in percent, a query at a time.

    The published loops divide numpy's scalars one by one, which is slow; ``python_numbers`` turns them into Python's
    first, the fairest form of the same loop.
    """
    order = np.argsort(distance, axis=1)
    all_matches = (gallery_pids[order] == query_pids[:, None]).astype(np.int32)
    curves, average_precisions, penalties = [], [], []
    for query in range(len(distance)):
        row = order[query]
        ignored = np.zeros(len(row), dtype=bool)
        if rule.same_id_same_camera:
            ignored = (gallery_pids[row] == query_pids[query]) & (gallery_cams[row] == query_cams[query])
        for query_cam, gallery_cam in rule.camera_pairs:
            ignored |= (query_cams[query] == query_cam) & (gallery_cams[row] == gallery_cam)
        kept = np.invert(ignored)
        matches = all_matches[query][kept]
        if not np.any(matches):
            continue
        if identity_cmc:
            pids = gallery_pids[row][kept]
            first_of_each = np.sort(np.unique(pids, return_index=True)[1])
            curve = (pids[first_of_each] == query_pids[query]).astype(np.int32).cumsum()
        else:
            curve = matches.cumsum()
        curves.append(min(int(curve[0]), 1))
        cumulated = matches.cumsum()
        last = np.max(np.where(matches == 1)[0])
        penalties.append(cumulated[last] / (last + 1.0))
        counts = cumulated.tolist() if python_numbers else cumulated
        precision = np.asarray([count / (rank + 1.0) for rank, count in enumerate(counts)])
        average_precisions.append((precision * matches).sum() / matches.sum())
    return tuple(100 * float(np.mean(values)) for values in (curves, average_precisions, penalties))  # type: ignore


def sysu_table(dim: int = 2048) -> FeatureTable:
    """Features of SYSU-MM01's test sizes: 3,803 queries, 301 (id, camera) folders with 6,775 visible images."""
    rs = np.random.RandomState(0)
    folders = [(cam, pid) for cam in (1, 2) for pid in range(56)] + [(cam, pid) for cam in (4, 5) for pid in range(96)]
    visible = np.array(folders[:301])[np.sort(np.r_[np.arange(301), rs.randint(0, 301, 6775 - 301)])]
    infrared = np.stack([np.r_[np.full(1883, 3), np.full(1920, 6)], rs.randint(0, 96, 3803)], axis=1)
    cam, pid = np.r_[visible, infrared].T
    features = {}
    for name in ("feat_bn", "feat_pool"):
        x = rs.normal(size=(len(pid), dim)).astype(np.float32)
        features[name] = x / np.linalg.norm(x, axis=1, keepdims=True)
    modality = np.where(np.isin(cam, (3, 6)), "infrared", "visible")
    paths = [f"cam{c}/{p:04d}/{i:05d}.jpg" for i, (c, p) in enumerate(zip(cam, pid, strict=True))]
    return FeatureTable(paths, pid, cam, modality, features, dict(dataset_name="SYSU-MM01", split="made up"))


def peak_memory(run: Callable[[], object]) -> int:
    """Most bytes allocated by ``run`` beyond what was there before."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def ranking(quick: bool, threads: int) -> Report:
    """The ranking core beside plain per-query loops, as evaluation scripts in this field have them, from the same
    distance matrix, in turn in one process; both must agree. The published loops divide numpy's scalars; "fair" is
    their fairest form, on Python's numbers. Then SYSU-MM01's whole published test (2 modes, 10 trials, 2 features of
    2048). Bounds: reading the distances once, and the features' matrix products."""
    report = Report()
    for size in SIZES:
        inputs = size.make()
        options = dict(rule=size.rule, identity_cmc=size.identity_cmc)
        plain = (*inputs, size.rule, size.identity_cmc)
        result = rank_distances(*inputs, **options)
        np.testing.assert_allclose((result.rank(1), result.mAP, result.mINP), rank_by_loops(*plain, True), atol=1e-3)
        (here,) = fastest([lambda: rank_distances(*inputs, **options)], 3, time.perf_counter)  # noqa: B023
        loops, fair = fastest(
            [lambda: rank_by_loops(*plain), lambda: rank_by_loops(*plain, True)],  # noqa: B023
            1 if quick else 2,
            time.perf_counter,
        )
        bound = 1e3 * inputs[0].nbytes / (copy_rate() / 2)
        name = f"{size.name}, {size.num_queries} x {size.num_gallery}"
        report.figure(name, 1e3 * here, "ms", 1e3 * loops, bound, "reading the distances")
        report.figure(f"{name}, fair", 1e3 * here, "ms", 1e3 * fair)
        report.at_least(f"ranking, {size.name}", size.goal, loops / here)
        peak = peak_memory(lambda: rank_distances(*inputs, **options, memory_bytes=64 << 20))  # noqa: B023
        report.at_most(f"ranking, {size.name}, memory", 64, peak / 2**20, "MiB")
    table = sysu_table()
    both = [SYSUProtocol("all"), SYSUProtocol("indoor")]
    whole, with_intervals = fastest(
        [lambda: evaluate(table, both), lambda: evaluate(table, both, with_intervals=True)],
        1 if quick else 3,
        time.perf_counter,
    )
    flops = 2 * 2 * 3803 * 3010 * 2048  # two features, every query with ten draws of a gallery
    report.figure("SYSU-MM01's whole test", whole, "s", bound=flops / matmul_rate(), bound_is="float32 matrix product")
    report.at_most("SYSU-MM01's whole test", 2, whole, "s")
    report.at_most("SYSU-MM01's whole test, intervals beyond it", 25, 100 * (with_intervals / whole - 1), "%")
    return report


def large_gallery(quick: bool, threads: int) -> Report:
    """100 queries against a memory-mapped gallery of 1,000,000 x 2048 float32 rows (8 GB in the temporary folder; with
    --quick 50,000 rows), within 2 GiB. Not part of the page unless asked for. Bound: the matrix product."""
    num_rows, num_queries, dim = 50_000 if quick else 1_000_000, 100, 2048
    rs = np.random.RandomState(0)
    block = rs.normal(size=(10_000, dim)).astype(np.float32)
    block /= np.linalg.norm(block, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as name:
        gallery = np.lib.format.open_memmap(
            Path(name, "gallery.npy"), mode="w+", dtype=np.float32, shape=(num_rows, dim)
        )
        for start in range(0, num_rows, len(block)):
            part = gallery[start : start + len(block)]
            part[:] = np.roll(block, start // len(block), axis=1)[: len(part)]
        gallery.flush()
        gallery = np.load(Path(name, "gallery.npy"), mmap_mode="r")
        pids, cams = rs.randint(0, num_rows // 20, num_rows), rs.randint(1, 7, num_rows)
        sides = pids[:num_queries], pids, cams[:num_queries], cams
        options = dict(rule=LLCM, identity_cmc=True, memory_bytes=2 << 30)
        begun = time.perf_counter()
        peak = peak_memory(lambda: rank_features(block[:num_queries], gallery, *sides, **options))
        taken = time.perf_counter() - begun
    report = Report()
    bound = 2 * num_queries * num_rows * dim / matmul_rate()
    report.figure(f"{num_queries} queries, {num_rows:,} x {dim}", taken, "s", None, bound, "float32 matrix product")
    report.at_most("memory beyond the features", 2048, peak / 2**20, "MiB")
    return report
