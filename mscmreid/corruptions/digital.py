"""What processing does to images; severities of Hendrycks and Dietterich (ICLR 2019)."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from mscmreid.corruptions.draws import Draws
from mscmreid.corruptions.pixels import gaussian
from mscmreid.registry import CORRUPTIONS


@CORRUPTIONS.register_module()
def contrast(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Nearer to the channel's mean."""
    mean = image.sum(axis=(0, 1), dtype=np.int64) / (image.shape[0] * image.shape[1])
    return (image - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] + mean


@CORRUPTIONS.register_module()
def elastic_transform(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Every place moved a little, near places alike (within a hundredth of a side: on small images, hardly any)."""
    strength = (12.5, 16.25, 21.25, 25, 30)[severity - 1]
    height, width = image.shape[:2]
    sigma = (max(0.5, 0.01 * height), max(0.5, 0.01 * width))
    fields = [gaussian(draws.uniform((height, width)) - 32768, sigma, truncate=3.0) for _ in range(2)]
    dy, dx = (np.rint(field * (0.005 * height * strength * 256 / 32768)).astype(np.int64) for field in fields)
    rows, columns = np.indices((height, width))
    y, x = np.clip(rows * 256 + dy, 0, 256 * (height - 1)), np.clip(columns * 256 + dx, 0, 256 * (width - 1))
    top, left = y // 256, x // 256
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y % 256)[..., None], (x % 256)[..., None]
    upper = image[top, left] * (256 - across) + image[top, right] * across
    lower = image[bottom, left] * (256 - across) + image[bottom, right] * across
    return (upper * (256 - down) + lower * down) / 65536


@CORRUPTIONS.register_module()
def pixelate(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """A smaller image, enlarged without interpolation."""
    hundredths = (60, 50, 40, 30, 25)[severity - 1]
    height, width = image.shape[:2]
    small = (max(1, width * hundredths // 100), max(1, height * hundredths // 100))
    picture = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST))


@CORRUPTIONS.register_module()
def jpeg_compression(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """JPEG of low quality."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


@CORRUPTIONS.register_module()
def saturate(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Less, then more saturation (HSV); an image without colour has none to change."""
    factor, offset = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))[severity - 1]
    value = image.max(axis=2, keepdims=True).astype(np.float64)
    range_ = np.maximum(value - image.min(axis=2, keepdims=True), 1)
    stretch = np.minimum(value / range_, factor + offset * value / range_)  # new saturation / old
    return value - (value - image) * stretch
