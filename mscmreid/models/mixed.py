"""The precision 'mixed': half precision, but float32 where its rounding shows in the features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from mscmreid.models.backbones.trunk import Trunk
from mscmreid.models.precision import full_precision

ENDS: dict[type[nn.Module], tuple[str, ...]] = {
    BasicBlock: ("conv2", "downsample"),
    Bottleneck: ("conv3", "downsample"),
}
"""What a residual block adds up, of the classes that cannot say so themselves."""


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
    """Let the sums of the last stage, and what is added up there, be computed in float32, in place; for inference.

    In bfloat16 a value keeps eight bits. What a layer makes of its rounded input averages many values, and a rounded
    weight moves all images alike; but what is added up in the last stage goes to the pooling as it is, and where all
    features lie close together its rounding is as large as what tells people apart. So the last convolution of each
    residual branch there, and that of its shortcut, give float32, and with them so do the sums. A plugin says in
    ``float32_in_mixed`` which of its parts the same holds for: those that give what replaces a map.

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
    blocks = [block for m in model.modules() if isinstance(m, Trunk) for block in list(m.values())[-1]]  # type: ignore
    found: list[tuple[nn.Module, str]] = [(block, name) for block in blocks for name in ENDS.get(type(block), ())]
    named: list[tuple[Any, tuple[str, ...]]] = [(m, getattr(m, "float32_in_mixed", ())) for m in model.modules()]
    return found + [(m, name) for m, names in named for name in names]
