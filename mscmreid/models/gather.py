"""Rows of all ranks, with the gradient that makes a distributed step equal to a single process's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import torch
import torch.distributed as dist
from torch import Tensor

from mscmreid.structures import Rows


class _GatherRows(torch.autograd.Function):
    """All ranks' rows, rank after rank. Every rank computes the same loss of all rows; the data-parallel wrapper
    averages gradients over ranks, so this rank's slice goes back times the number of ranks."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.num_rows = len(x)
        return _all_ranks(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        start = dist.get_rank() * ctx.num_rows
        return grad[start : start + ctx.num_rows] * dist.get_world_size()


def named_columns(rows: Rows) -> dict[str, Tensor]:
    """The columns of a record by name, those in its ``extra`` beside the others."""
    columns: dict[str, Tensor] = {}
    for field in fields(rows):
        value = getattr(rows, field.name)
        columns.update(value if isinstance(value, Mapping) else {field.name: value})
    return columns


def gather_rows(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors (N, ...) of all ranks by name, (W * N, ...); unchanged in a single process. All ranks have N rows.

    Integer columns (N,) travel together.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return dict(values)
    columns = [name for name, value in values.items() if value.dtype == torch.int64 and value.ndim == 1]
    gathered = {name: _GatherRows.apply(value) for name, value in values.items() if name not in columns}
    if columns:
        together = _all_ranks(torch.stack([values[name] for name in columns], dim=1))
        gathered.update(zip(columns, together.unbind(dim=1), strict=True))
    return gathered


def _all_ranks(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)
