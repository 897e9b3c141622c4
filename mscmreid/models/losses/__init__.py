"""Metric losses: registered modules around plain functions, one idea a file.

All are called ``loss(features, labels, modality, stream, branch=None, image=None) -> scalar``: features (N, D) of any
float dtype, not normalised, computed in fp32, and integer columns (N,) of :class:`mscmreid.structures.Rows`. The
order of the rows does not matter. Weights are the head's. A new one: a plain function, and a subclass of
:class:`MetricLoss` that says which columns the function reads.
"""

from mscmreid.models.losses.batch_hard import BatchHardTripletLoss
from mscmreid.models.losses.cpm import CenterGuidedPairMining
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.models.losses.orthogonality import BranchOrthogonality
from mscmreid.models.losses.qct import QuadrupleCenterTripletLoss
from mscmreid.models.losses.weighted_triplet import EnhancedSquaredDifference, WeightedRegularizedTriplet

__all__ = [
    "BatchHardTripletLoss",
    "BranchOrthogonality",
    "CenterGuidedPairMining",
    "EnhancedSquaredDifference",
    "MetricLoss",
    "QuadrupleCenterTripletLoss",
    "WeightedRegularizedTriplet",
]
