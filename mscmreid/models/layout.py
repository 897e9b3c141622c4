"""The order in which tensors lie in memory: that of the gradients, too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _LaidOut(torch.autograd.Function):
    """A tensor in another precision and order in memory, and its gradient back in those of the tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, memory_format: torch.memory_format) -> Tensor:
        ctx.dtype, ctx.stride = x.dtype, x.stride()
        return x.to(dtype, memory_format=memory_format)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if gradient.dtype is ctx.dtype and gradient.stride() == ctx.stride:
            return gradient, None, None
        own = torch.empty_strided(gradient.shape, ctx.stride, dtype=ctx.dtype, device=gradient.device)
        return own.copy_(gradient), None, None


def laid_out(x: Tensor, dtype: torch.dtype, memory_format: torch.memory_format) -> Tensor:
    """``x.to(dtype, memory_format=...)``, whose gradient comes back as ``x`` lies in memory, in one pass.

    torch's own gradient of it is in the precision of ``x`` but in the order of the gradient that came in, and is laid
    out once more by what reads it.

    Args:
        x: without gaps in memory.
    """
    if x.dtype is dtype and (memory_format is torch.preserve_format or x.is_contiguous(memory_format=memory_format)):
        return x
    if x.requires_grad and torch.is_grad_enabled():
        return _LaidOut.apply(x, dtype, memory_format)
    return x.contiguous(memory_format=memory_format) if x.dtype is dtype else x.to(dtype, memory_format=memory_format)


class _Divided(torch.autograd.Function):
    """A tensor divided by a number, and its gradient back as the tensor lies in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, number: float) -> Tensor:
        ctx.number, ctx.stride = number, x.stride()
        return x / number

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own = torch.empty_strided(gradient.shape, ctx.stride, dtype=gradient.dtype, device=gradient.device)
        return torch.div(gradient, ctx.number, out=own), None


def divided(x: Tensor, number: float) -> Tensor:
    """``x / number``, whose gradient comes back as ``x`` lies in memory; see :func:`laid_out`.

    A compiler chooses layouts itself.

    Args:
        x: without gaps in memory.
    """
    if torch.compiler.is_compiling() or not (x.requires_grad and torch.is_grad_enabled()):
        return x / number
    return _Divided.apply(x, number)


def laid_out_like(value: Tensor, own: Tensor) -> Tensor:
    """``value`` in the order in memory that ``own``, of its shape, has; copied only where it lies otherwise."""
    if all(n == 1 or a == b for n, a, b in zip(own.shape, own.stride(), value.stride(), strict=True)):
        return value
    return torch.empty_like(own, dtype=value.dtype).copy_(value)


def line(dense: Tensor) -> Tensor:
    """The numbers of a tensor without gaps, such as a parameter, in the order in which they lie; no copy."""
    return dense.as_strided((dense.numel(),), (1,))
