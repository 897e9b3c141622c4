"""A map over an image: the higher, the warmer and the less of the image shows through."""

from __future__ import annotations

import numpy as np
from PIL import Image

RAMP = np.array(
    [(0.10, 0.05, 0.35), (0.42, 0.09, 0.50), (0.80, 0.22, 0.36), (0.97, 0.52, 0.15), (0.99, 0.92, 0.45)]
)  # dark violet, purple, red, orange, yellow: brightness rises all along
STRONGEST = 0.78


def overlay(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """An RGB image, in gray, with a map over it.

    Args:
        image: any size.
        heat: (h, w), 0 to 1; it is spread over the image, bilinear between the middles of its cells.
    """
    spread = Image.fromarray(np.asarray(heat, dtype=np.float32)).resize(image.size, Image.Resampling.BILINEAR)
    value = np.clip(np.asarray(spread), 0, 1)[..., None]
    gray = np.asarray(image.convert("L").convert("RGB"), dtype=np.float64) / 255
    opacity = STRONGEST * value**0.7
    return Image.fromarray(np.uint8(255 * ((1 - opacity) * (0.25 + 0.75 * gray) + opacity * warm(value[..., 0])) + 0.5))


def warm(value: np.ndarray) -> np.ndarray:
    """(H, W), 0 to 1 -> (H, W, 3), 0 to 1."""
    steps = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(value, steps, RAMP[:, channel]) for channel in range(3)], axis=-1)
