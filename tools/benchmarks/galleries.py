"""Engines of a gallery side by side: build, add, ask; seconds, memory, recall."""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Report, in_child, matmul_rate, number, process_seconds

from mscmreid.retrieval.columns import Columns, Labels, Texts
from mscmreid.retrieval.engines import make_engine
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.gallery import Gallery

DIM, SEGMENT, RANK = 2048, 4096, 128
TOP = 10


class MadeUp:
    """Features of people: each of a center in a space of 128 directions, images around it, and noise in all others.

    Trained features fill few of their dimensions; rows that fill all 2048 alike would be equally far from each other,
    and no index could find anything.
    """

    identity = dict(made_up="people")
    dim = DIM

    def __init__(self, num_people: int) -> None:
        rng = np.random.default_rng(0)
        self.basis = rng.normal(size=(RANK, DIM)).astype(np.float32) / DIM**0.5
        self.centers = rng.standard_normal((num_people, RANK), dtype=np.float32)
        self.noise = 0.1 * rng.standard_normal((SEGMENT, DIM), dtype=np.float32)

    def encode(self, images: Any, modality: str) -> np.ndarray:
        """There are no images."""
        raise NotImplementedError

    def rows(self, num: int, seed: int) -> np.ndarray:
        """(num, DIM) float32 unit rows of random people."""
        rng = np.random.default_rng(seed)
        people = rng.integers(0, len(self.centers), num)
        inside = self.centers[people] + 0.6 * rng.standard_normal((num, RANK), dtype=np.float32)
        features = inside @ self.basis + self.noise[rng.permutation(SEGMENT)[:num]]
        return features / np.linalg.norm(features, axis=1, keepdims=True)


def extend(gallery: Gallery, made_up: MadeUp, num: int) -> None:
    """``num`` more rows, as ``add`` would write them."""
    storage, manifest = gallery.storage, gallery.snapshot.manifest
    entries, first = [], manifest.next_row
    for start in range(0, num, SEGMENT):
        count = min(SEGMENT, num - start)
        row = np.arange(first + start, first + start + count, dtype=np.int64)
        columns = Columns(
            row,
            Texts.of([f"/gallery/cam{i % 6}/{i:09d}.jpg" for i in row.tolist()]),
            np.full(count, 5000, dtype=np.int64),
            row,
            np.zeros((count, 32), dtype=np.uint8),
            (row % 2).astype(np.int8),
            Labels.of([str(i % 6) for i in row.tolist()]),
            Labels.of([None] * count),
            row.astype(np.float64),
        )
        features = made_up.rows(count, seed=int(row[0]) + 1).astype(manifest.dtype)
        entries.append(storage.write_segment(f"{manifest.version + 1:08d}-{row[0]:08x}-{count}", columns, features))
    storage.write_manifest(
        replace(
            manifest,
            version=manifest.version + 1,
            next_row=first + num,
            segments=(*manifest.segments, *entries),
        )
    )
    gallery.refresh()


class Memory:
    """Most memory of its own (no mapped files) that this process has while the block runs, in MiB."""

    def __enter__(self) -> Memory:
        self.most, self.ended = 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.ended.wait(0.02):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    self.most = max(self.most, int(line.split()[1]) / 1024)

    def __exit__(self, *error: Any) -> None:
        self.ended.set()
        self.thread.join()


