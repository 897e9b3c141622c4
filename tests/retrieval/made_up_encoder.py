"""An encoder of files that needs no network, so that galleries are tested by themselves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.intake import UnreadableImageError


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
