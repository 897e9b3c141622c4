"""Two ways through a batch: row by row on a CPU, all at once elsewhere.

On a CPU one image at a time stays in the processor's cache, and the rows that chance left alone cost nothing. On a
GPU the draws must not be read back to the host, so every row is computed and the result selected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor


def goes_by_row(x: Tensor) -> bool:
    """Whether images on this device are handled row by row."""
    return x.device.type == "cpu"


def passes(x: Tensor, out: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The same rows of ``x`` and ``out`` (N, 3, H, W), on a CPU as many at a time as fit its cache, elsewhere all."""
    step = max(1, 2**18 * len(x) // x.numel()) if goes_by_row(x) else len(x)
    return zip(x.split(step), out.split(step), strict=True)


def change_rows(x: Tensor, mask: Tensor, change: Callable[..., Tensor], *params: Tensor) -> Tensor:
    """``change(x, *params)`` in the rows that ``mask`` (N,) selects; the others stay.

    May write into ``x``. ``change`` maps images (n, 3, H, W) and parameters (n, ...) to new images.
    """
    if not goes_by_row(x):
        return torch.where(mask.view(-1, 1, 1, 1), change(x, *params), x)
    for i, selected in enumerate(mask.tolist()):
        if selected:
            row = x[i : i + 1]
            row.copy_(change(row, *(p[i : i + 1] for p in params)))
    return x


def to_channels_last(x: Tensor) -> Tensor:
    """(N, 3, H, W) in channels_last memory; the same tensor if it already is."""
    if x.is_contiguous(memory_format=torch.channels_last) or not goes_by_row(x):
        return x.contiguous(memory_format=torch.channels_last)
    planes = x.numpy()
    n, channels, height, width = planes.shape
    out = np.empty((n, height, width, channels), dtype=planes.dtype)
    for i in range(n):
        for c in range(channels):  # plane by plane: several times faster than torch's copy
            out[i, :, :, c] = planes[i, c]
    return from_pixels(out)


def pixels(x: Tensor) -> np.ndarray:
    """A channels_last (N, 3, H, W) on the CPU as an array (N, H, W, 3), sharing memory: slices cost little there."""
    return x.permute(0, 2, 3, 1).numpy()


def from_pixels(array: np.ndarray) -> Tensor:
    """An array (N, H, W, 3) as a channels_last (N, 3, H, W), sharing memory."""
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def lanes(x: Tensor) -> Tensor:
    """A channels_last (N, 3, H, W) as (N, H, W * 3), sharing memory: long rows, which vectorise."""
    return x.permute(0, 2, 3, 1).view(len(x), x.shape[2], -1)


def lane_values(values: Tensor, width: int) -> Tensor:
    """Per-channel ``values`` (N, 3) repeated along the lanes of ``lanes``: (N, 1, width * 3)."""
    n, channels = values.shape
    return values.unsqueeze(1).expand(n, width, channels).reshape(n, 1, width * channels)


def require_dtype(x: Tensor, dtype: torch.dtype, op: str) -> None:
    """A ValueError if ``x`` is not of ``dtype``: the operation ``op`` stands on the wrong side of Normalize."""
    if x.dtype != dtype:
        side = "before" if dtype == torch.uint8 else "after"
        raise ValueError(f"{op} works on {dtype} images, found {x.dtype}: put it {side} Normalize in the view's ops")


def check_prob(prob: float, op: str) -> float:
    """``prob`` if it is a probability, else a ValueError."""
    if not 0 <= prob <= 1:
        raise ValueError(f"{op}: a probability must be in [0, 1], found {prob}")
    return prob


def check_range(bounds: tuple[float, float], name: str) -> tuple[float, float]:
    """``bounds`` as (low, high) with 0 <= low <= high, else a ValueError."""
    low, high = bounds
    if not 0 <= low <= high:
        raise ValueError(f"{name} must be (low, high) with 0 <= low <= high, found {tuple(bounds)}")
    return low, high


def uniform(generator: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Uniform numbers in [low, high), float64, on the CPU."""
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
    return torch.from_numpy(drawn.numpy() * (high - low) + low)  # torch would make a tensor of each of the numbers


def happens(generator: torch.Generator, n: int, prob: float) -> Tensor:
    """(n,) booleans on the CPU, each True with probability ``prob``."""
    return torch.from_numpy(torch.rand(n, generator=generator).numpy() < np.float32(prob))
