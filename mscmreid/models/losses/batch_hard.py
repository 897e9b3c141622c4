"""Batch-hard triplet loss (Hermans et al., In Defense of the Triplet Loss, arXiv 1703.07737)."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from mscmreid.models.losses.distances import mean_by_modality, same, self_distances
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS


def batch_hard_triplet(features: Tensor, label: Tensor, margin: float) -> Tensor:
    """mean_i max(0, farthest positive - nearest negative + margin), a row counted as its own positive.

    A row without negatives counts as 0.

    Args:
        features: (N, D), fp32 or fp64.
        label: (N,) integers.
        margin: not negative.

    Returns:
        A scalar.
    """
    distances, same_class = self_distances(features), same(label)
    positive = torch.where(same_class, distances, 0.0).amax(1)
    negative = torch.where(same_class, math.inf, distances).amin(1)
    return (positive - negative + margin).relu().mean()


def batch_hard_triplet_within(features: Tensor, label: Tensor, modality: Tensor, margin: float) -> Tensor:
    """:func:`batch_hard_triplet` of the visible rows alone plus that of the infrared rows alone.

    A row whose modality has no other person counts as 0.

    Args:
        features, label, margin: as there.
        modality: (N,), 0 visible, 1 infrared; other rows take no part.
    """
    distances, own = self_distances(features), same(modality)
    same_class = same(label)
    positive = torch.where(same_class & own, distances, 0.0).amax(1)
    negative = torch.where(same_class | ~own, math.inf, distances).amin(1)
    hinge = (positive - negative + margin).relu()
    return mean_by_modality(hinge, modality)


@MODELS.register_module()
class BatchHardTripletLoss(MetricLoss):
    """Batch-hard triplet on un-normalised features of all modalities and streams; see :func:`batch_hard_triplet`.

    Args:
        margin: by how much the nearest negative must be farther than the farthest positive; not negative.
        within_modality: the sum of the visible rows' own triplet and the infrared rows' own, in place of one over all.
    """

    def __init__(self, margin: float = 0.3, within_modality: bool = False) -> None:
        if margin < 0:
            raise ValueError(f"expected margin >= 0, found {margin}")
        if within_modality:
            function = partial(batch_hard_triplet_within, margin=margin)
            super().__init__(function, reads=("feat_pool", "label", "modality"))
        else:
            super().__init__(partial(batch_hard_triplet, margin=margin), reads=("feat_pool", "label"))
