"""How a plain function of features and columns becomes a loss that the head can call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mscmreid.models.precision import full_precision


class MetricLoss(nn.Module):
    """Calls a function with the features in fp32 and the columns it reads, outside mixed precision.

    Args:
        function: (features (N, D) fp32 or fp64, *others (N, ...)) -> scalar.
        reads: the outputs and columns that the function takes, in its order: features first, such as ``('feat_pool',
            'label', 'modality')``.
        gathers: called with the rows of all processes; otherwise with this process's, whose losses' mean is then that
            of all rows.
    """

    def __init__(self, function: Callable[..., Tensor], reads: tuple[str, ...], gathers: bool = True) -> None:
        super().__init__()
        self.function = function
        self.reads = reads
        self.gathers = gathers

    def forward(self, *values: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            values: what ``reads`` names, in its order: features (N, D) of any floating dtype, not normalised, then
                columns (N,) and other outputs (N, ...).

        Returns:
            A scalar, fp32 (float64 for float64 features).

        Raises:
            ValueError: another number of values; the features are no float matrix or empty; a value has not one entry
                a row.
        """
        if len(values) != len(self.reads):
            raise ValueError(f"{type(self).__name__} reads {self.reads}, found {len(values)} values")
        features = values[0]
        if features.ndim != 2 or not features.is_floating_point() or len(features) == 0:
            raise ValueError(
                f"{type(self).__name__} expects float features (N, D) with N > 0, found {tuple(features.shape)} "
                f"{features.dtype}"
            )
        for name, value in zip(self.reads, values, strict=True):
            if value.shape[:1] != features.shape[:1]:
                raise ValueError(
                    f"{type(self).__name__}: '{name}' must have one entry for each of the {len(features)} rows, found "
                    f"{tuple(value.shape)}"
                )
        with full_precision(features):
            return self.function(*[_at_least_fp32(value) for value in values])

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in getattr(self.function, "keywords", {}).items())


def _at_least_fp32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x
