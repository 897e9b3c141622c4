"""Buffers that differ from process to process within an epoch: statistics of batch norms that are not synced.

A checkpoint holds those of the first process. After an epoch, and before a validation, they are the same in all.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from torch import Tensor, nn


def own_buffers(model: nn.Module) -> list[dict[str, Tensor]]:
    """An entry a process: its buffers that are not, to the bit, those of the first. To be called in all of them.

    Args:
        model: not wrapped.

    Returns:
        Names -> tensors on the CPU; of the first process, and where there is one only, {}.
    """
    if get_world_size() == 1:
        return [{}]
    saved = model.state_dict().keys()
    buffers = {name: buffer.detach().cpu() for name, buffer in model.named_buffers() if name in saved}
    sums = all_gather_object({name: _checksum(buffer) for name, buffer in buffers.items()})
    return all_gather_object({name: b for name, b in buffers.items() if sums[0].get(name) != sums[get_rank()][name]})


def restore_own_buffers(model: nn.Module, buffers: Sequence[Mapping[str, Tensor]]) -> None:
    """Give this process back what it had; the others' names are those of the first, whose buffers are loaded.

    Args:
        model: not wrapped, with the weights of the checkpoint.
        buffers: of :func:`own_buffers`, maybe of another number of processes.
    """
    own = buffers[get_rank()] if get_rank() < len(buffers) else {}
    there = dict(model.named_buffers())
    for name, value in own.items():
        there[name].copy_(value)


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
