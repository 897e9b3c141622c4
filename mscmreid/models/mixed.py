"""The precision 'mixed': half precision, but float32 where its rounding shows in the features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from mscmreid.models.backbones.streams import Stream
from mscmreid.models.backbones.trunk import Trunk
from mscmreid.models.precision import full_precision

ENDS: dict[type[nn.Module], tuple[str, ...]] = {
    BasicBlock: ("conv2", "downsample"),
    Bottleneck: ("conv3", "downsample"),
}
"""What a residual block adds up, of the classes that cannot say so themselves."""

INNER: dict[type[nn.Module], tuple[str, ...]] = {BasicBlock: ("conv1",), Bottleneck: ("conv2",)}
"""What the last convolution of a block's branch reads, of the same."""


class InFloat32(nn.Module):
    """A module that computes in float32 under autocast, whatever tensors come in."""

    float32_parts = ("module",)

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        with full_precision(inputs[0]):
            return self.module(*(x.to(torch.promote_types(x.dtype, torch.float32)) for x in inputs))


def keep_sums_in_float32(model: nn.Module) -> int:
    """Let the parts whose rounding shows in the features be computed in float32, in place; for inference.

    In bfloat16 a value keeps eight bits. What a layer makes of its rounded input averages many values, and a rounded
    weight moves all images alike; but what is added up in the last stage goes to the pooling as it is, and where all
    features lie close together its rounding is as large as what tells people apart. So the last convolution of each
    residual branch there, and that of its shortcut, give float32, and with them so do the sums; in the last block so
    does the convolution before. What the first layers round is small, but the network takes it for a part of the image
    and carries it to where people differ: the stem and the sums of the first stage are in float32, too. A plugin says
    in ``float32_in_mixed`` which of its parts the same holds for: those that give what replaces a map.

    Args:
        model: with folded batch norms; called under autocast afterwards.

    Returns:
        How many modules were turned; none in a network without stages, where all is as in half precision.
    """
    count = 0
    for parent, name in _sensitive(model):
        module = getattr(parent, name, None)
        if module is not None:
            setattr(parent, name, InFloat32(module))
            count += 1
    return count


def _sensitive(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """(parent, name of its child) of what computes in float32."""
    found: list[tuple[nn.Module, str]] = []
    for m in model.modules():
        if isinstance(m, Stream | Trunk) and "stage1" in m:
            found += _ends(m["stage1"])
        if isinstance(m, Trunk):
            last = list(m.values())[-1]
            found += _ends(last)
            found += [(last[-1], name) for name in INNER.get(type(last[-1]), ())]  # type: ignore[index]
        found += [(m, name) for name in getattr(m, "float32_in_mixed", ())]
    return list(dict.fromkeys(found))


def _ends(stage: Any) -> list[tuple[nn.Module, str]]:
    return [(block, name) for block in stage for name in ENDS.get(type(block), ())]
