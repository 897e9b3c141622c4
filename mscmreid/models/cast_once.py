"""Weights in half precision for a training step: cast together, not one by one at every call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mscmreid.models.folding import modules_with_cast_weights
from mscmreid.models.layout import laid_out_like, line

GROUP = 2**23
"""Weights are cast in groups of about so many numbers (32 MiB in float32, about a bucket of data-parallel training), so
that gradients of the last layers can be exchanged while those of the first are still computed."""
ALIGNED = 64
"""Numbers: where a piece of a group begins at a multiple of it, no kernel takes a slower way for its address."""


class WeightsCastOnce:
    """A context in which a model's weights are in ``dtype`` where autocast would cast them; gradients reach its own.

    They are the trainable float32 weights of convolutions, linear layers and attentions, but for ``float32_parts``
    (:func:`mscmreid.models.folding.modules_with_cast_weights`). Autocast casts each of them in the forward pass and
    each gradient back, two kernels a weight; here a group of weights is put together and cast at once, and so are its
    gradients. Numbers are autocast's. Behind the context, before the backward pass, the model has its own parameters
    again: maps that ``with_cp`` computes once more get their weights from autocast.

    Args:
        model: wrapped for data-parallel training or not; its parameters stay those that it has now.
        dtype: of the autocast around the forward pass; nothing is done for float32.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.model, self.dtype = model, dtype
        self.places = [
            (module, name, parameter)
            for module in (() if dtype is torch.float32 else modules_with_cast_weights(model))
            for name, parameter in module._parameters.items()
            if parameter is not None and parameter.requires_grad and parameter.dtype is torch.float32
        ]
        self.groups = list(_groups(list(dict.fromkeys(parameter for _, _, parameter in self.places))))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """The forward pass runs in here."""
        found: dict[nn.Parameter, Tensor] = {}
        for group in self.groups:
            found.update(zip(group, _CastTogether.apply(self.dtype, *group), strict=True))
        try:
            for module, name, parameter in self.places:
                module._parameters[name] = found[parameter]  # type: ignore[assignment]
            yield
        finally:
            for module, name, parameter in self.places:
                module._parameters[name] = parameter


def _groups(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """The parameters in their order, in groups; those that would push the ones behind them off alignment come last."""
    group: list[nn.Parameter] = []
    for parameter in parameters:
        group.append(parameter)
        if sum(p.numel() for p in group) >= GROUP or parameter is parameters[-1]:
            yield sorted(group, key=lambda p: p.numel() % ALIGNED != 0)
            group = []


class _CastTogether(torch.autograd.Function):
    """Float32 parameters in another precision, as pieces of one tensor, and their gradients back, likewise."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*parameters)  # for their shapes and layouts
        return _cast_together(parameters, parameters, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        given = [g for g in gradients if g is not None]
        like = [p for g, p in zip(gradients, ctx.saved_tensors, strict=True) if g is not None]
        found = iter(_cast_together(given, like, torch.float32) if given else ())
        return None, *(None if g is None else next(found) for g in gradients)


def _cast_together(values: Sequence[Tensor], like: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The values in ``dtype``, as pieces of one tensor, each laid out in memory as the one of ``like`` in its place."""
    lines, starts, start = [], [], 0
    for value, own in zip(values, like, strict=True):
        lines.append(line(laid_out_like(value, own)))
        starts.append(start)
        start += value.numel()
    together = torch.cat(lines).to(dtype)
    return tuple(together.as_strided(own.shape, own.stride(), begin) for own, begin in zip(like, starts, strict=True))
