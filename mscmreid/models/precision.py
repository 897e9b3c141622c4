"""Leaving mixed precision where it costs accuracy."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager:
    """A context without autocast on the device of ``x`` (the meta device has no autocast to leave)."""
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)
