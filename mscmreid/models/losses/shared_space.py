"""PMT's losses of a space that both modalities share (Lu et al., AAAI 2023, arXiv 2212.00226): MSEL and DCL."""

from __future__ import annotations

import torch
from torch import Tensor

from mscmreid.models.losses.distances import (
    mean_by_modality,
    mean_where,
    means_of,
    paired_distances,
    pairwise_distances,
    same,
    self_distances,
)
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS


def modality_shared_enhancement(features: Tensor, label: Tensor, modality: Tensor) -> Tensor:
    """1/2 [mean over visible rows + mean over infrared rows] of (c_i - o_i)^2.

    c_i is row i's mean distance to the rows of its person in the other modality, o_i that to the other rows of its
    person in its own. A row without one of the two takes no part; a modality without rows counts as 0.

    Args:
        features: (N, D), fp32 or fp64.
        label: (N,) integers.
        modality: (N,), 0 visible, 1 infrared; other rows take no part.

    Returns:
        A scalar.
    """
    distances, person, own = self_distances(features), same(label), same(modality)
    itself = torch.eye(len(label), dtype=torch.bool, device=label.device)
    known = (modality == 0) | (modality == 1)
    to_other, to_own = person & ~own & known, person & own & ~itself
    gap = mean_where(distances, to_other, dim=1) - mean_where(distances, to_own, dim=1)
    exists = to_other.any(1) & to_own.any(1)
    return mean_by_modality(gap * gap, modality, exists) / 2


def discriminative_center(features: Tensor, label: Tensor) -> Tensor:
    """Mean distance of the rows to their person's centre over the persons' mean distance to near other rows.

    The centre of a person is the mean of all its rows. Near are those rows of others whose distance to it is less than
    the mean over all rows of others (all of them, should none be); this choice has no gradient. One quotient of two
    means over the batch.

    Args:
        features: (N, D), fp32 or fp64.
        label: (N,) integers, of two persons or more (with one the value is 0).

    Returns:
        A scalar.
    """
    person = same(label)
    centers, _ = means_of(features, person)  # (N, D), each person's as often as it has rows
    distances = pairwise_distances(centers, features)
    average = mean_where(distances, ~person, dim=1).detach()
    near = ~person & (distances < average[:, None])
    near = torch.where(near.any(1, keepdim=True), near, ~person)
    share = 1 / person.sum(1).to(features.dtype)  # the rows of a person share its weight 1
    to_others = (share * mean_where(distances, near, dim=1)).sum() / share.sum()
    to_own = paired_distances(centers, features).mean()
    alone = person.all()
    return torch.where(alone, 0.0, to_own) / torch.where(alone, 1.0, to_others)


@MODELS.register_module()
class ModalitySharedEnhancement(MetricLoss):
    """MSEL on un-normalised features; see :func:`modality_shared_enhancement`."""

    def __init__(self) -> None:
        super().__init__(modality_shared_enhancement, reads=("feat_pool", "label", "modality"))


@MODELS.register_module()
class DiscriminativeCenter(MetricLoss):
    """DCL on un-normalised features of all modalities; see :func:`discriminative_center`."""

    def __init__(self) -> None:
        super().__init__(discriminative_center, reads=("feat_pool", "label"))
