"""ResNet's parts with torchvision's blocks and names, at any width, without the parts that are not used."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import BasicBlock, Bottleneck

from mscmreid.models.pointwise import pointwise_conv


@dataclass(frozen=True)
class ResNetSpec:
    """What a depth stands for: the kind of block and how many of them each stage has."""

    block: type[BasicBlock] | type[Bottleneck]
    num_blocks: tuple[int, int, int, int]


SPECS = {
    18: ResNetSpec(BasicBlock, (2, 2, 2, 2)),
    34: ResNetSpec(BasicBlock, (3, 4, 6, 3)),
    50: ResNetSpec(Bottleneck, (3, 4, 6, 3)),
    101: ResNetSpec(Bottleneck, (3, 4, 23, 3)),
}


class Stem(nn.Module):
    """ResNet's first layer: 7x7 convolution, batch norm, ReLU, max pooling; a quarter of the height and width.

    Args:
        channels: width of the map that comes out (64 in ResNet).
    """

    conv_bn_pairs = (("conv1", "bn1"),)  # folded into one another for inference
    float32_in_mixed = ("conv1",)

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)  # (N, C, H/2, W/2)
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)  # (N, C, H/4, W/4)


def make_stage(spec: ResNetSpec, stage: int, in_channels: int, width: int, stride: int) -> nn.Sequential:
    """One stage: ``spec.num_blocks[stage]`` blocks of inner width ``width``, the first with ``stride``.

    The names of the parameters are those of ``torchvision.models.resnet*().layer{stage + 1}``.
    """
    out_channels = width * spec.block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        conv = pointwise_conv(in_channels, out_channels, stride, bias=False)
        downsample = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
    blocks = [spec.block(in_channels, width, stride, downsample)]
    blocks += [spec.block(out_channels, width) for _ in range(spec.num_blocks[stage] - 1)]
    return nn.Sequential(*blocks)


def run_block(block: nn.Module, x: Tensor, with_cp: bool) -> Tensor:
    """A block's map; ``with_cp``: in training keep only its input and compute it again in the backward pass."""
    return checkpoint(block, x, use_reentrant=False) if with_cp and block.training else block(x)


def run_blocks(blocks: nn.Sequential, x: Tensor, with_cp: bool) -> Tensor:
    """The map behind all blocks of a stage, see :func:`run_block`."""
    for block in blocks:
        x = run_block(block, x, with_cp)
    return x


def torchvision_name(name: str) -> str:
    """torchvision's name for a parameter ``stem.*`` or ``stage1.*`` to ``stage4.*``.

    >>> torchvision_name("stage3.0.conv1.weight"), torchvision_name("stem.bn1.bias")
    ('layer3.0.conv1.weight', 'bn1.bias')
    """
    return name.removeprefix("stem.").replace("stage", "layer", 1)


def initialise(module: nn.Module) -> None:
    """torchvision's start from scratch: Kaiming normal (fan out) convolutions, batch norms at 1 and 0."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
