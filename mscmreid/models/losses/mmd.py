"""Maximum mean discrepancy between groups of a batch's rows (Gretton et al., JMLR 2012), as DNS uses it (ECCV 2024)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from mscmreid.models.losses.distances import squared_self_distances
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.registry import MODELS

NUM_KERNELS = 5


def mmd(squared_distances: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """mean k over pairs within ``first`` + within ``second`` - 2 x mean k over pairs across, diagonals included.

    k_ij = sum_{q=0..4} exp(-D_ij / (2^q w)), where w is a quarter of the mean of D over the pairs of two different rows
    of both groups together, without gradient. 0 where all these rows are equal, or a group is empty.

    Args:
        squared_distances: D (N, N), fp32 or fp64, 0 on the diagonal.
        first, second: which rows make the groups: (..., N) booleans, never both.

    Returns:
        (...): a scalar for one pair of groups.
    """
    groups = torch.stack([first, second]).to(squared_distances)  # (2, ..., N)
    takes_part, sizes = groups.sum(0), groups.sum(-1, keepdim=True)
    n = takes_part.sum(-1)
    total = (takes_part @ squared_distances.detach() * takes_part).sum(-1)
    bandwidth = total / (n * n - n).clamp_min(1) / 4
    bandwidth = torch.where(bandwidth > 0, bandwidth, 1.0)
    widths = bandwidth[..., None] * torch.arange(NUM_KERNELS, dtype=n.dtype, device=n.device).exp2()  # (..., 5)
    kernel = torch.exp(-squared_distances / widths[..., None, None]).sum(-3)  # (..., N, N)
    weights = (groups[0] * sizes[1] - groups[1] * sizes[0]) / sizes.prod(0).clamp_min(1)  # (..., N)
    return (weights[..., None, :] @ kernel @ weights[..., :, None])[..., 0, 0]


def modality_discrepancy(features: Tensor, modality: Tensor) -> Tensor:
    """MMD between the visible and the infrared rows, scaled to unit length.

    Args:
        features: (N, D), fp32 or fp64, not normalised.
        modality: (N,) integers, 0 visible, 1 infrared; rows of another one take no part.

    Returns:
        A scalar.
    """
    distances = squared_self_distances(F.normalize(features, dim=1))
    return mmd(distances, modality == 0, modality == 1)


def domain_alignment(
    features: Tensor, shifted: Tensor, modality: Tensor, cross_weight: float = 0.45, shift_weight: float = 0.05
) -> Tensor:
    """DNS's DA: the modalities together in both spaces, and the spaces in each modality, on unit rows z and z'::

        cross_weight [MMD(z_V, z_I) + MMD(z'_V, z'_I)] + shift_weight [MMD(z_V, z'_V) + MMD(z_I, z'_I)]

    Args:
        features, shifted: z and z' of the same rows, (N, D) each, fp32 or fp64, not normalised.
        modality: as in :func:`modality_discrepancy`.
        cross_weight, shift_weight: see above.

    Returns:
        A scalar.
    """
    both = F.normalize(torch.cat([features, shifted]), dim=1)  # (2N, D)
    distances = squared_self_distances(both)
    plain = torch.arange(len(both), device=both.device) < len(features)
    modality = torch.cat([modality, modality])
    visible, infrared = modality == 0, modality == 1
    z_v, z_i, s_v, s_i = plain & visible, plain & infrared, ~plain & visible, ~plain & infrared
    pairs = mmd(distances, torch.stack([z_v, s_v, z_v, z_i]), torch.stack([z_i, s_i, s_v, s_i]))
    cross, shift = pairs.unflatten(0, (2, 2)).sum(1).unbind()
    return cross_weight * cross + shift_weight * shift


@MODELS.register_module()
class DomainAlignment(MetricLoss):
    """MMD between the modalities, in one space of features or two; see :func:`domain_alignment`.

    Args:
        shifted: the output that holds the second space's features; None: there is one space, and the loss is
            ``cross_weight`` x :func:`modality_discrepancy`.
        cross_weight: of the MMD between the modalities.
        shift_weight: of the MMD between the spaces.
    """

    def __init__(
        self, shifted: str | None = "feat_shifted", cross_weight: float = 0.45, shift_weight: float = 0.05
    ) -> None:
        if shifted is None:
            super().__init__(lambda f, m: cross_weight * modality_discrepancy(f, m), reads=("feat_pool", "modality"))
        else:
            function = partial(domain_alignment, cross_weight=cross_weight, shift_weight=shift_weight)
            super().__init__(function, reads=("feat_pool", shifted, "modality"))
