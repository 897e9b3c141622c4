"""The ranking core against plain per-query loops, as evaluation scripts in this field have them.

    python tools/benchmarks/ranking.py [--repeats 3] [--large ROWS] [--folder DIR]

Prints a Markdown table. Both sides get the same distance matrix, run in turn in one process, and must agree; times
are the best of the repeats. The plain side sorts the whole matrix at once and then takes one query after another
with cumulative sums of its own. ``--large`` also ranks a memory-mapped gallery of that many rows x 2048 (4 bytes a
value, written to DIR) within 2 GiB.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
class Case:
    """A ranking of a benchmark's size: ids, cameras and distances are made up."""

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
CASES = [
    Case("SYSU-MM01 single-shot", 3803, 96, (2, 4), 301, ((3, 6), (1, 2, 4, 5)), SYSU, True, 20),
    Case("SYSU-MM01 multi-shot", 3803, 96, (20, 40), 3010, ((3, 6), (1, 2, 4, 5)), SYSU, True, 15),
    Case("RegDB", 2060, 206, (10, 10), 2060, ((1,), (1,)), NOTHING_IGNORED, False, 20),
    Case("LLCM", 7166, 351, (1, 2), 484, (NEAR_INFRARED, VISIBLE), LLCM, True, 20),
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


def best_of(repeats: int, *sides: Callable[[], object]) -> list[float]:
    """Best wall time of each side in seconds, the sides in turn."""
    times = [float("inf")] * len(sides)
    for _ in range(repeats):
        for i, side in enumerate(sides):
            start = time.perf_counter()
            side()
            times[i] = min(times[i], time.perf_counter() - start)
    return times


def peak_memory(run: Callable[[], object]) -> int:
    """Most bytes allocated by ``run`` beyond what was there before."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def compare(case: Case, repeats: int) -> str:
    """One Markdown row: times, ratio, goal, peak memory."""
    inputs = case.make()
    options = dict(rule=case.rule, identity_cmc=case.identity_cmc)
    result = rank_distances(*inputs, **options)
    expected = rank_by_loops(*inputs, case.rule, case.identity_cmc)
    np.testing.assert_allclose((result.rank(1), result.mAP, result.mINP), expected, atol=1e-3)
    bound = 64 << 20
    fast, slow, fair = best_of(
        repeats,
        lambda: rank_distances(*inputs, **options),
        lambda: rank_by_loops(*inputs, case.rule, case.identity_cmc),
        lambda: rank_by_loops(*inputs, case.rule, case.identity_cmc, python_numbers=True),
    )
    peak = peak_memory(lambda: rank_distances(*inputs, **options, memory_bytes=bound))
    cells = [
        case.name,
        f"{case.num_queries} x {case.num_gallery}",
        f"{fast * 1e3:.0f} ms",
        f"{slow * 1e3:.0f} ms",
        f"{slow / fast:.0f}",
        f"{case.goal:.0f}",
        f"{fair * 1e3:.0f} ms",
        f"{fair / fast:.0f}",
        f"{peak / 2**20:.0f} of {bound >> 20} MiB",
    ]
    return f"| {' | '.join(cells)} |"


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


def full_test(repeats: int) -> str:
    """Seconds from features to the results of SYSU-MM01's whole published test."""
    table = sysu_table()
    protocols = [SYSUProtocol("all"), SYSUProtocol("indoor")]
    (seconds,) = best_of(repeats, lambda: evaluate(table, protocols))
    return f"SYSU-MM01's full test (2 modes x 10 trials x 2 features of 2048): {seconds:.2f} s (goal: under 2 s)"


def large_gallery(num_rows: int, folder: str | None, num_queries: int = 100, dim: int = 2048) -> str:
    """Time and memory of ranking a memory-mapped gallery."""
    rs = np.random.RandomState(0)
    block = rs.normal(size=(10_000, dim)).astype(np.float32)
    block /= np.linalg.norm(block, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        gallery = np.lib.format.open_memmap(
            Path(name, "gallery.npy"), mode="w+", dtype=np.float32, shape=(num_rows, dim)
        )
        for start in range(0, num_rows, len(block)):
            part = gallery[start : start + len(block)]
            part[:] = np.roll(block, start // len(block), axis=1)[: len(part)]
        gallery.flush()
        gallery = np.load(Path(name, "gallery.npy"), mmap_mode="r")
        pids, cams = rs.randint(0, num_rows // 20, num_rows), rs.randint(1, 7, num_rows)
        query = block[:num_queries]
        sides = pids[:num_queries], pids, cams[:num_queries], cams
        bound = 2 << 30
        start_time = time.perf_counter()
        peak = peak_memory(
            lambda: rank_features(query, gallery, *sides, rule=LLCM, identity_cmc=True, memory_bytes=bound)
        )
        seconds = time.perf_counter() - start_time
    return (
        f"{num_queries} queries against {num_rows:,} x {dim} memory-mapped rows: {seconds:.1f} s, "
        f"{peak / 2**20:.0f} MiB beyond the features (bound 2048 MiB)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", type=int, metavar="ROWS", help="also a gallery of this many rows, e.g. 1000000")
    parser.add_argument("--folder", help="where the large gallery is written (8 GB for 1,000,000 rows)")
    args = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python "
        f"{platform.python_version()}, numpy {np.__version__}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}\n"
    )
    print("| case | size | here | per-query loops | ratio | goal | loops on Python numbers | ratio | peak memory |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        print(compare(case, args.repeats), flush=True)
    print("\n" + full_test(args.repeats), flush=True)
    if args.large:
        print("\n" + large_gallery(args.large, args.folder))


if __name__ == "__main__":
    main()
