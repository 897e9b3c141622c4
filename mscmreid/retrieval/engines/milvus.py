"""Milvus collections (extra ``milvus``): an embedded file beside the gallery, or, by a URI, a server or a cluster.

The collection is derived from the gallery: before a search, rows that it lacks are inserted and rows that the gallery
no longer has are deleted. Which rows it has is noted in ``indexes/`` when a change is complete; where the note and the
collection disagree, the collection is made anew. Filters become Milvus expressions over the same columns.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.fileio import written_atomically
from mscmreid.modalities import MODALITIES
from mscmreid.progress import Progress, log
from mscmreid.retrieval.engines.base import best, filled, rounding_bound
from mscmreid.retrieval.engines.exact import ExactEngine
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.snapshot import Snapshot

KINDS = {"flat": "FLAT", "hnsw": "HNSW", "ivf": "IVF_FLAT"}
MOST = 16384
"""Hits of a query that Milvus gives at most."""
UNKNOWN_TIME = -1e18
BLOCK, QUERIES = 1000, 64


class MilvusEngine:
    """A Milvus collection of a gallery.

    Args:
        gallery: the gallery's folder; its path names the collection.
        kind: 'flat': every row, as the exact engine does; 'hnsw', 'ivf': approximate.
        uri: of a server, such as 'http://milvus:19530'; None: the file ``indexes/milvus.db`` in the gallery.
        token: of the server.
        num_probes, ef_search: how far 'ivf' and 'hnsw' look.

    Raises:
        ValueError: an unknown kind.
        ImportError: pymilvus is not installed.
    """

    def __init__(
        self,
        gallery: Path,
        kind: str = "flat",
        *,
        uri: str | None = None,
        token: str = "",
        num_probes: int = 32,
        ef_search: int = 256,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"a Milvus index is one of {', '.join(KINDS)}, found {kind!r}")
        self.kind, self.num_probes, self.ef_search = kind, num_probes, ef_search
        self.name, self.is_exact = f"milvus:{kind}", kind == "flat"
        digest = hashlib.sha256(f"{gallery.resolve()} {kind}".encode()).hexdigest()[:16]
        self.collection = f"mscmreid_{digest}"
        self.folder = gallery / "indexes"
        self.note = self.folder / f"milvus-{digest}.npy"
        self.folder.mkdir(exist_ok=True)
        self.client = _client(uri or str(self.folder / "milvus.db"), token)
        self.rows: np.ndarray | None = None

    def close(self) -> None:
        """Let go of the file or the server."""
        self.client.close()

    def find(self, snapshot: Snapshot, queries: np.ndarray, top: int, where: Filter) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Engine`."""
        self.update(snapshot)
        num_allowed = int(snapshot.mask(where).sum())
        wanted = min(num_allowed, MOST, top + 16 if self.is_exact else max(10 * top, 100))
        if not wanted:
            return filled([(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(queries), top)
        condition = expression(where, snapshot.manifest.next_row)
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(queries), QUERIES):
            part = queries[start : start + QUERIES]
            for query, (rows, scores) in zip(part, self._search(part, wanted, condition), strict=True):
                rows, complete = self._complete(query, top, rows, scores, num_allowed, condition)
                if complete:
                    places = snapshot.positions_of(rows)
                    found.append(best(snapshot, query, places[places >= 0], top))
                else:
                    places, values = (array[0] for array in ExactEngine().find(snapshot, query[None], top, where))
                    found.append((places[places >= 0], values[places >= 0]))
        return filled(found, top)

    def _complete(
        self, query: np.ndarray, top: int, rows: np.ndarray, scores: np.ndarray, num_allowed: int, condition: str
    ) -> tuple[np.ndarray, bool]:
        """Row numbers among which the list is for sure, and whether they are (always, of an approximate index).

        The engine's scores have a rounding error, so rows as near as the last of the list may be missing in what it
        gave: more are asked for until a gap shows that none is, or Milvus gives no more.
        """
        margin = 2 * rounding_bound(len(query), float(np.linalg.norm(query)))
        while self.is_exact and len(rows) < num_allowed and scores[-1] >= scores[min(top, len(scores)) - 1] - margin:
            if len(rows) >= MOST:
                return rows, False
            ((rows, scores),) = self._search(query[None], min(num_allowed, MOST, 4 * len(rows)), condition)
        return rows, True

    def _search(self, queries: np.ndarray, num: int, condition: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and scores, nearest first, of each query."""
        parameters = dict(flat={}, ivf=dict(nprobe=self.num_probes), hnsw=dict(ef=max(self.ef_search, num)))[self.kind]
        answers = self.client.search(
            self.collection,
            data=queries.tolist(),
            limit=num,
            filter=condition,
            output_fields=["row"],
            search_params=dict(metric_type="IP", params=parameters),
            consistency_level="Strong",
        )
        return [
            (
                np.array([hit["row"] for hit in hits], dtype=np.int64),
                np.array([hit["distance"] for hit in hits], dtype=np.float32),
            )
            for hits in answers
        ]

    # ------------------------------------------------------------------------------------------------ the collection

    def update(self, snapshot: Snapshot) -> None:
        """Bring the collection to a version of the gallery. Rows of a later version stay there, out of sight."""
        if self.rows is None:
            self.rows = self._noted()
            if self.rows is None:
                self._make(snapshot.dim)
                self.rows = np.zeros(0, dtype=np.int64)
        alive = np.flatnonzero(snapshot.alive)
        numbers = snapshot.columns.row[alive]
        missing = alive[~np.isin(numbers, self.rows)]
        gone = self.rows[(self.rows < snapshot.manifest.next_row) & ~np.isin(self.rows, numbers)]
        if not len(missing) and not len(gone):
            return
        self.note.unlink(missing_ok=True)  # half a change is none
        for start in range(0, len(gone), BLOCK):
            self.client.delete(self.collection, ids=gone[start : start + BLOCK].tolist())
        progress = Progress(f"index {self.name}", max(1, len(missing)))
        for start in range(0, len(missing), BLOCK):
            part = missing[start : start + BLOCK]
            self.client.insert(self.collection, list(_entities(snapshot, part)))
            progress.advance(len(part))
        self.rows = np.concatenate([self.rows[~np.isin(self.rows, gone)], snapshot.columns.row[missing]])
        with written_atomically(self.note) as temporary, temporary.open("wb") as file:
            np.save(file, self.rows, allow_pickle=False)

    def _noted(self) -> np.ndarray | None:
        """Row numbers in the collection; None if it must be made anew."""
        if not self.client.has_collection(self.collection):
            return None
        try:
            rows = np.load(self.note, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            rows = None
        if rows is not None:
            self.client.load_collection(self.collection)
            (counted,) = self.client.query(self.collection, output_fields=["count(*)"], consistency_level="Strong")
            if counted["count(*)"] == len(rows):
                return rows
        log(f"the collection {self.collection} of {self.name} is not complete: it is made again", logging.WARNING)
        return None

    def _make(self, dim: int) -> None:
        from pymilvus import DataType

        if self.client.has_collection(self.collection):
            self.client.drop_collection(self.collection)
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", DataType.INT64, is_primary=True)
        schema.add_field("feature", DataType.FLOAT_VECTOR, dim=dim)
        for name in ("camera", "person", "modality"):
            schema.add_field(name, DataType.VARCHAR, max_length=1024)
        schema.add_field("time", DataType.DOUBLE)
        index = self.client.prepare_index_params()
        parameters = dict(flat={}, ivf=dict(nlist=1024), hnsw=dict(M=32, efConstruction=100))[self.kind]
        index.add_index("feature", index_type=KINDS[self.kind], metric_type="IP", params=parameters)
        self.client.create_collection(self.collection, schema=schema, index_params=index)


def expression(where: Filter, next_row: int) -> str:
    """A filter in Milvus' words; see :meth:`Filter.mask`."""
    terms = [f"row < {next_row}"]

    def words(values: tuple[str, ...]) -> str:
        return json.dumps(values, ensure_ascii=False)

    if where.camera:
        terms.append(f"camera in {words(where.camera)}")
    if where.exclude_camera:
        terms.append(f"camera not in {words(where.exclude_camera)}")
    if where.since is not None:
        terms.append(f"time >= {float(where.since)!r}")  # type: ignore[arg-type]
    elif where.until is not None:
        terms.append(f"time > {UNKNOWN_TIME!r}")
    if where.until is not None:
        terms.append(f"time < {float(where.until)!r}")  # type: ignore[arg-type]
    if where.modality is not None:
        terms.append(f"modality == {json.dumps(where.modality)}")
    if where.id:
        terms.append(f"person in {words(where.id)}")
    if where.exclude_row:
        terms.append(f"row not in {list(where.exclude_row)}")
    return " and ".join(terms)


def _entities(snapshot: Snapshot, positions: np.ndarray) -> Iterator[dict[str, Any]]:
    columns = snapshot.columns
    for place, feature in zip(positions.tolist(), snapshot.features(positions).astype(np.float32), strict=True):
        time = float(columns.time[place])
        yield dict(
            row=int(columns.row[place]),
            feature=feature,
            camera=columns.camera[place] or "",
            person=columns.id[place] or "",
            modality=MODALITIES[columns.modality[place]],
            time=time if math.isfinite(time) else UNKNOWN_TIME,
        )


def _client(uri: str, token: str) -> Any:
    try:
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException
    except ImportError as error:
        raise ImportError("the engine milvus needs pymilvus: pip install mscmreid[milvus]", name="pymilvus") from error
    try:
        return MilvusClient(uri, token=token)
    except MilvusException as error:
        raise ConnectionError(f"no Milvus at {uri}: {error.message}") from error
