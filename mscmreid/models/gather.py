"""Rows of all ranks, with the gradient that makes a distributed step equal to a single process's."""

from __future__ import annotations

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
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        ctx.num_rows = len(x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        start = dist.get_rank() * ctx.num_rows
        return grad[start : start + ctx.num_rows] * dist.get_world_size()


def gather_rows(features: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
    """Features (N, D) and rows of all ranks, (W * N, D); unchanged in a single process. All ranks have N rows."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return features, rows

    def gather(column: Tensor) -> Tensor:
        parts = [torch.empty_like(column) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, column.contiguous())
        return torch.cat(parts)

    names = [f.name for f in fields(rows) if f.name != "extra"]
    columns = gather(torch.stack([getattr(rows, name) for name in names], dim=1))  # (W * N, 6), one exchange
    extra = {name: gather(value) for name, value in rows.extra.items()}
    return _GatherRows.apply(features), Rows(**dict(zip(names, columns.unbind(dim=1), strict=True)), extra=extra)
