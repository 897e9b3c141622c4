"""Cross entropy of the classifier's logits."""

from __future__ import annotations

from functools import partial

from torch import Tensor
from torch.nn import functional as F

from mscmreid.models.losses.distances import mean_by_modality
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS


def cross_entropy_by_modality(logits: Tensor, label: Tensor, modality: Tensor, label_smoothing: float) -> Tensor:
    """The visible rows' mean cross entropy plus the infrared rows'; (N, C), (N,), (N,) -> a scalar.

    A modality without rows counts as 0; rows of neither take no part.
    """
    losses = F.cross_entropy(logits, label, label_smoothing=label_smoothing, reduction="none")
    return mean_by_modality(losses, modality)


@MODELS.register_module()
class CrossEntropy(MetricLoss):
    """Cross entropy, mean over the rows, in fp32.

    Args:
        label_smoothing: share of the target that is spread over all classes (none in the published systems).
        by_modality: the visible rows' mean and the infrared rows' mean, added (PMT): twice a balanced batch's mean.
    """

    def __init__(self, label_smoothing: float = 0.0, by_modality: bool = False) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"expected label_smoothing from 0 to below 1, found {label_smoothing}")
        if by_modality:
            both = partial(cross_entropy_by_modality, label_smoothing=label_smoothing)
            super().__init__(both, reads=("logits", "label", "modality"), gathers=False)
            return
        function = partial(F.cross_entropy, label_smoothing=label_smoothing)
        super().__init__(function, reads=("logits", "label"), gathers=False)
