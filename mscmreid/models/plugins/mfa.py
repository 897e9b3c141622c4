"""MFA, the multi-stage feature aggregation block of DEEN (Zhang and Wang, CVPR 2023, arXiv 2303.14481)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mscmreid.models.layout import laid_out
from mscmreid.models.plugins.nonlocal_block import dot_product_attention
from mscmreid.models.pointwise import pointwise_conv
from mscmreid.models.precision import full_precision
from mscmreid.registry import MODELS
from mscmreid.structures import Rows


def channel_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """CNL's y = (theta phi^T / C) g, the sum over positions: every channel becomes a mix of g's channels.

    It is dot-product attention with channels and positions in each other's place.

    Args:
        theta, phi: (B, C, h, w).
        g: (B, C, H, W).

    Returns:
        (B, C, H, W).
    """
    theta, phi, flat_g = (t.flatten(2).transpose(1, 2) for t in (theta, phi, g))  # (B, positions, C)
    y = dot_product_attention(theta, phi, flat_g)  # (B, H*W, C)
    return y.transpose(1, 2).unflatten(2, g.shape[2:])


def fold_positions(x: Tensor) -> Tensor:
    """(B, C, H, W) read as (B, 2C, H*W/2): row 2c is channel c at the first half of the positions, 2c+1 at the second.

    The released DEEN reads its maps so, and its weights are trained for it.

    Raises:
        ValueError: H*W is odd.
    """
    b, c, h, w = x.shape
    check_even((h, w))
    return x.flatten(2).reshape(b, 2 * c, h * w // 2)


def check_even(size: tuple[int, int]) -> None:
    """ValueError where a map of ``size`` cannot be folded into halves."""
    if size[0] * size[1] % 2:
        raise ValueError(
            f"MFA's position attention folds its maps into two halves: it needs an even number of positions, found "
            f"{size[0]} x {size[1]}; choose an input whose height or width is a multiple of 32"
        )


def position_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """PNL's y = g (theta^T phi / N)^T on folded maps: every half position becomes a mix of g's.

    Args:
        theta: (B, C, h, w).
        phi, g: (B, C, H, W); folded they have N = H*W/2 positions.

    Returns:
        (B, C, h, w).
    """
    y = dot_product_attention(fold_positions(theta), fold_positions(phi), fold_positions(g))  # (B, 2C, h*w/2)
    return y.reshape(theta.shape)


class CrossStageNonLocal(nn.Module):
    """high + BN(conv(attention(theta(high), phi(low), g(low)))), 1x1 convolutions; at first the identity.

    Args:
        high, low: channels of the two maps.
        inner: channels of theta, phi and g.
        attention: of three maps (B, inner, h, w), which gives a fourth.
        phi_stride, out_stride: strides of phi and of the output convolution.
        reads: the order in memory in which ``attention`` reads its maps.
    """

    conv_bn_pairs = (("out_conv", "out_bn"),)  # folded into one another for inference
    float32_parts = ("out_conv",)

    def __init__(
        self,
        high: int,
        low: int,
        inner: int,
        attention: Callable[[Tensor, Tensor, Tensor], Tensor],
        phi_stride: int = 1,
        out_stride: int = 1,
        reads: torch.memory_format = torch.preserve_format,
    ) -> None:
        super().__init__()
        self.attention, self.reads = attention, reads
        self.theta = nn.Conv2d(high, inner, kernel_size=1)
        self.phi = pointwise_conv(low, inner, phi_stride)
        self.g = nn.Conv2d(low, inner, kernel_size=1)
        self.out_conv = pointwise_conv(inner, high, out_stride)
        self.out_bn = nn.BatchNorm2d(high)
        nn.init.zeros_(self.out_bn.weight)
        nn.init.zeros_(self.out_bn.bias)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        theta, phi, g = self.theta(high), self.phi(low), self.g(low)
        # Without a softmax the sums over positions outgrow fp16; only the batch norm brings them back.
        with full_precision(high):
            wide = torch.promote_types(theta.dtype, torch.float32)
            y = self.attention(*(laid_out(t, wide, self.reads) for t in (theta, phi, g)))
            if self.training and high.is_contiguous(memory_format=torch.channels_last):
                y = laid_out(y, self.out_conv.weight.dtype, torch.channels_last)
            return high + self.out_bn(self.out_conv(y.to(self.out_conv.weight.dtype))).to(high.dtype)


@MODELS.register_module()
class MFA(nn.Module):
    """Fuses the input of a stage into its output: PNL(CNL(high, low), low).

    CNL relates the channels of the two maps, PNL their positions (both on a :class:`CrossStageNonLocal`). DEEN has one
    behind each of stages 1, 2 and 3.

    Args:
        channels, sizes: channels and (h, w) of the maps so far, the stage's output under ``x``.
        after: the stage behind which it stands; its input is the map before it.

    Raises:
        ValueError: ``after`` is no stage with a map before it; the stage makes its input smaller by another factor
            than 1 or 2; a map has an odd number of positions.
    """

    def __init__(self, channels: dict[str, int], sizes: dict[str, tuple[int, int]], after: str) -> None:
        super().__init__()
        self.source = previous_map(after)
        if self.source not in channels:
            raise ValueError(f"MFA behind {after!r} reads the map {self.source!r}, found only {list(channels)}")
        high, low = channels["x"], channels[self.source]
        stride = 1 if sizes[self.source] == sizes["x"] else 2
        if tuple((side + stride - 1) // stride for side in sizes[self.source]) != tuple(sizes["x"]):
            raise ValueError(
                f"MFA expects a stage that keeps or halves its input's size, found {sizes[self.source]} before and "
                f"{sizes['x']} after {after}"
            )
        check_even(sizes[self.source])
        check_even(sizes["x"])
        self.cnl = CrossStageNonLocal(high, low, low, channel_attention, phi_stride=stride, out_stride=stride)
        folded = torch.contiguous_format
        self.pnl = CrossStageNonLocal(high, low, low // 2, position_attention, reads=folded)

    def forward(self, x: Tensor, maps: dict[str, Tensor], rows: Rows) -> tuple[Tensor, Rows]:
        """(N, C, h, w) fused with ``maps[source]``, (N, C', h or 2h, w or 2w) -> (N, C, h, w) and the same rows."""
        low = maps[self.source]
        return self.pnl(self.cnl(x, low), low), rows


def previous_map(stage: str) -> str:
    """Name of the map that goes into a stage: 'stem' for 'stage1', 'stage1' for 'stage2', and so on.

    Raises:
        ValueError: no such stage.
    """
    names = ("stem", "stage1", "stage2", "stage3", "stage4")
    if stage not in names[1:]:
        raise ValueError(f"expected a stage, one of {names[1:]}, found {stage!r}")
    return names[names.index(stage) - 1]
