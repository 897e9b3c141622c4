"""Channel augmentations: what makes a visible image look less like colour, and an infrared one less like itself.

Ye et al., Channel Augmented Joint Learning for Visible-Infrared Recognition, ICCV 2021 (CAJ), and MSCMNet.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import torch
from torch import Tensor

from mscmreid.models.views.rowwise import (
    check_prob,
    check_range,
    goes_by_row,
    happens,
    lane_values,
    lanes,
    pixels,
    require_dtype,
    to_channels_last,
    uniform,
)
from mscmreid.registry import TRANSFORMS

GRAY, KEEP = 3, 4
"""Choices beside the channels 0, 1, 2 of :func:`copy_channel`."""

GRAY_WEIGHTS = (0.2989, 0.5870, 0.1140)


def draw_choice(generator: torch.Generator, n: int, probs: Sequence[float]) -> Tensor:
    """(n,) integers 0..len(probs), each i with probability ``probs[i]``, the last with what is left."""
    bounds = torch.tensor(probs, dtype=torch.float64).cumsum(0)
    return torch.searchsorted(bounds, torch.rand(n, generator=generator, dtype=torch.float64), right=True)


def copy_channel_rows(x: Tensor, choice: Tensor) -> Tensor:
    """:func:`copy_channel` image by image."""
    x = to_channels_last(x)
    for image, chosen in zip(pixels(x), choice.tolist(), strict=True):
        if chosen == KEEP:
            continue
        if chosen == GRAY:
            planes = (torch.from_numpy(plane) for plane in cv2.split(image))
            r, g, b = (plane * weight for plane, weight in zip(planes, GRAY_WEIGHTS, strict=True))
            plane = (r + g + b).numpy()
        else:
            plane = cv2.extractChannel(image, chosen)
        cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB, dst=image)
    return x


def copy_channel_batch(x: Tensor, choice: Tensor) -> Tensor:
    """:func:`copy_channel`, the whole batch at once."""
    gray, keep = torch.tensor([GRAY_WEIGHTS, (0.0, 0.0, 0.0)])
    table = torch.stack([*torch.eye(3), gray, keep]).to(x.device, non_blocking=True)  # choice -> weights
    r, g, b = table[choice].view(-1, 3, 1, 1, 1).unbind(1)
    mixed = x[:, 0:1] * r + x[:, 1:2] * g + x[:, 2:3] * b  # (N, 1, H, W)
    return torch.where((choice == KEEP).view(-1, 1, 1, 1), x, mixed)


def copy_channel(x: Tensor, choice: Tensor) -> Tensor:
    """Images (N, 3, H, W) float with one channel, or the mix of all, in all three; may write into ``x``.

    Args:
        choice: (N,) integers: 0, 1, 2 the channel, 3 the mix 0.2989 R + 0.5870 G + 0.1140 B, 4 leaves the image.
    """
    return (copy_channel_rows if goes_by_row(x) else copy_channel_batch)(x, choice)


def scale_channels_rows(x: Tensor, mask: Tensor, factor: Tensor) -> Tensor:
    """:func:`scale_channels` image by image."""
    x = to_channels_last(x)
    for image, scaled, values in zip(lanes(x), mask.tolist(), lane_values(factor, x.shape[3]), strict=True):
        if scaled:
            image *= values
    return x


def scale_channels_batch(x: Tensor, mask: Tensor, factor: Tensor) -> Tensor:
    """:func:`scale_channels`, the whole batch at once."""
    return x * torch.where(mask.view(-1, 1), factor, 1.0).view(-1, 3, 1, 1)


def scale_channels(x: Tensor, mask: Tensor, factor: Tensor) -> Tensor:
    """Images (N, 3, H, W) float, every channel of those that ``mask`` (N,) selects times its own ``factor`` (N, 3);
    may write into ``x``."""
    return (scale_channels_rows if goes_by_row(x) else scale_channels_batch)(x, mask, factor)


class _CopyChannel:
    """What the operations below share: choices with fixed probabilities of (R, G, B, gray mix)."""

    def __init__(self, probs: Sequence[float]) -> None:
        for prob in probs:
            check_prob(prob, type(self).__name__)
        self.probs = tuple(probs)

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``choice``: (n,) as :func:`copy_channel` reads it."""
        return dict(choice=draw_choice(generator, n, self.probs))

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The normalised images (N, 3, H, W) with the chosen channel in all three."""
        require_dtype(x, torch.float32, type(self).__name__)
        return copy_channel(x, draws["choice"])


@TRANSFORMS.register_module()
class ChannelToAll(_CopyChannel):
    """With ``prob`` one of the three channels, uniformly, copied to all three (CAJ's channel exchange: always).

    With ``gray``, the gray mix is a fourth choice as likely as each channel (DNS on SYSU-MM01).
    """

    def __init__(self, prob: float = 1.0, gray: bool = False) -> None:
        num = 4 if gray else 3
        share = check_prob(prob, "ChannelToAll") / num
        probs = [share] * (num - 1)
        super().__init__((*probs, prob - sum(probs), 0.0)[:4])


@TRANSFORMS.register_module()
class InfraredGray(_CopyChannel):
    """With ``prob_channel`` the channel ``channel`` copied to all three, otherwise with ``prob_gray`` the gray mix."""

    def __init__(self, prob_channel: float = 0.5, channel: int = 1, prob_gray: float = 0.5) -> None:
        if channel not in (0, 1, 2):
            raise ValueError(f"InfraredGray: channel must be 0, 1 or 2, found {channel}")
        probs = [prob_channel if c == channel else 0.0 for c in range(3)]
        super().__init__((*probs, (1 - prob_channel) * prob_gray))


@TRANSFORMS.register_module()
class AdaptiveGray(_CopyChannel):
    """With probability 1/4 each the channel 0, 1 or 2 copied to all three, otherwise with ``prob_gray`` the gray
    mix (CAJ's infrared images)."""

    def __init__(self, prob_gray: float = 0.5) -> None:
        super().__init__((0.25, 0.25, 0.25, 0.25 * prob_gray))


@TRANSFORMS.register_module()
class ChannelScale:
    """With probability ``prob`` every channel times its own factor, uniform in ``factor`` = (low, high)."""

    def __init__(self, prob: float = 0.5, factor: tuple[float, float] = (0.02, 1.0)) -> None:
        self.prob = check_prob(prob, "ChannelScale")
        self.factor = check_range(factor, "ChannelScale: factor")

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``mask``: (n,) booleans; ``factor``: (n, 3) float32."""
        mask = happens(generator, n, self.prob)
        return dict(mask=mask, factor=uniform(generator, (n, 3), *self.factor).float())

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The normalised images (N, 3, H, W), those of ``mask`` scaled."""
        require_dtype(x, torch.float32, "ChannelScale")
        return scale_channels(x, draws["mask"], draws["factor"])
