"""Exact arithmetic on pixels, which the corruptions share.

Weights are whole numbers, so that sums are exact in any order; floating point is used element by element only, where
IEEE 754 says the result to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

WEIGHT = 1 << 14
"""What the weights of a kernel add up to."""
FRACTION = 1 << 6
"""What stands for 1 in values between two passes of a filter."""


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Rounded and clipped to 0 .. 255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def whole_weights(weights: Sequence[float], rest: int) -> list[int]:
    """The weights as whole numbers with the sum :data:`WEIGHT`; position ``rest`` takes what rounding leaves."""
    total = sum(weights)
    whole = [round(WEIGHT * weight / total) for weight in weights]
    whole[rest] += WEIGHT - sum(whole)
    return whole


def gaussian_weights(sigma: float, truncate: float = 4.0) -> list[int]:
    """A Gaussian kernel of ``sigma`` pixels, cut off at ``truncate`` of them."""
    radius = int(truncate * sigma + 0.5)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    return whole_weights(weights, radius)


def smooth(values: np.ndarray, weights: Sequence[int], axis: int) -> np.ndarray:
    """``values`` (int32, below 2^16) with a kernel along an axis; the border's pixels go on outside."""
    radius = len(weights) // 2
    margins = [(0, 0)] * values.ndim
    margins[axis] = (radius, radius)
    padded = np.pad(values, margins, mode="edge")
    total = np.full(values.shape, WEIGHT // 2, dtype=np.int32)
    for start, weight in enumerate(weights):
        inside = [slice(None)] * values.ndim
        inside[axis] = slice(start, start + values.shape[axis])
        total += weight * padded[tuple(inside)]
    return total // WEIGHT


def gaussian(values: np.ndarray, sigma: float | tuple[float, float], truncate: float = 4.0) -> np.ndarray:
    """Whole numbers (H, W, ...) blurred; ``sigma`` in pixels, or (vertical, horizontal)."""
    for axis, s in enumerate(sigma if isinstance(sigma, tuple) else (sigma, sigma)):
        values = smooth(values, gaussian_weights(s, truncate), axis)
    return values


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """A uint8 image after :func:`gaussian`, as float64 in 0 .. 255."""
    return gaussian(image.astype(np.int32) * FRACTION, sigma) / FRACTION


def streaked(values: np.ndarray, radius: int, sigma: float, angle: int) -> np.ndarray:
    """Moved along a line, with the weights of half a Gaussian.

    Args:
        values: (H, W, ...) whole numbers of 0 .. 255.
        radius: the line has 2 x radius + 1 pixels.
        sigma: of the weights, in pixels.
        angle: of the line, in degrees.

    Returns:
        float64, shape of ``values``.
    """
    width = 2 * radius + 1
    weights = whole_weights([math.exp(-0.5 * (step / sigma) ** 2) for step in range(width)], 0)
    padded = np.pad(values.astype(np.int32), [(width, width)] * 2 + [(0, 0)] * (values.ndim - 2), mode="edge")
    height, across = values.shape[:2]
    total = np.zeros(values.shape, dtype=np.int32)
    for step, weight in enumerate(weights):
        dy, dx = along(angle, step)
        total += weight * padded[width + dy : width + dy + height, width + dx : width + dx + across]
    return total / WEIGHT


def along(angle: int, length: int) -> tuple[int, int]:
    """(down, right): where a line of ``length`` pixels ends, ``angle`` in degrees from the right, counter-clockwise."""
    sine, cosine = (round(65536 * f(math.radians(angle))) for f in (math.sin, math.cos))
    return (-length * sine + 32768) // 65536, (length * cosine + 32768) // 65536


def enlarged(image: np.ndarray, hundredths: int) -> np.ndarray:
    """The middle of a uint8 image, enlarged to its whole size (bilinear)."""
    height, width = image.shape[:2]
    x, y = (side * (hundredths - 100) / (2 * hundredths) for side in (width, height))
    size = (width, height)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, (x, y, width - x, height - y)))


def plasma(height: int, width: int, decay: float, uniform: Callable[[Sequence[int]], np.ndarray]) -> np.ndarray:
    """(height, width) float64 in 0 .. 1, cloudy: the diamond-square algorithm on a torus.

    Args:
        decay: what the squared height of the steps falls by from one scale to the next half as large.
        uniform: as :meth:`Draws.uniform`.
    """
    side = 1 << (max(height, width, 2) - 1).bit_length()
    field = np.zeros((side, side), dtype=np.int64)
    step, level = side, 0
    while step >= 2:
        half, spread = step // 2, round((1 << 24) / decay ** (2 * level))
        corners = field[::step, ::step]
        field[half::step, half::step] = _mean4(corners, 1, 1) + _wobble(corners.shape, spread, uniform)
        middles = field[half::step, half::step]
        sides = middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1)
        field[::step, half::step] = sides // 4 + _wobble(corners.shape, spread, uniform)
        sides = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0)
        field[half::step, ::step] = sides // 4 + _wobble(corners.shape, spread, uniform)
        step, level = half, level + 1
    field = field[:height, :width] - field.min()
    return field / max(1, int(field.max()))


def _mean4(corners: np.ndarray, down: int, right: int) -> np.ndarray:
    below = np.roll(corners, -down, 0)
    return (corners + below + np.roll(corners, -right, 1) + np.roll(below, -right, 1)) // 4


def _wobble(shape: Sequence[int], spread: int, uniform: Callable[[Sequence[int]], np.ndarray]) -> np.ndarray:
    return (uniform(shape).astype(np.int64) - 32768) * spread // 32768
