"""Center-guided pair mining (Zhang and Wang, DEEN, CVPR 2023, arXiv 2303.14481)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mscmreid.models.losses.distances import means_of, paired_distances, pairwise_distances, same
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS


def center_guided_pair_mining(
    features: Tensor, label: Tensor, side: Tensor, expansion: Tensor, margin: float
) -> Tensor:
    """CPM between the plain rows and every expansion of them, summed over the expansions.

    Four groups of rows: 1 and 2 are the plain rows (expansion 0) of side 0 and 1, 3 and 4 the rows of one expansion
    of side 0 and 1. With c_g(y) the mean of class y in group g, d_ab = ||c_a(y) - c_b(y)||, n_a(y) the distance from
    c_a(y) to the nearest other class' centre in group a, h(neg, pos) = mean over classes of max(0, pos - neg + m) and
    sg the stop of the gradient::

        L_123 = h(sg d_13, d_23) + 1/2 [h(n_3, d_23) + h(n_1, d_23)]
        L_124 = h(sg d_24, d_14) + 1/2 [h(n_4, d_14) + h(n_2, d_14)]
        CPM = (L_123 + L_124) / 2

    A class takes part in an h where all the centres it needs exist; an h without classes is 0.

    Args:
        features: (N, D), fp32 or fp64.
        label: (N,) integers.
        side: (N,) integers, 0 or 1: the modality.
        expansion: (N,) integers: 0 plain, 1, 2, ... expansions, negative: a row that takes no part.
        margin: m.

    Returns:
        A scalar.
    """
    same_class, same_expansion = same(label), same(expansion)
    plain, expanded = expansion == 0, expansion > 0

    # Everything below is per row i of an expansion and stands for the class y_i there.
    of_side = torch.stack([side == 0, side == 1])[:, None]  # (2, 1, N)
    members = torch.cat([same_class & plain & of_side, same_class & same_expansion & of_side])  # (4, N, N): 1 to 4
    centers, exists = means_of(features, members)  # (4, N, D), (4, N)
    between = paired_distances(centers[:2], centers[2:, None])  # (2, 2, N)
    d13, d23, d14, d24 = between.flatten(0, 1).unbind()
    others = exists[:, None] & ~same_class
    others = torch.cat([others[:2], others[2:] & same_expansion])  # (4, N, N)
    nearest = torch.where(others, pairwise_distances(centers, centers), math.inf).amin(2)  # (4, N)
    near_plain, near_expanded = nearest.unflatten(0, (2, 2)).unbind()  # (2, N) each: n1 and n2, n3 and n4

    # L_123 and L_124 side by side, in each its three h.
    positive = torch.stack([d23, d14])  # (2, N)
    negative = torch.stack([torch.stack([d13, d24]).detach(), near_expanded, near_plain])  # (3, 2, N)
    take_part = exists[0] & exists[1] & exists[2:] & negative.isfinite()
    # The rows of a class in an expansion share its weight 1.
    share = expanded / (same_class & same_expansion).sum(1, dtype=features.dtype)
    weight = torch.where(take_part, share, 0.0)
    num_classes = weight @ same_expansion.to(weight.dtype)  # of the row's expansion
    # num_classes is 0 only where weight is, too
    hinges = weight / num_classes.clamp_min(0.5) * (positive - negative + margin).relu()
    first, second, third = hinges.sum((1, 2)).unbind()
    return (first + (second + third) / 2) / 2


def pair_mining_of_streams(
    features: Tensor, label: Tensor, stream: Tensor, streams: tuple[int, ...], margin: float
) -> Tensor:
    """CPM with four streams as its groups 1 to 4; rows of other streams take no part.

    Args:
        features, label, margin: as in :func:`center_guided_pair_mining`.
        stream: (N,) integers.
        streams: the four.

    Returns:
        A scalar.
    """
    first, second, third, fourth = streams
    side = ((stream == second) | (stream == fourth)).long()
    is_plain, is_expanded = (stream == first) | (stream == second), (stream == third) | (stream == fourth)
    expansion = torch.where(is_expanded, 1, torch.where(is_plain, 0, -1))
    return center_guided_pair_mining(features, label, side, expansion, margin)


@MODELS.register_module()
class CenterGuidedPairMining(MetricLoss):
    """CPM on un-normalised features; see :func:`center_guided_pair_mining`. It reads ``branch`` or ``stream``.

    ``groups`` says what the four groups are:

    - ``'branch'`` (DEEN): plain visible, plain infrared, visible and infrared of an expanded branch; the loss is the
      sum over all expanded branches in the batch (0 without any).
    - four stream indices (systems with two views of each modality instead of branches): the streams that are plain
      visible, plain infrared, second visible and second infrared, e.g. ``(0, 2, 1, 3)`` where the views are listed as
      visible 1, visible 2, infrared 1, infrared 2. Rows of other streams take no part.

    Args:
        margin: m; not negative. DEEN: 0.2.
        groups: ``'branch'`` or four different stream indices.
    """

    def __init__(self, margin: float = 0.2, groups: str | Sequence[int] = "branch") -> None:
        if margin < 0:
            raise ValueError(f"expected margin >= 0, found {margin}")
        if groups != "branch" and (isinstance(groups, str) or len(groups) != 4 or len(set(groups)) != 4):
            raise ValueError(f"expected groups='branch' or four different stream indices, found {groups!r}")
        if isinstance(groups, str):
            function = partial(center_guided_pair_mining, margin=margin)
            super().__init__(function, reads=("feat_pool", "label", "modality", "branch"))
        else:
            function = partial(pair_mining_of_streams, streams=tuple(groups), margin=margin)
            super().__init__(function, reads=("feat_pool", "label", "stream"))
