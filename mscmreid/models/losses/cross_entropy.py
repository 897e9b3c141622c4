"""Cross entropy of the classifier's logits."""

from __future__ import annotations

from functools import partial

from torch.nn import functional as F

from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS


@MODELS.register_module()
class CrossEntropy(MetricLoss):
    """Cross entropy, mean over the rows, in fp32.

    Args:
        label_smoothing: share of the target that is spread over all classes (none in the published systems).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"expected label_smoothing from 0 to below 1, found {label_smoothing}")
        function = partial(F.cross_entropy, label_smoothing=label_smoothing)
        super().__init__(function, reads=("logits", "label"), gathers=False)
