"""Blur of the lens and of motion; severities of Hendrycks and Dietterich (ICLR 2019)."""

from __future__ import annotations

import math

import numpy as np

from mscmreid.corruptions.draws import UNIFORM, Draws
from mscmreid.corruptions.pixels import blurred, enlarged, streaked, to_uint8
from mscmreid.registry import CORRUPTIONS


@CORRUPTIONS.register_module()
def defocus_blur(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """The mean over a disk."""
    radius = (3, 4, 6, 8, 10)[severity - 1]
    height, width = image.shape[:2]
    padded = np.pad(image, ((radius, radius), (radius + 1, radius), (0, 0)), mode="edge")
    sums = padded.cumsum(axis=1, dtype=np.int32)
    total, count = np.zeros(image.shape, dtype=np.int32), 0
    for dy in range(-radius, radius + 1):
        half = math.isqrt(radius * radius - dy * dy)
        rows = sums[radius + dy : radius + dy + height]
        left, right = radius - half, radius + half + 1
        total += rows[:, right : right + width] - rows[:, left : left + width]
        count += 2 * half + 1
    return total / count


@CORRUPTIONS.register_module()
def glass_blur(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Frosted glass: pixels change places with near ones, between two blurs.

    Each pixel takes a near one's value; published code swaps them one after another.
    """
    sigma, reach, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    shuffled = to_uint8(blurred(image, sigma))
    height, width = image.shape[:2]
    rows, columns = np.indices((height, width))
    for _ in range(rounds):
        dy, dx = draws.uniform((2, height, width)) * (2 * reach + 1) // UNIFORM - reach
        shuffled = shuffled[np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)]
    return blurred(shuffled, sigma)


@CORRUPTIONS.register_module()
def motion_blur(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Motion along a line that is at most 45 degrees off the horizontal."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return streaked(image, radius, sigma, draws.between(-45, 45))


@CORRUPTIONS.register_module()
def zoom_blur(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """The mean over enlargements, as of a camera that comes nearer."""
    stop, step = ((111, 1), (116, 1), (121, 2), (126, 2), (131, 3))[severity - 1]
    layers = [enlarged(image, hundredths) for hundredths in range(100, stop, step)]
    total = np.stack([image, *layers]).sum(axis=0, dtype=np.int32)
    return total / (len(layers) + 1)


@CORRUPTIONS.register_module()
def gaussian_blur(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """A Gaussian of 1 to 6 pixels."""
    return blurred(image, (1, 2, 3, 4, 6)[severity - 1])
