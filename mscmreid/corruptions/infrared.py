"""What infrared cameras suffer from. Nothing of this is published: formulas and severities are this project's."""

from __future__ import annotations

import numpy as np

from mscmreid.corruptions.draws import NORMAL, UNIFORM, Draws
from mscmreid.corruptions.pixels import blurred, plasma
from mscmreid.registry import CORRUPTIONS


@CORRUPTIONS.register_module()
def sensor_noise(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """The fixed pattern of an uncooled sensor (columns, rows) and noise that changes from frame to frame."""
    columns, rows, pixels = ((4, 2, 5), (8, 3, 9), (12, 5, 14), (18, 8, 20), (26, 11, 28))[severity - 1]
    height, width = image.shape[:2]
    noise = columns * draws.normal((1, width, 1)) + rows * draws.normal((height, 1, 1))
    return image + (noise + pixels * draws.normal((height, width, 1))) / NORMAL


@CORRUPTIONS.register_module()
def dead_pixels(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Pixels that are stuck, dark or bright; from severity 3, whole columns, too."""
    share, columns = ((0.005, 0), (0.01, 0), (0.02, 0.01), (0.04, 0.02), (0.08, 0.04))[severity - 1]
    height, width = image.shape[:2]
    stuck = draws.uniform((height, width, 1))
    dead = draws.uniform((1, width, 1)) < columns * UNIFORM
    limit = share * UNIFORM
    out = np.where(stuck < limit, np.where(stuck < limit / 2, 255, 0), image)
    return np.where(dead, 0, out)


@CORRUPTIONS.register_module()
def illuminator_glare(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """The camera's own light, thrown back: a bright spot in the upper half, and less contrast around it."""
    peak, veil = ((70, 10), (110, 18), (150, 26), (200, 34), (255, 42))[severity - 1]
    height, width = image.shape[:2]
    y, x = draws.between(0, height // 2), draws.between(0, width - 1)
    radius = max(height, width) * (14 + 4 * severity) / 100
    rows, columns = np.indices((height, width))
    squared = ((rows - y) ** 2 + (columns - x) ** 2) / (radius * radius)
    light = peak / (1 + squared) ** 2 + veil
    return image * (1 - veil / 255) + light[..., None]


@CORRUPTIONS.register_module()
def warm_air(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Warm surroundings: people hardly stand out, the air is uneven and blurs, and noise comes up."""
    contrast, sigma = ((0.6, 0.5), (0.45, 0.7), (0.3, 0.9), (0.2, 1.2), (0.12, 1.5))[severity - 1]
    height, width = image.shape[:2]
    mean = int(image.sum(dtype=np.int64)) / image.size
    level = 0.5 * mean + 80
    air = 24 * (plasma(height, width, 2.5, draws.uniform)[..., None] - 0.5)
    noise = (1 + severity) * draws.normal((height, width, 1)) / (2 * NORMAL)
    return (blurred(image, sigma) - mean) * contrast + level + air + noise
