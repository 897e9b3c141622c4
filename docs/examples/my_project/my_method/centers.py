"""A pull towards the slowly moving centre of the same person in the other modality."""

import torch
from torch import Tensor, nn

from mscmreid.models.losses.distances import means_of, paired_distances
from mscmreid.models.precision import full_precision
from mscmreid.registry import MODELS


@MODELS.register_module()
class SlowCenterLoss(nn.Module):
    """Mean distance of the features to their person's centre in the other modality, a moving average over batches.

    Args:
        in_channels, num_classes: size of the features and number of people; the head knows both.
        momentum: share of the old centre in the new one.
        begin: epoch from which on it counts; centres are followed before that, too.
    """

    reads = ("feat_bn", "label", "modality")

    def __init__(self, in_channels: int, num_classes: int, momentum: float = 0.9, begin: int = 0) -> None:
        super().__init__()
        self.momentum, self.begin = momentum, begin
        self.register_buffer("centers", torch.zeros(2 * num_classes, in_channels))
        self.register_buffer("factor", torch.zeros(()), persistent=False)

    def set_iteration(self, iteration: int, epoch: int) -> None:
        """Called before each iteration."""
        self.factor.fill_(epoch >= self.begin)

    def forward(self, features: Tensor, label: Tensor, modality: Tensor) -> Tensor:
        """(N, D), (N,), (N,) of all processes -> a scalar."""
        num_classes = len(self.centers) // 2
        with full_precision(features):
            features = features.float()
            if self.training:
                center = torch.arange(len(self.centers), device=label.device)[:, None]  # visible ones, infrared ones
                means, exists = means_of(features.detach(), center == modality * num_classes + label)
                moved = torch.lerp(means, self.centers, self.momentum)
                self.centers.copy_(torch.where(exists[:, None], moved, self.centers))
            other = self.centers[(1 - modality) * num_classes + label].clone()  # (N, D)
            return self.factor * paired_distances(features, other).mean()
