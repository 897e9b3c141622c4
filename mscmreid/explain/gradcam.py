"""Grad-CAM of a similarity: which places of two images make a network call them alike.

Grad-CAM (Selvaraju et al., ICCV 2017) explains a class score; here the score is the cosine of two images' features, and
both images get a map. With the last feature map A (C, h, w) of an image and the similarity s, the map is

    relu(sum_c a_c A_c),    a_c = mean over the positions of ds / dA_c.

It shows where channels are strong that, taken as a whole, raise the similarity. It does not show what lowers it, nor
what two images are both without, and not that the place was needed. HiResCAM (arXiv 2011.08891) takes the
gradient of each place in the stead of a_c: for average and generalised-mean pooling the sum over all places, before
relu, then is the derivative of s along A, which Grad-CAM's is for average pooling alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mscmreid.structures import Rows


@dataclass(frozen=True)
class SimilarityMaps:
    """What makes P pairs of images alike.

    Attributes:
        similarity: (P,) cosines of their features.
        first, second: (P, h, w) maps of the two images, 0 to 1: divided by their largest value; all zero where no
            place raises the similarity.
    """

    similarity: Tensor
    first: Tensor
    second: Tensor


def similarity_maps(
    model: nn.Module,
    first: Tensor,
    first_modality: str,
    second: Tensor,
    second_modality: str,
    feature: str = "feat_bn",
    method: str = "gradcam",
) -> SimilarityMaps:
    """Grad-CAM or HiResCAM of the similarity of pairs of images.

    Args:
        model: a :class:`mscmreid.models.CrossModalReID` in eval mode, not folded and not compiled; its parameters are
            left as they are.
        first, second: (P, 3, H, W) normalised images; the n-th of the one is compared with the n-th of the other.
        first_modality, second_modality: 'visible' or 'infrared'.
        feature: name of the feature whose cosine is explained.
        method: 'gradcam' or 'hirescam', see the module's text.

    Raises:
        ValueError: an unknown method or feature, numbers of images that differ, a network with no map to explain.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, found {method!r}")
    if len(first) != len(second):
        raise ValueError(f"pairs need as many first as second images, found {len(first)} and {len(second)}")
    similarity, kept, gradient = similarity_gradient(
        model, torch.cat([first, second]), [first_modality] * len(first) + [second_modality] * len(second), feature
    )
    maps = scale(of_images(METHODS[method](kept.map, gradient), kept.rows).relu())
    return SimilarityMaps(similarity, *maps.split(len(first)))


@dataclass
class LastMap:
    """The last feature map of a network while images pass, and the record of its rows.

    Attributes:
        map: (N, C, h, w), a leaf of the graph of everything behind it.
        rows: one entry a row; a plugin may have made several of an image.
    """

    map: Tensor
    rows: Rows


def similarity_gradient(
    model: nn.Module, x: Tensor, modality: list[str], feature: str = "feat_bn"
) -> tuple[Tensor, LastMap, Tensor]:
    """Cosines of the pairs (n, n + P) of 2 P images, the last feature map, the cosines' gradient with respect to it.

    A pair's cosine depends on the rows of its own two images alone, so the gradient of the sum has that of each.

    Returns:
        (P,) similarities, the map (N, C, h, w) with its rows, (N, C, h, w) gradient.
    """
    net: Any = model
    with _parameters_as_constants(model), _last_map(model) as kept, torch.enable_grad():
        features = net.unit_features(*net.inference_batch(x, modality))
        if feature not in features:
            raise ValueError(f"the model's features are {', '.join(features)}; found {feature!r}")
        one, other = features[feature].chunk(2)
        similarity = (one * other).sum(1)
        (gradient,) = torch.autograd.grad(similarity.sum(), kept["leaf"])
    last = LastMap(_as_map(kept["leaf"].detach(), model), kept["rows"])
    return similarity.detach(), last, _as_map(gradient, model)


def gradcam(maps: Tensor, gradient: Tensor) -> Tensor:
    """(N, C, h, w) twice -> (N, h, w): the channels' sum, each times the mean of its gradient."""
    return (gradient.mean((2, 3), keepdim=True) * maps).sum(1)


def hirescam(maps: Tensor, gradient: Tensor) -> Tensor:
    """(N, C, h, w) twice -> (N, h, w): the channels' sum, each times its gradient at the place."""
    return (gradient * maps).sum(1)


METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(gradcam=gradcam, hirescam=hirescam)


def of_images(maps: Tensor, rows: Rows) -> Tensor:
    """(N, h, w) of rows -> (images, h, w): the sum over the rows of an image, in the order of ``rows.image``."""
    return maps.new_zeros(int(rows.image.max()) + 1, *maps.shape[1:]).index_add_(0, rows.image, maps)


def scale(maps: Tensor) -> Tensor:
    """(N, h, w), not negative -> each divided by its largest value; zeros stay zeros."""
    largest = maps.amax((1, 2), keepdim=True)
    return torch.where(largest > 0, maps / largest.clamp(min=torch.finfo(maps.dtype).tiny), 0.0)


def is_transformer(backbone: nn.Module) -> bool:
    """Whether a backbone has tokens on a grid in blocks with a layer norm and attention, as our transformer."""
    return hasattr(backbone, "layers") and hasattr(backbone, "grid")


@contextmanager
def _last_map(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Within it, the last map is cut off from what made it; ``leaf`` and ``rows`` of the last images are kept.

    A transformer's last patch tokens reach no feature: there it is the input of the last block's attention, behind its
    layer norm, (N, 1 + T, C).
    """
    kept: dict[str, Any] = {}
    backbone: Any = model.backbone

    def cut(value: Tensor) -> Tensor:
        kept["leaf"] = value.detach().requires_grad_()
        return kept["leaf"]

    def behind_backbone(module: nn.Module, inputs: Any, result: tuple[dict[str, Tensor], Rows]) -> Any:
        outputs, kept["rows"] = result
        if "map" in outputs:
            return {**outputs, "map": cut(outputs["map"])}, kept["rows"]
        if "leaf" not in kept:
            raise ValueError(
                f"{type(backbone).__name__} has neither a feature map nor tokens on a grid: there is no place to show"
            )
        return result

    handles = [backbone.register_forward_hook(behind_backbone)]
    if is_transformer(backbone):
        handles.append(backbone.layers[-1].norm1.register_forward_hook(lambda module, inputs, value: cut(value)))
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _as_map(value: Tensor, model: nn.Module) -> Tensor:
    """A map as it is; patch tokens (N, 1 + T, C) on their grid, without the class token."""
    if value.ndim == 4:
        return value
    return value[:, 1:].transpose(1, 2).unflatten(2, model.backbone.grid)  # type: ignore[union-attr, arg-type]


@contextmanager
def _parameters_as_constants(model: nn.Module) -> Iterator[None]:
    """No gradients of parameters within it."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
