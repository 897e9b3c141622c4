"""A turn of every colour's hue (DNS, ECCV 2024: infrared images; gray ones do not change)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mscmreid.models.views.rowwise import check_prob, happens, passes, require_dtype, uniform
from mscmreid.registry import TRANSFORMS


def shift_hue(x: Tensor, turn: Tensor) -> Tensor:
    """Images (N, 3, H, W) float, R, G, B in [0, 1], with the HSV hue turned; gray pixels stay to the bit.

    Args:
        turn: (N,), in full turns; whole numbers change nothing.
    """
    r, g, b = x.unbind(1)  # (N, H, W)
    low, high = x.amin(1), x.amax(1)
    chroma = high - low
    safe = torch.where(chroma > 0, chroma, 1.0)
    sector = torch.where(high == r, (g - b) / safe, torch.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    sector = sector + 6 * turn.view(-1, 1, 1)  # the hue in sixths of a turn
    channels = []
    for n in (5, 3, 1):
        k = torch.remainder(n + sector, 6)
        channels.append(high - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=1)


@TRANSFORMS.register_module()
class HueShift:
    """With ``prob`` the hue of an image turned by an angle uniform in ``turn`` = (low, high), in full turns.

    Comes after ``Normalize``, whose numbers it leads back to [0, 1].

    Args:
        prob: of an image to be changed.
        turn: range of the angle.
        mean, std: those of ``Normalize``.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        prob: float = 1.0,
        turn: tuple[float, float] = (-0.5, 0.5),
    ) -> None:
        self.prob = check_prob(prob, "HueShift")
        if turn[0] > turn[1]:
            raise ValueError(f"HueShift: turn must be (low, high) with low <= high, found {tuple(turn)}")
        self.turn = tuple(turn)
        self.mean, self.std = tuple(mean), tuple(std)

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``turn``: (n,) float32, 0 where nothing changes."""
        chosen = happens(generator, n, self.prob)
        return dict(turn=(uniform(generator, (n,), *self.turn) * chosen).float())

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The normalised images (N, 3, H, W) with turned hues."""
        require_dtype(x, torch.float32, "HueShift")
        mean, std = torch.tensor([self.mean, self.std]).to(x.device, non_blocking=True).view(2, 1, 3, 1, 1)
        first = 0
        for part, _ in passes(x, x):
            turn = draws["turn"][first : first + len(part)]
            part.copy_((shift_hue(part * std + mean, turn) - mean) / std)
            first += len(part)
        return x
