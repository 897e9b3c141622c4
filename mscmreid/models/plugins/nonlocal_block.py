"""Non-local attention over positions, as AGW and MSCMNet have it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mscmreid.models.layout import divided
from mscmreid.registry import MODELS
from mscmreid.structures import Rows


def dot_product_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """(theta^T phi / N) g without softmax; theta (B, C, M), phi and g (B, C, N) -> (B, C, M).

    The product is taken in the cheaper of its two orders, and lies in memory as ``theta`` does: where that has its
    channels together, as maps in channels_last have, so has the result, and nothing is turned around.
    """
    num_channels, num_positions = phi.shape[1:]
    phi = divided(phi, num_positions)
    if theta.stride(1) == 1:
        theta, g = theta.transpose(1, 2), g.transpose(1, 2)  # (B, M, C), (B, N, C)
        y = theta @ (phi @ g) if num_channels < num_positions else (theta @ phi) @ g  # (B, M, C)
        return y.transpose(1, 2)
    if num_channels < num_positions:
        return (g @ phi.transpose(1, 2)) @ theta  # (B, C, C) (B, C, M)
    return g @ (phi.transpose(1, 2) @ theta)  # (B, C, N) (B, N, M)


@MODELS.register_module()
class NonLocal(nn.Module):
    """Non-local block: x + BN(conv(attention(x))) (Wang et al. 2018, dot-product form; AGW, section 3).

    Args:
        channels: channels of the maps so far, the block's own input under ``x``.
        inner_channels: channels inside: None for half of the input's (MSCMNet), 1 in AGW and CAJ.
    """

    conv_bn_pairs = (("out_conv", "out_bn"),)  # folded into one another for inference

    def __init__(self, channels: dict[str, int], inner_channels: int | None = None) -> None:
        super().__init__()
        c = channels["x"]
        inner = c // 2 if inner_channels is None else inner_channels
        self.g = nn.Conv2d(c, inner, kernel_size=1)
        self.theta = nn.Conv2d(c, inner, kernel_size=1)
        self.phi = nn.Conv2d(c, inner, kernel_size=1)
        self.out_conv = nn.Conv2d(inner, c, kernel_size=1)
        self.out_bn = nn.BatchNorm2d(c)
        nn.init.zeros_(self.out_bn.weight)  # the block starts as the identity
        nn.init.zeros_(self.out_bn.bias)

    def forward(self, x: Tensor, maps: dict[str, Tensor], rows: Rows) -> tuple[Tensor, Rows]:
        theta, phi, g = self.theta(x).flatten(2), self.phi(x).flatten(2), self.g(x).flatten(2)  # (B, C', H*W)
        y = dot_product_attention(theta, phi, g).unflatten(2, x.shape[2:])  # (B, C', H, W)
        if x.is_contiguous(memory_format=torch.channels_last):
            y = y.contiguous(memory_format=torch.channels_last)  # no pass where it lies so already
        return x + self.out_bn(self.out_conv(y)), rows
