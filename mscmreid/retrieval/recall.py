"""How many of the nearest rows an approximate engine finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mscmreid.retrieval.engines import Engine, ExactEngine
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.gallery import Gallery

SAMPLE = 20


def recall(
    gallery: Gallery,
    engine: Engine,
    features: np.ndarray,
    top: int = 10,
    where: Filter | Mapping[str, Any] | None = None,
) -> float:
    """Share of the exact engine's ``top`` rows of each query that another engine finds, too; 1 where there are none."""
    condition = Filter.of(where)
    exact, found = (one.find(gallery.snapshot, features, top, condition)[0] for one in (ExactEngine(), engine))
    wanted = sum(int((row >= 0).sum()) for row in exact)
    there = sum(len(set(a[a >= 0].tolist()) & set(b.tolist())) for a, b in zip(exact, found, strict=True))
    return there / wanted if wanted else 1.0


def recall_on_sample(
    gallery: Gallery, engine: Engine, features: np.ndarray, where: Filter | Mapping[str, Any] | None = None
) -> str:
    """A sentence on the recall@10 over some of the queries, and rows of the gallery where these are few.

    Args:
        features: (Q, D) of the queries.
    """
    chosen = np.random.default_rng(0).permutation(len(features))[:SAMPLE]
    sample = features[np.sort(chosen)]
    alive = np.flatnonzero(gallery.snapshot.alive)
    if len(sample) < SAMPLE and len(alive):
        more = np.random.default_rng(0).choice(alive, min(len(alive), SAMPLE - len(sample)), replace=False)
        sample = np.concatenate([sample, gallery.snapshot.features(np.sort(more)).astype(np.float32)])
    share = recall(gallery, engine, sample, where=where)
    return (
        f"{engine.name} is approximate: recall@10 {share:.3f} against the exact lists, on a sample of {len(sample)} "
        f"({min(len(chosen), SAMPLE)} queries, the others images of the gallery)"
    )
