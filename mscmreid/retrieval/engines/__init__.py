"""Engines: what finds the nearest rows of a gallery.

| name | needs | what |
|---|---|---|
| ``exact`` | nothing | every row, a block after another |
| ``faiss:flat`` | extra ``faiss`` | every row |
| ``faiss:ivfpq`` (``faiss``) | extra ``faiss`` | the smallest index, for millions of rows |
| ``faiss:hnsw`` | extra ``faiss`` | the fastest |
| ``milvus:flat`` (``milvus``), ``milvus:ivf``, ``milvus:hnsw`` | extra ``milvus`` | a file, or a server |
"""

from __future__ import annotations

from pathlib import Path

from mscmreid.retrieval.engines.base import Engine
from mscmreid.retrieval.engines.exact import ExactEngine

__all__ = ["ENGINES", "Engine", "ExactEngine", "make_engine"]

ENGINES = ("exact", "faiss:flat", "faiss:ivfpq", "faiss:hnsw", "milvus:flat", "milvus:ivf", "milvus:hnsw")
SHORT = {"faiss": "faiss:ivfpq", "milvus": "milvus:flat"}


def make_engine(name: str, gallery: Path, uri: str | None = None, token: str = "") -> Engine:
    """An engine by its name.

    Args:
        name: see the module's table.
        gallery: the gallery's folder, where indexes are kept.
        uri, token: of a Milvus server; None: a file in the gallery.

    Raises:
        ValueError: an unknown one.
        ImportError: its package is missing; the extra is named.
    """
    full = SHORT.get(name, name)
    if full not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join([*ENGINES, *SHORT])}, found {name!r}")
    package, _, kind = full.partition(":")
    if package == "faiss":
        from mscmreid.retrieval.engines.faiss import FaissEngine

        return FaissEngine(gallery / "indexes", kind)
    if package == "milvus":
        from mscmreid.retrieval.engines.milvus import MilvusEngine

        return MilvusEngine(gallery, kind, uri=uri, token=token)
    return ExactEngine()
