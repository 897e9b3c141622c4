"""Inference without batch norms: each becomes part of the convolution before it.

Not by ``mmcv.cnn.fuse_conv_bn``: it takes a batch norm for that of the convolution registered before it, whether or not
the one is called behind the other, and its weights differ from torch's in the last digit.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck

from mscmreid.models.mixed import keep_sums_in_float32

Pairs = tuple[tuple[str, str], ...]

PAIRS: dict[type[nn.Module], Pairs] = {
    BasicBlock: (("conv1", "bn1"), ("conv2", "bn2")),
    Bottleneck: (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")),
}
"""Names of convolutions and of the batch norms that directly follow them, of classes that cannot say so themselves."""


CAST = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)
"""Modules whose weights autocast casts."""


def conv_bn_pairs(module: nn.Module) -> Pairs:
    """Names of the convolutions of ``module`` and of the batch norms that directly follow them.

    A class says so itself by an attribute ``conv_bn_pairs``; a sequence of a convolution and a batch norm speaks for
    itself. Where nothing is said, nothing is folded.
    """
    if isinstance(module, nn.Sequential):
        parts = list(module)
        return tuple(
            (str(i), str(i + 1))
            for i, (conv, bn) in enumerate(itertools.pairwise(parts))
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
        )
    return getattr(module, "conv_bn_pairs", None) or PAIRS.get(type(module), ())


@torch.no_grad()
def fold_batch_norms(model: nn.Module) -> int:
    """Fold the batch norms of ``model`` into the convolutions before them, in place; for inference only.

    In evaluation a batch norm multiplies each channel by a constant and adds another one, which the convolution before
    it can do as well: a pass over every map is saved. Features change by rounding only. The folded model cannot be
    trained, and its state dict is not that of a checkpoint.

    Args:
        model: in eval mode.

    Returns:
        How many were folded.

    Raises:
        RuntimeError: the model is in training mode.
    """
    if model.training:
        raise RuntimeError("batch norms can be folded in eval mode only: call model.eval() first")
    count = 0
    for module, conv_name, bn_name, conv, bn in list(_foldable(model)):
        layout = torch.channels_last if _is_channels_last(conv.weight) else torch.contiguous_format
        folded = fuse_conv_bn_eval(conv, bn)
        setattr(module, conv_name, folded.to(memory_format=layout))
        setattr(module, bn_name, nn.Identity())
        count += 1
    return count


@torch.no_grad()
def hold_weights(model: nn.Module, dtype: torch.dtype) -> int:
    """Turn the weights that autocast would cast at every call into ``dtype``, in place; for inference under autocast.

    Those of :func:`modules_with_cast_weights`.

    Args:
        model: in eval mode; of autocast's precision afterwards, so that it has nothing to cast.
        dtype: that precision.

    Returns:
        How many modules were turned.
    """
    turned = modules_with_cast_weights(model)
    for module in turned:
        for name, parameter in module.named_parameters(recurse=False):
            layout = torch.channels_last if _is_channels_last(parameter) else torch.contiguous_format
            setattr(module, name, nn.Parameter(parameter.to(dtype, memory_format=layout), requires_grad=False))
    return len(turned)


def modules_with_cast_weights(model: nn.Module) -> list[nn.Module]:
    """Convolutions, linear layers and attentions, whose weights autocast casts.

    What computes in float32 under autocast, such as the losses, keeps its weights: a class names those children in
    ``float32_parts``.
    """
    parts = [getattr(m, name) for m in model.modules() for name in getattr(m, "float32_parts", ())]
    kept = {id(m) for part in parts for m in part.modules()}
    return [m for m in model.modules() if isinstance(m, CAST) and id(m) not in kept]


def inference_copy(
    model: nn.Module, compile: bool = False, dtype: torch.dtype = torch.float32, mixed: bool = False
) -> nn.Module:
    """A folded copy of ``model`` in eval mode; the model itself stays as it is.

    Args:
        model: any network of this package.
        dtype: of the autocast that it is called in: its weights are held in it, once (:func:`hold_weights`).
        mixed: keep float32 where half precision shows (:func:`mscmreid.models.mixed.keep_sums_in_float32`).
        compile: also ``torch.compile`` it with frozen weights, which a CPU then reads in its own layout instead of
            laying them out at every call. Needs a C++ compiler. Compiling happens in the first call and takes minutes;
            every other number of images, or of modalities in a call, is compiled anew, so this is for many equal
            batches. Such a copy cannot be asked for gradients.
    """
    copied = copy.deepcopy(model).eval()
    fold_batch_norms(copied)
    if mixed:
        keep_sums_in_float32(copied)
    if dtype is not torch.float32:
        hold_weights(copied, dtype)
    if compile:
        copied.requires_grad_(False)
        copied.compile(dynamic=False, options={"freezing": True})
    return copied


def _foldable(model: nn.Module) -> Iterator[tuple[nn.Module, str, str, nn.Conv2d, nn.BatchNorm2d]]:
    """(module, name of its convolution, name of the batch norm behind it, the two) for all that can be folded."""
    for module in model.modules():
        for conv_name, bn_name in conv_bn_pairs(module):
            conv, bn = getattr(module, conv_name), getattr(module, bn_name)
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d) and bn.track_running_stats:
                yield module, conv_name, bn_name, conv, bn


def _is_channels_last(weight: torch.Tensor) -> bool:
    return weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
