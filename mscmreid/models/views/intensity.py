"""What the pixels' values become: gray, brightness (both as Pillow computes them), and the network's numbers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from mscmreid.models.views.rowwise import (
    change_rows,
    check_prob,
    check_range,
    from_pixels,
    goes_by_row,
    happens,
    lane_values,
    lanes,
    passes,
    pixels,
    require_dtype,
    to_channels_last,
    uniform,
)
from mscmreid.registry import TRANSFORMS

LUMA = np.array([[19595, 38470, 7471, 0x8000]], dtype=np.float32) / 2**16
"""What Pillow adds up of R, G, B and 1: whole numbers below 2^24, over 2^16, which float32 adds in any order."""


def grayscale_batch(x: Tensor) -> Tensor:
    """:func:`grayscale` by arithmetic, the whole batch at once: (19595 R + 38470 G + 7471 B + 32768) >> 16."""
    r, g, b = x.to(torch.int32).split(1, dim=1)
    return ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16).to(torch.uint8).expand_as(x)


def grayscale_rows(x: Tensor) -> Tensor:
    """:func:`grayscale` image by image."""
    source = pixels(to_channels_last(x))
    out = np.empty_like(source)
    for image, gray in zip(source, out, strict=True):
        luma = cv2.transform(image.astype(np.float32), LUMA)
        cv2.cvtColor(luma.astype(np.uint8), cv2.COLOR_GRAY2RGB, dst=gray)
    return from_pixels(out)


def grayscale(x: Tensor) -> Tensor:
    """Images (N, 3, H, W) uint8 with three equal channels: to the bit those of Pillow's mode 'L' (ITU-R 601-2)."""
    return (grayscale_rows if goes_by_row(x) else grayscale_batch)(x)


def brightness_batch(x: Tensor, factor: Tensor) -> Tensor:
    """:func:`brightness` by arithmetic, the whole batch at once."""
    return (x * factor.view(-1, 1, 1, 1)).clamp_(0, 255).to(torch.uint8)


def brightness_rows(x: Tensor, factor: Tensor) -> Tensor:
    """:func:`brightness` by a table of the 256 values, image by image."""
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256)
    source = pixels(to_channels_last(x))
    out = np.empty_like(source)
    for image, table, changed in zip(source, brightness_batch(values, factor), out, strict=True):
        cv2.LUT(image, table.view(-1).numpy(), dst=changed)
    return from_pixels(out)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Images (N, 3, H, W) uint8 times ``factor`` (N,) float32, cut to whole numbers and clipped to 0..255.

    To the bit ``PIL.ImageEnhance.Brightness(image).enhance(factor)``.
    """
    return (brightness_rows if goes_by_row(x) else brightness_batch)(x, factor)


def normalize(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x * scale + shift of uint8 images (N, 3, H, W): float32, channels_last.

    ``scale`` and ``shift`` are per-channel values along the lanes, (1, W * 3).
    """
    x = to_channels_last(x)
    out = torch.empty_like(x, dtype=torch.float32)
    for source, target in passes(x, out):
        values = lanes(target.copy_(source))
        torch.addcmul(shift, values, scale, out=values)
    return out


@TRANSFORMS.register_module()
class RandomGrayscale:
    """Three equal gray channels, with probability ``prob``."""

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = check_prob(prob, "RandomGrayscale")

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``mask``: (n,) booleans."""
        return dict(mask=happens(generator, n, self.prob))

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The uint8 images (N, 3, H, W), those of ``mask`` gray."""
        require_dtype(x, torch.uint8, "RandomGrayscale")
        return change_rows(x, draws["mask"], grayscale)


@TRANSFORMS.register_module()
class RandomBrightness:
    """Every image times its own factor, uniform in ``factor`` = (low, high), clipped to 0..255."""

    makes_new = True

    def __init__(self, factor: tuple[float, float] = (0.5, 1.5)) -> None:
        self.factor = check_range(factor, "RandomBrightness: factor")

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``factor``: (n,) float32."""
        return dict(factor=uniform(generator, (n,), *self.factor).float())

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The uint8 images (N, 3, H, W), brighter or darker."""
        require_dtype(x, torch.uint8, "RandomBrightness")
        return brightness(x, draws["factor"])


@TRANSFORMS.register_module()
class Normalize:
    """To [0, 1], then minus ``mean``, over ``std`` (of RGB values in [0, 1]; the preprocessor fills them in)."""

    makes_new = True

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean and std must be three numbers each, std positive, found {mean} and {std}")
        self.mean, self.std = tuple(mean), tuple(std)
        self._lane_values: tuple[tuple[int, torch.device], Tensor] | None = None

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """Nothing is random here."""
        return {}

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """(x / 255 - mean) / std: float32 (N, 3, H, W), channels_last."""
        require_dtype(x, torch.uint8, "Normalize")
        return normalize(x, *self._scale_and_shift(x.shape[3], x.device))

    def _scale_and_shift(self, width: int, device: torch.device) -> Tensor:
        """1 / (255 std) and -mean / std along the lanes of images ``width`` wide, (2, 1, width * 3); kept."""
        if self._lane_values is None or self._lane_values[0] != (width, device):
            scale = [1 / (255 * s) for s in self.std]
            shift = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
            values = lane_values(torch.tensor([scale, shift]), width).to(device, non_blocking=True)
            self._lane_values = ((width, device), values)
        return self._lane_values[1]
