"""Random erasing (Zhong et al., Random Erasing Data Augmentation, AAAI 2020), as the published systems use it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mscmreid.models.views.rowwise import (
    check_prob,
    check_range,
    goes_by_row,
    happens,
    lanes,
    require_dtype,
    to_channels_last,
    uniform,
)
from mscmreid.registry import TRANSFORMS


def draw_rectangles(
    generator: torch.Generator,
    n: int,
    size: tuple[int, int],
    area: tuple[float, float],
    aspect: tuple[float, float],
    rounds: int = 10,
    log_aspect: bool = False,
) -> dict[str, Tensor]:
    """One rectangle smaller than the image for each of ``n`` images.

    Height round(sqrt(a r)) and width round(sqrt(a / r)) with the area a uniform in ``area`` times the image's and r
    (or, with ``log_aspect``, its logarithm) uniform in ``aspect``, drawn again until both are less than the image's;
    the corner is uniform. Ten attempts are drawn at a time, of which the first that fits counts.

    Returns:
        ``top, left, height, width``: (n,) integers; height and width are 0 where ten times ``rounds`` attempts failed.
    """
    image_height, image_width = size
    height, width = np.zeros((2, n), dtype=np.int64)
    todo = np.arange(n)
    for _ in range(rounds):
        a = uniform(generator, (len(todo), 10), *area).numpy() * (image_height * image_width)
        if log_aspect:
            r = uniform(generator, (len(todo), 10), math.log(aspect[0]), math.log(aspect[1])).exp().numpy()
        else:
            r = uniform(generator, (len(todo), 10), *aspect).numpy()
        h, w = (np.sqrt(square).round().astype(np.int64) for square in (a * r, a / r))  # (todo, 10)
        fits = (h < image_height) & (w < image_width)
        first = np.arange(len(todo)), fits.argmax(axis=1)  # any where none fits: its sides are made 0
        height[todo], width[todo] = (h * fits)[first], (w * fits)[first]
        todo = todo[~fits.any(axis=1)]
        if not len(todo):
            break
    corner = uniform(generator, (2, n), 0, 1).numpy()
    top, left = corner[0] * (image_height - height + 1), corner[1] * (image_width - width + 1)
    drawn = dict(top=top.astype(np.int64), left=left.astype(np.int64), height=height, width=width)
    return {name: torch.from_numpy(values) for name, values in drawn.items()}


def erase_rows(x: Tensor, fill: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """:func:`erase` by slices, image by image."""
    x = to_channels_last(x)
    line = np.tile(fill.numpy(), x.shape[3])
    boxes = zip(top.tolist(), left.tolist(), height.tolist(), width.tolist(), strict=True)
    for image, (t, l, h, w) in zip(lanes(x).numpy(), boxes, strict=True):
        if h and w:
            image[t : t + h, 3 * l : 3 * (l + w)] = line[: 3 * w]
    return x


def erase_batch(x: Tensor, fill: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """:func:`erase` by a mask, the whole batch at once."""
    row = torch.arange(x.shape[2], device=x.device) - top.unsqueeze(1)  # (N, H)
    col = torch.arange(x.shape[3], device=x.device) - left.unsqueeze(1)  # (N, W)
    rows = (row >= 0) & (row < height.unsqueeze(1))
    cols = (col >= 0) & (col < width.unsqueeze(1))
    erased = rows.unsqueeze(2) & cols.unsqueeze(1)  # (N, H, W)
    return torch.where(erased.unsqueeze(1), fill.view(1, 3, 1, 1), x)


def erase(x: Tensor, fill: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Images (N, 3, H, W) with one rectangle each filled with ``fill`` (3,); may write into ``x``.

    ``top, left, height, width`` are (N,) integers; a height or width of 0 erases nothing.
    """
    return (erase_rows if goes_by_row(x) else erase_batch)(x, fill, top, left, height, width)


@TRANSFORMS.register_module()
class RandomErase:
    """A random rectangle filled with ``fill``, with probability ``prob``. Comes after ``Normalize``.

    Args:
        prob: of an image to be erased.
        area: range of the rectangle's share of the image.
        aspect: range of its height over its width.
        fill: its three channels, in normalised values.
        log_aspect: draw the logarithm of the aspect uniformly, not the aspect.
        attempts: rectangles drawn until one fits, a multiple of 10; then nothing is erased.
    """

    def __init__(
        self,
        prob: float = 0.5,
        area: tuple[float, float] = (0.02, 0.4),
        aspect: tuple[float, float] = (0.3, 1 / 0.3),
        fill: Sequence[float] = (0.4914, 0.4822, 0.4465),
        log_aspect: bool = False,
        attempts: int = 100,
    ) -> None:
        self.prob = check_prob(prob, "RandomErase")
        self.area = check_range(area, "RandomErase: area")
        self.aspect = check_range(aspect, "RandomErase: aspect")
        if self.area[1] > 1 or self.aspect[0] == 0 or len(fill) != 3:
            raise ValueError(
                "RandomErase: area must be a share of the image, aspect positive and fill three numbers, "
                f"found {area}, {aspect}, {fill}"
            )
        if attempts < 10 or attempts % 10:
            raise ValueError(f"RandomErase: attempts must be a multiple of 10, found {attempts}")
        self.fill = tuple(fill)
        self.log_aspect, self.rounds = log_aspect, attempts // 10

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``top, left, height, width``: (n,) integers; 0 high and wide where nothing is erased."""
        erased = happens(generator, n, self.prob)
        box = draw_rectangles(generator, n, size, self.area, self.aspect, self.rounds, self.log_aspect)
        sides = {name: torch.from_numpy(box[name].numpy() * erased.numpy()) for name in ("height", "width")}
        return {**box, **sides}

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The normalised images (N, 3, H, W), erased."""
        require_dtype(x, torch.float32, "RandomErase")
        return erase(x, torch.tensor(self.fill).to(x.device, non_blocking=True), **draws)
