"""Faiss indexes (extra ``faiss``): for millions of rows, most of which an approximate index never looks at.

An index is derived from the gallery: it lies in ``indexes/`` beside it, is brought up to the gallery's version before a
search (new rows are added, removed ones passed over), and is made anew when it is missing, damaged, or too much of it
is out of date.
"""

from __future__ import annotations

import json
import logging
import math
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.fileio import sha256_of, write_text
from mscmreid.progress import Progress, log
from mscmreid.retrieval.engines.base import best, filled, rounding_bound
from mscmreid.retrieval.engines.exact import ExactEngine
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.snapshot import Snapshot

KINDS = ("flat", "ivfpq", "hnsw")
BLOCK = 16384
FEW = 10_000
TRAINING_ROWS_A_LIST = 64
FEWEST_PROBES, PROBED_SHARE = 32, 1 / 8
TOO_FEW_TO_TRAIN = dict(flat=0, ivfpq=39 * 256, hnsw=256)
"""Below so many rows an index is flat."""


class FaissEngine:
    """A faiss index of a gallery.

    Args:
        folder: where the index is kept; None: in memory only.
        kind: 'flat': every row, as the exact engine does; 'ivfpq': about sqrt(N) lists of 64-byte codes, the smallest;
            'hnsw': a graph over rows of 8 bits a value, faster and four times smaller than the rows.
        num_probes: lists of 'ivfpq' that a query looks into; None: an eighth of them, 32 at least, since the list of a
            query's person is the harder to guess the more there are.
        ef_search: neighbours that 'hnsw' keeps while it walks.
        few: a filter that leaves at most so many rows is answered exactly, which is cheaper than the index.

    Raises:
        ValueError: an unknown kind.
        ImportError: faiss is not installed.
    """

    def __init__(
        self,
        folder: Path | None,
        kind: str = "ivfpq",
        *,
        num_probes: int | None = None,
        ef_search: int = 256,
        few: int = FEW,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"a faiss index is one of {', '.join(KINDS)}, found {kind!r}")
        self.faiss = _faiss()
        self.folder, self.kind, self.num_probes, self.ef_search, self.few = folder, kind, num_probes, ef_search, few
        self.name, self.is_exact = f"faiss:{kind}", kind == "flat"
        self.index: Any = None
        self.rows = np.zeros(0, dtype=np.int64)
        """Row number of each entry of the index."""
        self.trained_on = 0
        self.updated_to: Snapshot | None = None

    def find(self, snapshot: Snapshot, queries: np.ndarray, top: int, where: Filter) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Engine`."""
        mask = snapshot.mask(where)
        num_allowed = int(mask.sum())
        if not self.is_exact and num_allowed <= self.few:
            return ExactEngine().find(snapshot, queries, top, where)
        self.update(snapshot)
        places = snapshot.positions_of(self.rows)
        allowed = np.zeros(len(self.rows), dtype=bool)
        allowed[places >= 0] = mask[places[places >= 0]]
        wanted = min(num_allowed, top + 16 if self.is_exact else max(10 * top, 100))
        if not wanted:
            return filled([(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(queries), top)
        found: list[Any] = [None] * len(queries)
        open_ones = np.arange(len(queries))
        while len(open_ones):
            scores, entries = self._search(queries[open_ones], wanted, allowed)
            undecided = []
            for query, row_scores, row_entries in zip(open_ones.tolist(), scores, entries, strict=True):
                there = row_entries >= 0
                margin = 2 * rounding_bound(snapshot.dim, float(np.linalg.norm(queries[query])))
                nth = row_scores[min(top, wanted) - 1]
                if self.is_exact and wanted < num_allowed and row_scores[-1] >= nth - margin:
                    undecided.append(query)  # one that was not given could belong to the list
                    continue
                found[query] = best(snapshot, queries[query], places[row_entries[there]], top)
            open_ones, wanted = np.array(undecided, dtype=np.int64), min(num_allowed, 4 * wanted)
        return filled(found, top)

    def _search(self, queries: np.ndarray, num: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        faiss = self.faiss
        bits = np.packbits(allowed, bitorder="little")
        selector = None if allowed.all() else faiss.IDSelectorBitmap(bits)
        options: dict[str, Any] = dict(sel=selector) if selector is not None else {}
        if isinstance(self.index, faiss.IndexIVF):
            probes = self.num_probes or max(FEWEST_PROBES, round(PROBED_SHARE * self.index.nlist))
            parameters = faiss.SearchParametersIVF(nprobe=min(probes, self.index.nlist), **options)
        elif isinstance(self.index, faiss.IndexHNSW):
            parameters = faiss.SearchParametersHNSW(efSearch=max(self.ef_search, num), **options)
        else:
            parameters = faiss.SearchParameters(**options)
        return self.index.search(np.ascontiguousarray(queries, dtype=np.float32), num, params=parameters)

    # ---------------------------------------------------------------------------------------------------- the index

    def update(self, snapshot: Snapshot) -> None:
        """Bring the index to a version of the gallery."""
        if self.updated_to is snapshot:
            return
        if self.index is None:
            self._load(snapshot.dim)
        alive = np.flatnonzero(snapshot.alive)
        missing = alive[~np.isin(snapshot.columns.row[alive], self.rows)]
        num_old = len(self.rows) - (len(alive) - len(missing))
        grown = self.index is not None and self.index.ntotal > 0 and len(alive) > 4 * self.trained_on
        if self.index is None or num_old > 0.3 * max(1, len(self.rows)) or (grown and not self.is_exact):
            self.index, self.rows, missing = self._new(snapshot, alive), np.zeros(0, dtype=np.int64), alive
            self.trained_on = max(1, len(alive))
        self.updated_to = snapshot
        if not len(missing):
            return
        progress = Progress(f"index {self.name}", len(missing))
        for start in range(0, len(missing), BLOCK):
            part = missing[start : start + BLOCK]
            self.index.add(snapshot.features(part).astype(np.float32, copy=False))
            progress.advance(len(part))
        self.rows = np.concatenate([self.rows, snapshot.columns.row[missing]])
        self._save()

    def _new(self, snapshot: Snapshot, alive: np.ndarray) -> Any:
        faiss, dim = self.faiss, snapshot.dim
        if self.kind == "flat" or len(alive) < TOO_FEW_TO_TRAIN[self.kind]:
            return faiss.IndexFlatIP(dim)
        if self.kind == "hnsw":
            index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, 32, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = 100
            sample = min(len(alive), 16384)
        else:
            num_lists = max(1, min(int(math.sqrt(len(alive))), len(alive) // 39))
            codes = max(m for m in range(1, min(64, dim) + 1) if dim % m == 0)
            quantizer = faiss.IndexFlatIP(dim)
            index = faiss.IndexIVFPQ(quantizer, dim, num_lists, codes, 8, faiss.METRIC_INNER_PRODUCT)
            index.cp.niter = index.pq.cp.niter = 10
            sample = min(len(alive), max(16384, TRAINING_ROWS_A_LIST * num_lists))
        chosen = np.sort(np.random.default_rng(0).choice(alive, sample, replace=False))
        index.train(snapshot.features(chosen).astype(np.float32, copy=False))
        return index

    # ---------------------------------------------------------------------------------------------------- its files

    def _load(self, dim: int) -> None:
        """The index as it was saved, if it is whole."""
        if self.folder is None or not (self.folder / f"faiss-{self.kind}.json").is_file():
            return
        try:
            content = json.loads((self.folder / f"faiss-{self.kind}.json").read_text())
            files = {name: self.folder / Path(content[name]).name for name in ("index", "rows")}
            for name, path in files.items():
                if sha256_of(path) != content[f"{name}_sha256"]:
                    raise ValueError(f"{path.name} is not what was written")
            index = self.faiss.read_index(str(files["index"]))
            rows = np.load(files["rows"], allow_pickle=False)
            if index.d != dim or index.ntotal != len(rows):
                raise ValueError(f"{index.ntotal} entries of width {index.d} for {len(rows)} rows of {dim}")
            self.index, self.rows, self.trained_on = index, rows, int(content["trained_on"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            log(f"the index {self.name} is made again: {error}", logging.WARNING)

    def _save(self) -> None:
        if self.folder is None:
            return
        try:
            self.folder.mkdir(exist_ok=True)
            stem = f"faiss-{self.kind}-{uuid.uuid4().hex[:8]}"
            index, rows = self.folder / f"{stem}.index", self.folder / f"{stem}.rows.npy"
            self.faiss.write_index(self.index, str(index))
            np.save(rows, self.rows, allow_pickle=False)
            content = dict(
                index=index.name,
                rows=rows.name,
                index_sha256=sha256_of(index),
                rows_sha256=sha256_of(rows),
                trained_on=self.trained_on,
            )
            write_text(json.dumps(content), self.folder / f"faiss-{self.kind}.json")
            for old in self.folder.glob(f"faiss-{self.kind}-*"):
                if not old.name.startswith(stem):
                    old.unlink(missing_ok=True)
        except OSError as error:
            log(f"the index {self.name} cannot be kept in {self.folder}: {error}", logging.WARNING)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError("the engine faiss needs faiss: pip install mscmreid[faiss]", name="faiss") from error
    return faiss
