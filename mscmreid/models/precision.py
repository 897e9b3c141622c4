"""What a forward pass computes in, and leaving mixed precision where it costs accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager:
    """A context without autocast on the device of ``x`` (the meta device has no autocast to leave)."""
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)


@contextmanager
def inference_precision(device_type: str, dtype: torch.dtype, tf32: bool = False) -> Iterator[None]:
    """A forward pass of inference: autocast to ``dtype`` unless it is float32, and float32 that is float32.

    torch rounds the inputs of float32 convolutions on a GPU to TF32 (10 bits of 23) unless told not to: features were
    7e-4 of their largest value off, metrics 0.1 points (docs/gpu.md), and differ from a CPU's.

    Args:
        device_type: 'cpu' or 'cuda'.
        tf32: let convolutions and matrix products do that.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    try:
        convolutions.allow_tf32 = products.allow_tf32 = tf32
        with torch.autocast(device_type, dtype=dtype, enabled=dtype is not torch.float32):
            yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def computing_precision(x: Tensor) -> torch.dtype:
    """In which precision a convolution or a product of ``x`` computes here: autocast's, where there is one."""
    device = x.device.type
    on = device != "meta" and x.dtype is not torch.float64 and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if on else x.dtype
