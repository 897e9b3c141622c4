"""Noise of the sensor; severities of Hendrycks and Dietterich (ICLR 2019)."""

from __future__ import annotations

import functools
import math

import numpy as np

from mscmreid.corruptions.draws import NORMAL, UNIFORM, Draws
from mscmreid.registry import CORRUPTIONS

QUANTILES = 4096


@CORRUPTIONS.register_module()
def gaussian_noise(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Normal noise."""
    deviation = 255 * (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    return image + deviation * _normal(image, draws)


@CORRUPTIONS.register_module()
def shot_noise(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Poisson noise of few photons."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    drawn = draws.uniform((*image.shape[:2], draws.planes)) // (UNIFORM // QUANTILES)
    return _counts(photons)[image, drawn] * (255 / photons)


@CORRUPTIONS.register_module()
def impulse_noise(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Salt and pepper: values at 0 or 255."""
    limit = round(UNIFORM * (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1])
    drawn = draws.uniform((*image.shape[:2], draws.planes))
    return np.where(drawn < limit, np.where(drawn < limit // 2, 255, 0), image)


@CORRUPTIONS.register_module()
def speckle_noise(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Normal noise in proportion to the brightness."""
    return image + image * (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1] * _normal(image, draws)


def _normal(image: np.ndarray, draws: Draws) -> np.ndarray:
    return draws.normal((*image.shape[:2], draws.planes)) / NORMAL


@functools.cache
def _counts(photons: int) -> np.ndarray:
    """(256, QUANTILES) float64: quantiles of the Poisson distribution of each brightness."""
    quantiles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    table = np.empty((256, QUANTILES), dtype=np.float64)
    for value in range(256):
        mean = photons * value / 255
        probability = total = math.exp(-mean)
        below = [total]
        while total < quantiles[-1]:
            probability *= mean / len(below)
            total += probability
            below.append(total)
        table[value] = np.searchsorted(below, quantiles)
    return table
