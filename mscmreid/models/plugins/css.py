"""CSS, the common space shifting of DNS (Jiang et al., ECCV 2024): a second feature of every image in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mscmreid.registry import MODELS
from mscmreid.structures import Rows


@MODELS.register_module()
class CSS(nn.Module):
    """``feat_shifted`` = MLP(g + softmax over channels(g)), where g is the average over the positions of the map.

    The MLP is layer norm, a linear layer to ``expansion`` times the channels, GELU, dropout, a linear layer back,
    dropout. The map goes on as it is; the gradient of what reads the second feature goes into it. In inference nothing
    is computed.

    Args:
        channels: channels of the maps so far, the map it reads under ``x``.
        expansion: hidden over outer channels.
        dropout: probability, behind either linear layer.
        sizes, after: position in the trunk (not used here).
    """

    def __init__(
        self,
        channels: dict[str, int],
        expansion: int = 4,
        dropout: float = 0.01,
        sizes: dict[str, tuple[int, int]] | None = None,
        after: str | None = None,
    ) -> None:
        super().__init__()
        c = channels["x"]
        self.mlp = nn.Sequential(
            nn.LayerNorm(c),
            nn.Linear(c, expansion * c),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * c, c),
            nn.Dropout(dropout),
        )

    def forward(
        self, x: Tensor, maps: dict[str, Tensor], rows: Rows
    ) -> tuple[Tensor, Rows] | tuple[Tensor, Rows, dict[str, Tensor]]:
        """(N, C, h, w) and its rows as they are; in training also ``feat_shifted`` (N, C)."""
        if not self.training:
            return x, rows
        return (
            x,
            rows,
            {"feat_shifted": self.shift(x.mean(dim=(2, 3), dtype=torch.promote_types(x.dtype, torch.float32)))},
        )

    def shift(self, g: Tensor) -> Tensor:
        """(N, C) float32 -> (N, C)."""
        return self.mlp(g + g.softmax(1))
