"""Distances and class means that the metric losses share; no loop over rows or classes, no host synchronisation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_SQUARED_DISTANCE = 1e-12
"""Squared distances are raised to this before the root, so that equal points have a finite (zero) gradient."""


def _root(squared: Tensor) -> Tensor:
    return F.threshold(squared, MIN_SQUARED_DISTANCE, MIN_SQUARED_DISTANCE).sqrt()


def paired_distances(x: Tensor, y: Tensor) -> Tensor:
    """||x_i - y_i||: (..., N, D), (..., N, D) -> (..., N), at least 1e-6."""
    difference = x - y
    return _root((difference * difference).sum(-1))


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    # A shift changes no distance and no gradient, but without the common mean the expansion below cancels less.
    shift = x.mean(-2, keepdim=True).detach()
    x, y = x - shift, y - shift
    norms = (x * x).sum(-1)[..., :, None] + (y * y).sum(-1)[..., None, :]
    return torch.sub(norms, x @ y.mT, alpha=2)


def pairwise_distances(x: Tensor, y: Tensor) -> Tensor:
    """||x_i - y_j||: (..., N, D), (..., M, D) -> (..., N, M), at least 1e-6."""
    return _root(_squared_distances(x, y))


def squared_self_distances(x: Tensor) -> Tensor:
    """||x_i - x_j||^2: (N, D) -> (N, N), up to rounding (so it may be a little below 0); the diagonal is exactly 0."""
    diagonal = torch.eye(len(x), dtype=torch.bool, device=x.device)
    return torch.where(diagonal, 0.0, _squared_distances(x, x))


def self_distances(x: Tensor) -> Tensor:
    """||x_i - x_j||: (N, D) -> (N, N); the diagonal is exactly 1e-6 and has no gradient."""
    return _root(squared_self_distances(x))


def same(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Which entries agree: (N,), (M,) -> bool (N, M); ``y`` is ``x`` if not given."""
    return x[:, None] == (x if y is None else y)[None, :]


def _mean_weights(members: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    ones = members.to(dtype)
    return ones / ones.sum(-1, keepdim=True).clamp_min(1), members.any(-1)


def means_of(features: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the features that each line of a mask selects.

    Args:
        features: (N, D).
        members: bool (..., M, N); line i says which rows make mean i.

    Returns:
        Means (..., M, D), and bool (..., M): which of them have a member. A mean without members is zero.
    """
    weights, exists = _mean_weights(members, features.dtype)
    return weights @ features, exists


def distances_to_means(x: Tensor, members: Tensor) -> Tensor:
    """||x_i - mean_j||, mean_j over the rows that line j of a mask selects (at least one), at least 1e-6.

    The same as ``pairwise_distances(x, means_of(x, members)[0])``, from the rows' inner products alone: one product
    of size D instead of two.

    Args:
        x: (N, D).
        members: bool (M, N).

    Returns:
        (N, M).
    """
    x = x - x.mean(0).detach()  # as in _squared_distances
    products = x @ x.T  # <x_i, x_k>
    weights, _ = _mean_weights(members, x.dtype)
    with_means = products @ weights.T  # <x_i, mean_j>
    mean_norms = (weights * with_means.T).sum(1)  # <mean_j, mean_j>
    return _root(torch.sub(products.diagonal()[:, None], with_means, alpha=2) + mean_norms[None, :])


def mean_where(values: Tensor, valid: Tensor, dim: int = 0) -> Tensor:
    """Mean along ``dim`` over the valid entries; 0 (with zero gradient) where there are none.

    Args:
        values: any shape; may hold infinities where not valid.
        valid: bool, the same shape, or one that ``values`` can be broadcast to.
        dim: the dimension that goes.
    """
    total = torch.where(valid, values, 0.0).sum(dim)
    return total / valid.sum(dim, dtype=total.dtype).clamp_min(1)


def mean_by_modality(values: Tensor, modality: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean over the visible rows plus mean over the infrared rows, of those that are valid; (N,), (N,) -> a scalar.

    A modality without rows counts as 0; rows of neither take no part.
    """
    members = torch.stack([modality == 0, modality == 1])
    return mean_where(values, members if valid is None else members & valid, dim=1).sum()
