"""HSS, the heterogeneous space shifting of DNS (Jiang et al., ECCV 2024): coordinate attention with a shift inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mscmreid.models.layout import laid_out
from mscmreid.registry import MODELS
from mscmreid.structures import Rows


def shifted_profiles(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means over w and over h of x + s, where s = softmax_h(max_w x) (outer product) softmax_w(max_h x).

    s itself is not needed: a softmax sums to 1, so its means are the other softmax over w or h.

    Args:
        x: (B, C, h, w).

    Returns:
        (B, C, h) and (B, C, w), float32 (float64 for float64 maps).
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    over_w, over_h = x.amax(3).softmax(2), x.amax(2).softmax(2)  # (B, C, h), (B, C, w)
    return x.mean(3) + over_w / x.shape[3], x.mean(2) + over_h / x.shape[2]


@MODELS.register_module()
class HSS(nn.Module):
    """x times an attention over its heights and one over its widths, read from the profiles of a shifted x.

    In training and in inference. At first it is about x / 4: no attention says anything yet.

    Args:
        channels: channels of the maps so far, the block's own input under ``x``.
        reduction: the attention has C // reduction channels inside, at least ``min_channels``.
        min_channels: see there.
        sizes, after: position in the trunk (not used here).
    """

    conv_bn_pairs = (("reduce", "bn"),)  # folded into one another for inference

    def __init__(
        self,
        channels: dict[str, int],
        reduction: int = 32,
        min_channels: int = 8,
        sizes: dict[str, tuple[int, int]] | None = None,
        after: str | None = None,
    ) -> None:
        super().__init__()
        c = channels["x"]
        inner = max(min_channels, c // reduction)
        self.reduce = nn.Conv2d(c, inner, kernel_size=1, bias=False)
        self.bn = nn.BatchNorm2d(inner)
        self.attend_height = nn.Conv2d(inner, c, kernel_size=1, bias=False)
        self.attend_width = nn.Conv2d(inner, c, kernel_size=1, bias=False)

    def forward(self, x: Tensor, maps: dict[str, Tensor], rows: Rows) -> tuple[Tensor, Rows]:
        """(N, C, h, w) -> the same shape, and the same rows."""
        height, width = x.shape[2:]
        profiles = torch.cat(shifted_profiles(x), dim=2).unsqueeze(3)  # (N, C, h + w, 1)
        together = self.training and x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if together else torch.preserve_format
        u = F.hardswish(self.bn(self.reduce(laid_out(profiles, x.dtype, layout))))  # (N, m, h + w, 1)
        u_height, u_width = u.split([height, width], dim=2)
        over_height = self.attend_height(u_height).sigmoid()  # (N, C, h, 1)
        over_width = self.attend_width(u_width.transpose(2, 3)).sigmoid()  # (N, C, 1, w)
        return x * over_width * over_height, rows
