"""Hetero-center loss (Zhu et al., Neurocomputing 2020), with distances that are not squared."""

from torch import Tensor

from mscmreid.models.losses import MetricLoss
from mscmreid.models.losses.distances import mean_where, means_of, paired_distances, same
from mscmreid.registry import MODELS


def hetero_center(features: Tensor, label: Tensor, modality: Tensor) -> Tensor:
    """Mean over the rows of the distance between their class' two modality centres.

    Args:
        features: (N, D), fp32 or fp64.
        label, modality: (N,) integers.

    Returns:
        A scalar; a row whose class has no row of the other modality takes no part.
    """
    own, _ = means_of(features, same(label) & same(modality))  # (N, D)
    other, exists = means_of(features, same(label) & ~same(modality))  # (N, D), (N,)
    return mean_where(paired_distances(own, other), exists)


@MODELS.register_module()
class HeteroCenterLoss(MetricLoss):
    """Pulls the centres of a person's visible and infrared features together; see :func:`hetero_center`."""

    def __init__(self) -> None:
        super().__init__(hetero_center, reads=("feat_pool", "label", "modality"))
