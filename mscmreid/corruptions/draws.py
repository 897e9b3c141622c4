"""Random numbers that are the same on every machine: whole numbers from a hash, no logarithm on the way."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

UNIFORM = 1 << 16
"""How many values a uniform draw can have."""
NORMAL = 1 << 12
"""What stands for 1 in a normal draw."""


class Draws:
    """A stream of random whole numbers that its key alone determines (SHA-256, then Mersenne Twister).

    Args:
        key: texts and numbers, such as an image's path, a corruption's name, a severity.
        planes: channels that are drawn apart: 3, or 1 for an image whose channels are equal.
    """

    def __init__(self, *key: str | int, planes: int = 3) -> None:
        text = "\0".join(map(str, key)).encode("utf-8", "surrogateescape")
        self._random = np.random.RandomState(np.frombuffer(hashlib.sha256(text).digest(), dtype="<u4"))
        self.planes = planes

    def uniform(self, shape: Sequence[int]) -> np.ndarray:
        """int32 in 0 .. :data:`UNIFORM` - 1."""
        drawn = np.frombuffer(self._random.bytes(2 * int(np.prod(shape))), dtype="<u2")
        return drawn.astype(np.int32).reshape(shape)

    def normal(self, shape: Sequence[int]) -> np.ndarray:
        """int32, standard normal in units of 1 / :data:`NORMAL`, at most 4.3 standard deviations from 0."""
        return _normal_quantiles()[self.uniform(shape)]

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + int(self.uniform((1,))[0]) * (high - low + 1) // UNIFORM


@functools.cache
def _normal_quantiles() -> np.ndarray:
    normal = NormalDist()
    values = [round(NORMAL * normal.inv_cdf((i + 0.5) / UNIFORM)) for i in range(UNIFORM)]
    return np.array(values, dtype=np.int32)
