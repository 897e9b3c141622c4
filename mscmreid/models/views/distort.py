"""Jitter and blur of the pixels, and a choice between operations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from mscmreid.models.views.intensity import brightness, grayscale
from mscmreid.models.views.rowwise import change_rows, check_range, happens, require_dtype, uniform
from mscmreid.registry import TRANSFORMS


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Images (N, 3, H, W) uint8, their distance to the rounded mean of the gray image times ``factor`` (N,) float32.

    Cut to whole numbers and clipped to 0..255: to the bit ``PIL.ImageEnhance.Contrast(image).enhance(factor)``.
    """
    total, count = grayscale(x)[:, 0].flatten(1).sum(1, dtype=torch.int64), x.shape[2] * x.shape[3]
    mean = ((2 * total + count) // (2 * count)).view(-1, 1, 1, 1)  # int(mean + 0.5)
    return (mean + (x - mean) * factor.view(-1, 1, 1, 1)).clamp_(0, 255).to(torch.uint8)


def gaussian_blur(x: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Images (N, 3, H, W) uint8 blurred with their own ``sigma`` (N,), in pixels, in both directions; reflect padding.

    2 ``radius`` + 1 taps; in float32, rounded.
    """
    n, channels, height, width = x.shape
    offset = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float32)
    taps = torch.exp(-0.5 * (offset / sigma.float().view(-1, 1)).square())  # (N, 2 radius + 1)
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]  # (N * 3, 1, taps)
    y = x.reshape(1, n * channels, height, width).float()
    y = F.conv2d(F.pad(y, (radius, radius, radius, radius), mode="reflect"), taps[:, :, None], groups=n * channels)
    y = F.conv2d(y, taps[:, :, :, None], groups=n * channels)
    return y.view(x.shape).round_().clamp_(0, 255).to(torch.uint8)


@TRANSFORMS.register_module()
class RandomJitter:
    """Brightness and contrast by factors of their own, uniform in (low, high), in random order, on pixels."""

    makes_new = True

    def __init__(
        self, brightness: tuple[float, float] = (0.7, 1.3), contrast: tuple[float, float] = (0.7, 1.3)
    ) -> None:
        self.brightness = check_range(brightness, "RandomJitter: brightness")
        self.contrast = check_range(contrast, "RandomJitter: contrast")

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``brightness``, ``contrast``: (n,) float32; ``contrast_first``: (n,) booleans."""
        return dict(
            brightness=uniform(generator, (n,), *self.brightness).float(),
            contrast=uniform(generator, (n,), *self.contrast).float(),
            contrast_first=happens(generator, n, 0.5),
        )

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The changed uint8 images (N, 3, H, W)."""
        require_dtype(x, torch.uint8, "RandomJitter")
        first = draws["contrast_first"]
        x = change_rows(x.clone(), first, contrast, draws["contrast"])
        x = brightness(x, draws["brightness"])
        return change_rows(x, ~first, contrast, draws["contrast"])


@TRANSFORMS.register_module()
class GaussianBlur:
    """A Gaussian blur whose ``sigma``, in pixels, is uniform in (low, high); ``kernel`` taps a side, odd."""

    makes_new = True

    def __init__(self, kernel: int = 21, sigma: tuple[float, float] = (0.1, 3.0)) -> None:
        self.sigma = check_range(sigma, "GaussianBlur: sigma")
        if kernel < 1 or kernel % 2 == 0 or self.sigma[0] == 0:
            raise ValueError(f"GaussianBlur: expected an odd kernel and sigma above 0, found {kernel} and {sigma}")
        self.radius = kernel // 2

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``sigma``: (n,) float32."""
        return dict(sigma=uniform(generator, (n,), *self.sigma).float())

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The blurred uint8 images (N, 3, H, W), sides longer than half the kernel."""
        require_dtype(x, torch.uint8, "GaussianBlur")
        if min(x.shape[2:]) <= self.radius:
            raise ValueError(f"GaussianBlur: sides must be more than {self.radius} pixels, found {tuple(x.shape[2:])}")
        return gaussian_blur(x, draws["sigma"], self.radius)


@TRANSFORMS.register_module()
class OneOf:
    """One of several operations for every image, each as likely as the others.

    Args:
        ops: name -> config of an operation that reads no partner; None takes one away.
    """

    def __init__(self, ops: Mapping[str, dict | None]) -> None:
        self.ops = {name: TRANSFORMS.build(op) for name, op in ops.items() if op is not None}
        if not self.ops or any(getattr(op, "reads_partner", False) for op in self.ops.values()):
            raise ValueError(f"OneOf: expected one operation or more, none that reads a partner, found {dict(ops)}")

    def set_iteration(self, iteration: int, epoch: int) -> None:
        """Called before each iteration."""
        for op in self.ops.values():
            if hasattr(op, "set_iteration"):
                op.set_iteration(iteration, epoch)

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``choice``: (n,) integers; the draws of every operation as ``<its name>.<name>``."""
        draws = dict(choice=torch.randint(len(self.ops), (n,), generator=generator))
        for name, op in self.ops.items():
            draws |= {f"{name}.{key}": value for key, value in op.draw(generator, n, size).items()}
        return draws

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The images (N, 3, H, W), each changed by the operation that was chosen for it; their dtype stays."""
        for i, (name, op) in enumerate(self.ops.items()):
            own = {key.removeprefix(f"{name}."): value for key, value in draws.items() if key.startswith(f"{name}.")}

            def change(images: Tensor, *values: Tensor, op=op, names=tuple(own)) -> Tensor:
                images = images if getattr(op, "makes_new", False) else images.clone()
                return op.apply(images, dict(zip(names, values, strict=True)))

            x = change_rows(x, draws["choice"] == i, change, *own.values())
        return x
