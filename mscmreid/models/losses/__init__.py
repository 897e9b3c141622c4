"""Losses: registered modules around plain functions, one idea a file.

A loss names what it ``reads`` (outputs and columns) and is called with these values in this order: features (N, D) of
any float dtype, not normalised, and integer columns (N,) of :class:`mscmreid.structures.Rows`. The order of the rows
does not matter. Weights are the head's. A new one without parameters: a plain function, and a subclass of
:class:`MetricLoss` that says what the function reads. One with parameters or buffers: an ``nn.Module`` with ``reads``.
"""

from mscmreid.models.losses.batch_hard import BatchHardTripletLoss
from mscmreid.models.losses.circle import CircleLoss
from mscmreid.models.losses.cpm import CenterGuidedPairMining
from mscmreid.models.losses.cross_entropy import CrossEntropy
from mscmreid.models.losses.metric_loss import MetricLoss
from mscmreid.models.losses.mmd import DomainAlignment
from mscmreid.models.losses.orthogonality import BranchOrthogonality
from mscmreid.models.losses.qct import QuadrupleCenterTripletLoss
from mscmreid.models.losses.shared_space import DiscriminativeCenter, ModalitySharedEnhancement
from mscmreid.models.losses.teacher import OtherModalityTeacher
from mscmreid.models.losses.weighted_triplet import EnhancedSquaredDifference, WeightedRegularizedTriplet

__all__ = [
    "BatchHardTripletLoss",
    "BranchOrthogonality",
    "CenterGuidedPairMining",
    "CircleLoss",
    "CrossEntropy",
    "DiscriminativeCenter",
    "DomainAlignment",
    "EnhancedSquaredDifference",
    "MetricLoss",
    "ModalitySharedEnhancement",
    "OtherModalityTeacher",
    "QuadrupleCenterTripletLoss",
    "WeightedRegularizedTriplet",
]
