"""Weighted triplets: AGW's weighted regularised triplet (WRT) and CAJ's enhanced squared difference (ESD).

Sources: Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook (arXiv 2001.04193); Ye et al.,
Channel Augmented Joint Learning for Visible-Infrared Recognition (ICCV 2021); constants as in their released code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mscmreid.models.losses.distances import same, self_distances
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS

MAX_SQUARED_GAP = 88.0
"""ESD's squares are cut here: exp(88) is near the end of fp32."""


def weighted_gap(features: Tensor, label: Tensor) -> Tensor:
    """f_i - c_i, weighted positive less weighted negative distance of every row.

    With distances D, positives P_i (i among them) and negatives N_i::

        f_i = sum_P w+ D,  w+_ij = exp(D_ij - max_P D_i) / (sum_P exp(D_ij - max_P D_i) + 1e-6)
        c_i = sum_N w- D,  w-_ij = exp(-D_ij) / (sum_N exp(-D_ij) + 1e-6)

    The negatives' exponents are not shifted, as in the published training: far negatives lose weight to the 1e-6, and
    c_i tends to 0 for a row that has none at all. Exponents are masked before exp, so a negative however far beyond
    the farthest positive gives no overflow.

    Args:
        features: (N, D), fp32 or fp64.
        label: (N,) integers.

    Returns:
        (N,).
    """
    distances, same_class = self_distances(features), same(label)
    farthest = torch.where(same_class, distances, 0.0).amax(1, keepdim=True)
    far = _weighted_sum(distances, distances - farthest, same_class)
    near = _weighted_sum(distances, -distances, ~same_class)
    return far - near


def _weighted_sum(distances: Tensor, exponents: Tensor, mask: Tensor) -> Tensor:
    weights = torch.where(mask, exponents, -math.inf).exp()
    return (weights * distances).sum(1) / (weights.sum(1) + 1e-6)


def weighted_regularized_triplet(features: Tensor, label: Tensor) -> Tensor:
    """mean_i log(1 + exp(f_i - c_i)); arguments as :func:`weighted_gap`."""
    return nn.functional.softplus(weighted_gap(features, label)).mean()


def enhanced_squared_difference(features: Tensor, label: Tensor) -> Tensor:
    """mean_i log(1 + exp(+-min((f_i - c_i)^2, 88))), + where f_i > c_i, else -; arguments as :func:`weighted_gap`."""
    gap = weighted_gap(features, label)
    square = (gap * gap).clamp_max(MAX_SQUARED_GAP)
    return nn.functional.softplus(torch.where(gap > 0, square, -square)).mean()


@MODELS.register_module()
class WeightedRegularizedTriplet(MetricLoss):
    """AGW's WRT on un-normalised features; see :func:`weighted_regularized_triplet`. It has no margin."""

    def __init__(self) -> None:
        super().__init__(weighted_regularized_triplet, reads=("feat_pool", "label"))


@MODELS.register_module()
class EnhancedSquaredDifference(MetricLoss):
    """CAJ's ESD on un-normalised features; see :func:`enhanced_squared_difference`. It has no margin."""

    def __init__(self) -> None:
        super().__init__(enhanced_squared_difference, reads=("feat_pool", "label"))