def ask(folder: str, engine: str, rows: int, added: int, queries: int) -> dict[str, Any]:
    """What one engine takes over a gallery of ``rows`` rows to which ``added`` come: run in a process of its own."""
    made_up = MadeUp(max(1, (rows + added) // 20))
    asked = made_up.rows(queries, seed=0)
    gallery = Gallery.open(folder)
    found: dict[str, Any] = dict(engine=engine)

    def timed(name: str, where: Filter, rows: int) -> np.ndarray:
        clocks = time.perf_counter(), process_seconds()
        positions, _ = finder.find(gallery.snapshot, asked[:rows], TOP, where)
        found[name] = time.perf_counter() - clocks[0], process_seconds() - clocks[1]
        return positions

    with Memory() as memory:
        finder = make_engine(engine, gallery.path)
        timed("build", Filter(), 1)  # an index is built before the first question
        if added:
            extend(gallery, made_up, added)
        timed("after_add", Filter(), 1)
        timed("one", Filter(), 1)
        positions = timed("all", Filter(), queries)
        timed("filtered", Filter(camera=["1", "4"], modality="infrared"), queries)
    indexes = Path(folder, "indexes")
    found["index_bytes"] = sum(f.stat().st_size for f in indexes.rglob("*") if f.is_file()) if indexes.exists() else 0
    return found | dict(memory=memory.most, rows=gallery.snapshot.columns.row[positions].tolist())


def both(clocks: tuple[float, float]) -> str:
    """Seconds on the wall, and of processor time."""
    return f"{number(clocks[0])} s ({number(clocks[1])} s)"


def compare(plan: list[tuple[str, str, int]], added: int, queries: int, threads: int) -> Report:
    """A table of (engine, dtype, rows) side by side; recall is that of the exact engine's lists of the same rows."""
    report = Report()
    table, exact = [], {}
    for engine, dtype, rows in plan:
        with tempfile.TemporaryDirectory() as folder:
            made_up = MadeUp(max(1, (rows + added) // 20))
            gallery = Gallery.create(Path(folder, "gallery"), made_up, dtype=dtype)
            start = time.perf_counter()
            extend(gallery, made_up, rows)
            written = time.perf_counter() - start
            arguments = dict(folder=str(gallery.path), engine=engine, rows=rows, added=added, queries=queries)
            found = in_child(ask, num_threads=threads, **arguments)
            size = sum(f.stat().st_size for f in (gallery.path / "segments").iterdir())
        exact.setdefault(rows, found["rows"])
        if engine == "exact":
            bound = 2 * queries * rows * DIM / matmul_rate()
            what = f"{queries} queries, {rows:,} {dtype} rows, processor"
            report.figure(what, found["all"][1], "s", None, bound, "float32 matrix product")
        hits = [len(set(a) & set(b)) for a, b in zip(exact[rows], found["rows"], strict=True)]
        table.append(
            [
                engine,
                dtype,
                f"{rows:,}",
                f"{number(size / 2**20)} MiB",
                f"{number(found['index_bytes'] / 2**20)} MiB" if found["index_bytes"] else "none",
                *(both(found[name]) if engine != "exact" else "none" for name in ("build", "after_add")),
                *(both(found[name]) for name in ("one", "all", "filtered")),
                f"{number(found['memory'])} MiB",
                f"{sum(hits) / (TOP * len(hits)):.3f}",
            ]
        )
        print("|", " | ".join(table[-1]), "|", f"(segments written in {written:.0f} s)", flush=True)
        if "flat" in engine:
            same = found["rows"] == exact[rows]
            report.goal(f"{engine}, {rows:,} rows", "the exact engine's lists", "the same" if same else "others", same)
    head = [
        "engine",
        "kept as",
        "rows",
        "features",
        "index",
        "build",
        f"add {added:,}",
        "1 query",
        f"{queries} queries",
    ]
    report.table([*head, "the same, filtered to a sixth", "memory", f"recall@{TOP}"], table)
    return report


SMALL = [
    ("exact", "float32"),
    ("exact", "float16"),
    ("faiss:flat", "float32"),
    ("faiss:ivfpq", "float32"),
    ("faiss:hnsw", "float32"),
    ("milvus:flat", "float32"),
]


def engines(quick: bool, threads: int) -> Report:
    """All engines over 50,000 rows of 2048 (with --quick 20,000), to which a tenth comes, and 100 queries, in batch and
    one alone, with and without a filter. The rows are made up: 20 a person, in 128 directions, with noise in all. An
    index is built by the first query; "memory" is the process's own, without the mapped features. Each engine has a
    process and a gallery of its own. Times are on the wall, and in brackets of the processor, which a busy machine
    hardly changes. Bound: the exact comparison's matrix product."""
    rows = 20_000 if quick else 50_000
    return compare([(engine, dtype, rows) for engine, dtype in SMALL], rows // 10, 100, threads)


def million(quick: bool, threads: int) -> Report:
    """The same over 1,000,000 rows (8.2 GB of float32 in the temporary folder; with --quick 200,000 rows), for the
    engines whose index of that many is built in minutes and fits beside others. Bound: as above."""
    rows = 200_000 if quick else 1_000_000
    plan = [("exact", "float32", rows), ("exact", "float16", rows), ("faiss:ivfpq", "float16", rows)]
    return compare(plan, 10_000, 100, threads)
