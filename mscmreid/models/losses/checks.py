"""What every metric loss looks at before it computes."""

from __future__ import annotations

import torch
from torch import Tensor


def checked(features: Tensor, **columns: Tensor | None) -> Tensor:
    """``features`` in fp32 (float64 stays float64), after a look at the shapes.

    Args:
        features: (N, D), any floating dtype, N > 0.
        **columns: the integer columns that the loss reads, by name, each (N,).

    Raises:
        ValueError: features are no float matrix or empty; a column is missing or has another length.
    """
    if features.ndim != 2 or not features.is_floating_point() or len(features) == 0:
        raise ValueError(
            f"a metric loss expects float features (N, D) with N > 0, found {tuple(features.shape)} {features.dtype}"
        )
    for name, column in columns.items():
        if column is None:
            raise ValueError(f"this loss reads the column '{name}' of the rows: pass an integer tensor (N,)")
        if column.shape != features.shape[:1]:
            raise ValueError(
                f"'{name}' must have one entry for each of the {len(features)} rows, found {tuple(column.shape)}"
            )
    return features.to(torch.promote_types(features.dtype, torch.float32))
