"""How a plain function of features and columns becomes a metric loss that the head can call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mscmreid.models.precision import full_precision


class MetricLoss(nn.Module):
    """Calls a function with the features in fp32 and the columns it reads, outside mixed precision.

    Args:
        function: (features (N, D) fp32 or fp64, *columns (N,)) -> scalar.
        reads: the columns that the function takes after the features, in its order: some of 'labels', 'modality',
            'stream', 'branch' and 'image'.
    """

    def __init__(self, function: Callable[..., Tensor], reads: tuple[str, ...]) -> None:
        super().__init__()
        self.function = function
        self.reads = reads

    def forward(
        self,
        features: Tensor,
        labels: Tensor,
        modality: Tensor,
        stream: Tensor,
        branch: Tensor | None = None,
        image: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Args:
            features: (N, D), any floating dtype, not normalised.
            labels, modality, stream, branch, image: (N,) integers, the columns of
                :class:`mscmreid.structures.Rows`; those that the loss does not read are not looked at.

        Returns:
            A scalar, fp32 (float64 for float64 features).

        Raises:
            ValueError: features are no float matrix or empty; a column that is read is missing or of another length.
        """
        columns = dict(labels=labels, modality=modality, stream=stream, branch=branch, image=image)
        if features.ndim != 2 or not features.is_floating_point() or len(features) == 0:
            raise ValueError(
                f"{type(self).__name__} expects float features (N, D) with N > 0, found {tuple(features.shape)} "
                f"{features.dtype}"
            )
        for name in self.reads:
            column = columns[name]
            if column is None:
                raise ValueError(f"{type(self).__name__} reads the column '{name}': pass an integer tensor (N,)")
            if column.shape != features.shape[:1]:
                raise ValueError(
                    f"{type(self).__name__}: '{name}' must have one entry for each of the {len(features)} rows, found "
                    f"{tuple(column.shape)}"
                )
        with full_precision(features):
            features = features.to(torch.promote_types(features.dtype, torch.float32))
            return self.function(features, *(columns[name] for name in self.reads))

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in getattr(self.function, "keywords", {}).items())
