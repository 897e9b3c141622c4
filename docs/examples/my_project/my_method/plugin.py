"""Squeeze and excitation (Hu et al., CVPR 2018)."""

import torch
from torch import Tensor, nn

from mscmreid.registry import MODELS
from mscmreid.structures import Rows


@MODELS.register_module()
class ChannelGate(nn.Module):
    """Weighs every channel by a number between 0 and 2 that depends on the means of all channels; at first 1.

    Args:
        channels: channels of the maps so far, the block's own input under ``x``.
        reduction: hidden units are a ``reduction``-th of the channels.
    """

    def __init__(self, channels: dict[str, int], reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels["x"], channels["x"] // reduction)
        self.excite = nn.Linear(channels["x"] // reduction, channels["x"])
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, x: Tensor, maps: dict[str, Tensor], rows: Rows) -> tuple[Tensor, Rows]:
        """(N, C, h, w) -> the same shape and rows."""
        means = x.mean(dim=(2, 3))  # (N, C)
        gate = 2 * torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))  # (N, C)
        return x * gate[:, :, None, None], rows
