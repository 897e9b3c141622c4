"""Colours of clothes: what the upper and the lower body of a visible image look like, roughly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mscmreid.evaluation import FeatureTable
from mscmreid.evaluation.modality_gap import even_rows
from mscmreid.gate import path_below
from mscmreid.visualization.rankings import open_image

MOST_OF_A_PERSON = 6
UPPER, LOWER = (0.18, 0.48), (0.52, 0.85)
MIDDLE = (0.25, 0.75)
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def clothes_colours(
    table: FeatureTable, rows: np.ndarray, data_root: str | Path, most: int = MOST_OF_A_PERSON
) -> np.ndarray:
    """(N, 6) CIELAB colours of upper and lower body of visible images; NaN rows for all other images.

    A colour is the median over a box in the middle of the image: 18 to 48 % of its height for the upper body, 52 to
    85 % for the lower, 25 to 75 % of its width. That assumes a crop around a standing person, and knows nothing of
    patterns.

    Args:
        table: the images.
        rows: which of them may be looked at.
        data_root: folder of the images.
        most: of each person's visible images among ``rows`` so many are read, at even steps.
    """
    colours = np.full((len(table), 6), np.nan)
    visible = np.unique(rows)[table.modality[np.unique(rows)] == "visible"]
    for person in np.unique(table.pid[visible]):
        for row in even_rows(visible[table.pid[visible] == person], most):
            pixels = np.asarray(open_image(path_below(data_root, table.path[row])))
            colours[row] = np.r_[_colour(pixels, UPPER), _colour(pixels, LOWER)]
    return colours


def _colour(pixels: np.ndarray, part: tuple[float, float]) -> np.ndarray:
    height, width = pixels.shape[:2]
    top, bottom = (round(height * share) for share in part)
    left, right = (round(width * share) for share in MIDDLE)
    box = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    return to_lab(np.median(box.reshape(-1, 3), axis=0))


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (L, a, b; D65) of sRGB values 0..255, (..., 3).

    >>> to_lab(np.array([255, 255, 255])).round(1).tolist()
    [100.0, 0.0, 0.0]
    """
    value = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1) + 0.0
