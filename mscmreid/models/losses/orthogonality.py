"""Orthogonality of expanded branches (Zhang and Wang, DEEN, CVPR 2023, arXiv 2303.14481)."""

from __future__ import annotations

import torch
from torch import Tensor

from mscmreid.models.losses.distances import same
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS


def branch_orthogonality(features: Tensor, stream: Tensor, branch: Tensor, image: Tensor) -> Tensor:
    """Inner products of the expanded branches of each image, summed, divided by the number of rows.

    Two rows make a pair if they come from the same image in the same stream and from different expanded branches
    (numbered from 1; plain rows, 0, take no part). Two branches: one pair an image; more: all pairs of branches.

    Args:
        features: (N, D), fp32 or fp64.
        stream, branch, image: (N,) integers.

    Returns:
        A scalar: sum of the pairs' inner products / N.
    """
    pairs = same(image) & same(stream) & (branch[:, None] < branch[None, :]) & (branch > 0)[:, None]
    return torch.where(pairs, features @ features.T, 0.0).sum() / len(features)


@MODELS.register_module()
class BranchOrthogonality(MetricLoss):
    """Keeps the expanded branches of an image apart; see :func:`branch_orthogonality`. DEEN: weight 0.01."""

    def __init__(self) -> None:
        super().__init__(branch_orthogonality, reads=("feat_pool", "stream", "branch", "image"))
