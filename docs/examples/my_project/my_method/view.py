"""Another tone curve for every image."""

import torch
from torch import Tensor

from mscmreid.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomGamma:
    """x -> 255 (x / 255)^gamma with gamma uniform in ``gamma`` = (low, high), one for each image."""

    makes_new = True  # apply never writes into its input

    def __init__(self, gamma: tuple[float, float] = (0.7, 1.5)) -> None:
        self.low, self.high = gamma
        if not 0 < self.low <= self.high:
            raise ValueError(f"RandomGamma: gamma must be (low, high) with 0 < low <= high, found {tuple(gamma)}")

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> dict[str, Tensor]:
        """``gamma``: (n,) float32."""
        return dict(gamma=torch.empty(n).uniform_(self.low, self.high, generator=generator))

    def apply(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """The uint8 images (N, 3, H, W) with their curves."""
        if x.dtype != torch.uint8:
            raise ValueError(f"RandomGamma works on uint8 images, found {x.dtype}: put it before Normalize")
        gamma = draws["gamma"].view(-1, 1, 1, 1)
        return (255 * (x / 255) ** gamma).round().to(torch.uint8)
