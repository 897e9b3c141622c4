"""Galleries that need no network: an encoder of files by their bytes, and rows that never were files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.intake import UnreadableImageError
from mscmreid.retrieval.columns import Columns, Labels, Texts
from mscmreid.retrieval.snapshot import Snapshot
from mscmreid.retrieval.storage import BLOCK, Manifest, Segment, SegmentEntry, checksum


class MadeUpEncoder:
    """A file's feature comes from its bytes: of the same length for the same person ('person 7, image 2' begins alike).

    Args:
        dim: width.
        seconds: that an image takes.
        name: part of the identity.
    """

    def __init__(self, dim: int = 16, seconds: float = 0.0, name: str = "made up") -> None:
        self.dim, self.seconds = dim, seconds
        self.identity: dict[str, Any] = dict(weights_sha256=name, feature="feat_bn")
        self.seen: list[str] = []

    def encode(self, images: Sequence[Any], modality: str) -> np.ndarray:
        """Unit rows; a file that says 'damaged' cannot be read."""
        rows = [self._feature(Path(image).read_bytes(), modality, str(image)) for image in images]
        self.seen += [str(image) for image in images]
        return np.array(rows, dtype=np.float32).reshape(-1, self.dim)

    def _feature(self, content: bytes, modality: str, path: str) -> np.ndarray:
        if content == b"damaged":
            raise UnreadableImageError(f"image {path!r} cannot be decoded")
        if self.seconds:
            time.sleep(self.seconds)
        person, image = (_draw(text, self.dim) for text in (content.split(b",")[0], content + modality.encode()))
        feature = person + 0.7 * image
        return feature / np.linalg.norm(feature)


def _draw(text: bytes, dim: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
    return np.random.default_rng(seed).normal(size=dim)


def snapshot_of(
    features: np.ndarray,
    num_segments: int = 1,
    paths: Sequence[str] | None = None,
    cameras: Sequence[str | None] | None = None,
    times: Sequence[float] | None = None,
    removed: Sequence[int] = (),
) -> Snapshot:
    """A version of a gallery that lies in memory only, its rows visible and infrared in turn."""
    num = len(features)
    columns = Columns(
        np.arange(num, dtype=np.int64),
        Texts.of(list(paths) if paths is not None else [f"/g/{i:06d}.jpg" for i in range(num)]),
        np.ones(num, dtype=np.int64),
        np.ones(num, dtype=np.int64),
        np.zeros((num, 32), dtype=np.uint8),
        (np.arange(num) % 2).astype(np.int8),
        Labels.of(list(cameras) if cameras is not None else [None] * num),
        Labels.of([None] * num),
        np.array(times if times is not None else np.full(num, np.nan), dtype=np.float64),
    )
    gone = np.isin(np.arange(num), removed)
    entries, segments = [], []
    for number, rows in enumerate(part for part in np.array_split(np.arange(num), num_segments) if len(part)):
        part = np.ascontiguousarray(features[rows])
        sums = np.array([checksum(part[i : i + BLOCK]) for i in range(0, len(part), BLOCK)], dtype=np.uint32)
        segments.append(Segment(str(number), columns.take(rows), part, sums, gone[rows]))
        entries.append(SegmentEntry(str(number), len(rows), "", num_removed=int(gone[rows].sum())))
    manifest = Manifest(1, {}, features.shape[1], str(features.dtype), num, tuple(entries))
    return Snapshot(manifest, segments)
