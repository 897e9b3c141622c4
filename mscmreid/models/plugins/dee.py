"""DEE, the diverse embedding expansion of DEEN (Zhang and Wang, CVPR 2023, arXiv 2303.14481)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mscmreid.registry import MODELS
from mscmreid.structures import Rows


class MeanOfMaps(nn.Module):
    """The mean of maps of one shape."""

    def forward(self, *maps: Tensor) -> Tensor:
        return sum(maps) / len(maps)  # type: ignore[return-value]


class DilatedBranch(nn.Module):
    """conv1x1(relu(mean of a 3x3 convolution at each dilation)): (N, C, h, w) -> (N, C, h, w).

    Args:
        channels: C.
        dilations: one convolution C -> C/4 without bias for each; padding keeps the size.
    """

    float32_in_mixed = ("mean", "expand")  # what comes out replaces the map

    def __init__(self, channels: int, dilations: tuple[int, ...] = (1, 2, 3)) -> None:
        super().__init__()
        inner = channels // 4
        self.dilated = nn.ModuleList(
            nn.Conv2d(channels, inner, kernel_size=3, padding=d, dilation=d, bias=False) for d in dilations
        )
        self.mean = MeanOfMaps()
        self.expand = nn.Conv2d(inner, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean(*(conv(x) for conv in self.dilated))  # (N, C/4, h, w)
        return self.expand(torch.relu(mean))


@MODELS.register_module()
class DEE(nn.Module):
    """Expands every row into branches: [x; branch 1(x); branch 2(x); ...], rows numbered 0, 1, 2, ... in ``branch``.

    DEEN has two branches behind stage 3 (stage 2 on RegDB), after MFA.

    Args:
        channels: channels of the maps so far, the block's own input under ``x``.
        num_branches: how many are added to the plain rows.
        dropout: probability, on all rows.
    """

    def __init__(self, channels: dict[str, int], num_branches: int = 2, dropout: float = 0.01) -> None:
        super().__init__()
        if num_branches < 1:
            raise ValueError(f"DEE expects num_branches >= 1, found {num_branches}")
        self.branches = nn.ModuleList(DilatedBranch(channels["x"]) for _ in range(num_branches))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, maps: dict[str, Tensor], rows: Rows) -> tuple[Tensor, Rows]:
        """(N, C, h, w) -> ((1 + num_branches) N, C, h, w) and its rows."""
        expanded = torch.cat([x, *(branch(x) for branch in self.branches)])
        return self.dropout(expanded), rows.expand_branches(1 + len(self.branches))
