"""Circle loss (Sun et al., CVPR 2020, arXiv 2002.10857), over all pairs of a batch."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from mscmreid.models.losses.distances import same
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS


def circle_loss(features: Tensor, labels: Tensor, margin: float, scale: float, divide_by_rows: bool = False) -> Tensor:
    """mean_i softplus(L_i + M_i), by a margin m and a scale g::

        L_i = logsumexp_{j in P_i} of -g ap_ij (s_ij - (1 - m))
        M_i = logsumexp_{j in N_i} of  g an_ij (s_ij - m)

    s_ij is the cosine of rows i and j, P_i the other rows of i's class, N_i those of other classes; the weights
    ap = max(0, 1 + m - s) and an = max(0, s + m) have no gradient. A row without a positive or a negative counts as 0.

    Args:
        features: (N, D), fp32 or fp64.
        labels: (N,) integers.
        margin, scale: m and g.
        divide_by_rows: divide the mean by N once more.

    Returns:
        A scalar.
    """
    unit = F.normalize(features, dim=1)
    s = unit @ unit.T  # (N, N)
    same_class = same(labels)
    itself = torch.eye(len(s), dtype=torch.bool, device=s.device)
    fixed = s.detach()
    positive = -scale * (1 + margin - fixed).clamp_min(0) * (s - (1 - margin))
    negative = scale * (fixed + margin).clamp_min(0) * (s - margin)
    positive = torch.where(same_class & ~itself, positive, -math.inf).logsumexp(1)  # (N,)
    negative = torch.where(same_class, -math.inf, negative).logsumexp(1)  # (N,)
    loss = F.softplus(positive + negative).mean()
    return loss / len(features) if divide_by_rows else loss


@MODELS.register_module()
class CircleLoss(MetricLoss):
    """Circle loss on the cosines of features of all modalities; see :func:`circle_loss`.

    Args:
        margin: m, in (0, 1).
        scale: factor of the exponents, positive.
        divide_by_rows: divide the mean over the batch's rows by their number once more, as DNS's release does.
    """

    def __init__(self, margin: float = 0.45, scale: float = 64.0, divide_by_rows: bool = False) -> None:
        if not 0 < margin < 1 or scale <= 0:
            raise ValueError(f"CircleLoss expects 0 < margin < 1 and scale > 0, found {margin} and {scale}")
        function = partial(circle_loss, margin=margin, scale=scale, divide_by_rows=divide_by_rows)
        super().__init__(function, reads=("feat_bn", "label"))
