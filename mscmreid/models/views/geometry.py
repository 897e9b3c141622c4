"""Where the pixels go: random crop of a padded image, mirror image."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from mscmreid.models.views.rowwise import (
    check_prob,
    from_pixels,
    goes_by_row,
    happens,
    pixels,
    require_dtype,
    to_channels_last,
)
from mscmreid.registry import TRANSFORMS


def _overlap(offset: int, padding: int, length: int) -> tuple[slice, slice]:
    """Where, along one axis, a window at ``offset`` of the padded image shows the image: (window, image)."""
    shift = padding - offset
    shown = max(0, length - abs(shift))
    return slice(max(shift, 0), max(shift, 0) + shown), slice(max(-shift, 0), max(-shift, 0) + shown)


def pad_crop_rows(x: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """:func:`pad_crop` by slices, image by image."""
    source = pixels(to_channels_last(x))  # (N, H, W, 3)
    out = np.empty_like(source)
    for image, window, t, l in zip(source, out, top.tolist(), left.tolist(), strict=True):
        rows_out, rows_in = _overlap(t, padding, image.shape[0])
        cols_out, cols_in = _overlap(l, padding, image.shape[1])
        window.fill(0)
        window[rows_out, cols_out] = image[rows_in, cols_in]
    return from_pixels(out)


def pad_crop_batch(x: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """:func:`pad_crop` by index arithmetic, the whole batch at once."""
    n, _, height, width = x.shape
    row = torch.arange(height, device=x.device) + top.unsqueeze(1) - padding  # (N, H)
    col = torch.arange(width, device=x.device) + left.unsqueeze(1) - padding  # (N, W)
    inside = ((row >= 0) & (row < height)).unsqueeze(2) & ((col >= 0) & (col < width)).unsqueeze(1)  # (N, H, W)
    image = torch.arange(n, device=x.device).view(n, 1, 1)
    row, col = row.clamp(0, height - 1).unsqueeze(2), col.clamp(0, width - 1).unsqueeze(1)
    picked = x.permute(0, 2, 3, 1)[image, row, col]  # (N, H, W, 3)
    return (picked * inside.unsqueeze(3)).permute(0, 3, 1, 2)


def pad_crop(x: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Windows (N, 3, H, W) of the images padded with ``padding`` zeros on each side.

    Args:
        x: (N, 3, H, W).
        top, left: (N,) integers in 0..2 * padding: the windows' corners in the padded images.
        padding: pixels.
    """
    return (pad_crop_rows if goes_by_row(x) else pad_crop_batch)(x, top, left, padding)


def mirror_rows(x: Tensor, mask: Tensor) -> Tensor:
    """:func:`mirror` image by image."""
    x = to_channels_last(x)
    for image, mirrored in zip(pixels(x), mask.tolist(), strict=True):
        if mirrored:
            image[...] = cv2.flip(image, 1)
    return x


def mirror_batch(x: Tensor, mask: Tensor) -> Tensor:
    """:func:`mirror`, the whole batch at once."""
    return torch.where(mask.view(-1, 1, 1, 1), x.flip(3), x)


def mirror(x: Tensor, mask: Tensor) -> Tensor:
    """Images (N, 3, H, W), those that ``mask`` (N,) selects left to right; may write into ``x``."""
    return (mirror_rows if goes_by_row(x) else mirror_batch)(x, mask)


@TRANSFORMS.register_module()
class PadCrop:
    """``padding`` black pixels on each side, then a window of the image's own size anywhere in it, uniformly."""

    makes_new = True

    def __init__(self, padding: int = 10) -> None:
        if padding < 0:
            raise ValueError(f"PadCrop: padding must be at least 0 pixels, found {padding}")
        self.padding = padding

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``top`` and ``left``, each (n,) in 0..2 * padding."""
        top, left = torch.randint(0, 2 * self.padding + 1, (2, n), generator=generator)
        return dict(top=top, left=left)

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The windows of the uint8 images ``x`` (N, 3, H, W)."""
        require_dtype(x, torch.uint8, "PadCrop")  # zero is black only before normalising
        return pad_crop(x, draws["top"], draws["left"], self.padding)


@TRANSFORMS.register_module()
class HorizontalFlip:
    """The mirror image, with probability ``prob``."""

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = check_prob(prob, "HorizontalFlip")

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``mask``: (n,) booleans."""
        return dict(mask=happens(generator, n, self.prob))

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The images (N, 3, H, W), those of ``mask`` mirrored."""
        return mirror(x, draws["mask"])
