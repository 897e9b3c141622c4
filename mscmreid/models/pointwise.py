"""1 x 1 convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

FEW = 8


class SubsampledConv2d(nn.Conv2d):
    """A 1 x 1 convolution without padding that takes each ``stride``-th position before it computes."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias)


def pointwise_conv(in_channels: int, out_channels: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 1 x 1 convolution; one with a stride and fewer than 8 channels takes its positions by itself.

    On processors with AVX2 and without AVX-512 oneDNN 3.12 (torch 2.14) writes past its workspace in the backward pass
    of such a one on channels_last maps (its issue 6035, open): runs differed from one another, or ended in a crash.
    """
    kind = SubsampledConv2d if stride > 1 and in_channels < FEW else nn.Conv2d
    return kind(in_channels, out_channels, kernel_size=1, stride=stride, bias=bias)
