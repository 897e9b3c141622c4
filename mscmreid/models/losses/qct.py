"""Quadruple center triplet loss (QCT) of MSCMNet (Pattern Recognition 159, 111090; arXiv 2311.14395)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from mscmreid.models.losses.distances import distances_to_means, mean_where, means_of, paired_distances, same
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS


def quadruple_center_triplet(
    features: Tensor, label: Tensor, modality: Tensor, stream: Tensor, margin: float, alpha: float
) -> Tensor:
    """Pull features to class centres, push them off the centres of other classes.

    With c_cross(i) the mean of class y_i in the other modality, c_own(i) its mean in i's own stream and c_all(j) the
    mean of class y_j over all rows::

        1/2 [ (1-a) mean_i ||f_i - c_cross(i)|| + a mean_i ||f_i - c_own(i)||
              + mean_i mean_{j: y_j != y_i} max(0, m - ||f_i - c_all(j)||) ]

    A row whose class has no row of the other modality takes no part in the first mean (0 if that is so for all), a row
    without any row of another class none in the last.

    Args:
        features: (N, D), fp32 or fp64.
        label, modality, stream: (N,) integers.
        margin: m.
        alpha: a, from 0 to 1.

    Returns:
        A scalar.
    """
    same_class = same(label)
    pull = features.new_zeros(())
    if alpha < 1:
        center, exists = means_of(features, same_class & ~same(modality))
        pull = torch.add(pull, mean_where(paired_distances(features, center), exists), alpha=1 - alpha)
    if alpha > 0:
        center, exists = means_of(features, same_class & same(stream))
        pull = torch.add(pull, mean_where(paired_distances(features, center), exists), alpha=alpha)
    hinge = (margin - distances_to_means(features, same_class)).relu()  # (N, N), column j: centre of y_j
    push = mean_where(mean_where(hinge, ~same_class, dim=1), (~same_class).any(1))
    return (pull + push) / 2


@MODELS.register_module()
class QuadrupleCenterTripletLoss(MetricLoss):
    """QCT on un-normalised features; see :func:`quadruple_center_triplet`. MSCMNet: margin 0.7, alpha 0.

    Args:
        margin: distance under which a centre of another class pushes; not negative.
        alpha: share of the pull to the centre of the row's own stream; the rest goes to the other modality's.
    """

    def __init__(self, margin: float = 0.7, alpha: float = 0.0) -> None:
        if margin < 0 or not 0 <= alpha <= 1:
            raise ValueError(f"expected margin >= 0 and alpha from 0 to 1, found margin={margin}, alpha={alpha}")
        function = partial(quadruple_center_triplet, margin=margin, alpha=alpha)
        super().__init__(function, reads=("feat_pool", "label", "modality", "stream"))
