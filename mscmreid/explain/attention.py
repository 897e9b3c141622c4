"""What the attention inside a network reads or writes, by position.

Attention weights say where a block takes its input from, not that the answer hangs on it: layers behind may undo it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mscmreid.explain.gradcam import is_transformer, scale
from mscmreid.models.plugins.hss import HSS
from mscmreid.models.plugins.mimb import MIMB
from mscmreid.models.plugins.nonlocal_block import NonLocal


@torch.no_grad()
def attention_maps(
    model: nn.Module, x: Tensor, modality: str, position: tuple[float, float] | None = None
) -> dict[str, Tensor]:
    """Maps of the attention in a network, by a name that says where.

    - a non-local block (``non_local stage3_block5``): position n adds w(m, n) g(n) to position m; the map has
      |w(m, n)| |g(n)|, of one m or the mean over all of them. The weights are not a softmax and may be negative.
      With one channel inside (AGW, CAJ) all m have one map.
    - MIMB (``mimb stem``, ...): its attention is between channels, over the positions of all of them, so that no
      position looks at another; the map is how much each scale writes at each position (root mean square over the
      channels of what the attention adds).
    - HSS (``hss stage4``): the factor of each position, mean over the channels.
    - a transformer: how much the class token reads from each patch, mean over the heads: ``class token, last block``,
      and ``class token, rollout`` through all blocks (attention rollout, Abnar and Zuidema, ACL 2020).

    Args:
        model: in eval mode.
        x: (N, 3, H, W) normalised images.
        modality: of all of them.
        position: (down, right), 0 to 1, the place that the non-local blocks are asked for; None: the mean over all.

    Returns:
        Name -> (N, h, w), 0 to 1: divided by the largest value of each image. Empty where a network has no such part.
    """
    if position is not None and not all(0 <= share <= 1 for share in position):
        raise ValueError(f"a position is (down, right), each from 0 to 1, found {position}")
    found: dict[str, Tensor] = {}
    handles: list[RemovableHandle] = []
    backbone: Any = model.backbone
    for plugin, points in getattr(backbone, "plugins", {}).items():
        for point, module in points.items():
            if isinstance(module, NonLocal):
                handles += _watch_non_local(module, f"{plugin} {point}", found, position)
            elif isinstance(module, MIMB):
                handles += _watch_mimb(module, plugin, found)
            elif isinstance(module, HSS):
                handles += _watch_hss(module, f"{plugin} {point}", found)
    layers: list[Tensor] = []
    if is_transformer(backbone):
        handles += [_watch_block(block, layers) for block in backbone.layers]
    try:
        net: Any = model
        net.unit_features(*net.inference_batch(x, modality))
    finally:
        for handle in handles:
            handle.remove()
    if layers:
        found["class token, last block"] = layers[-1][:, 0, 1:].unflatten(1, backbone.grid)
        found["class token, rollout"] = rollout(layers)[:, 0, 1:].unflatten(1, backbone.grid)
    return {name: scale(value.unflatten(0, (-1, len(x))).mean(0)) for name, value in found.items()}


def rollout(layers: list[Tensor]) -> Tensor:
    """Attention through several blocks, (N, T, T): the product of (A + identity) / 2, the last block at the left."""
    identity = torch.eye(layers[0].shape[-1], dtype=layers[0].dtype, device=layers[0].device)
    total = (layers[0] + identity) / 2
    for weights in layers[1:]:
        total = (weights + identity) / 2 @ total
    return total


def non_local_map(theta: Tensor, phi: Tensor, g: Tensor, position: int | None) -> Tensor:
    """(B, C, M), (B, C, N), (B, C, N) -> (B, N): |theta(m) phi(n)| |g(n)| / N of one m, or its mean over all."""
    weights = (theta.transpose(1, 2) @ phi).abs() / phi.shape[2]  # (B, M, N)
    of_position = weights.mean(1) if position is None else weights[:, position]
    return of_position * g.norm(dim=1)


def _watch_non_local(
    module: NonLocal, name: str, found: dict[str, Tensor], position: tuple[float, float] | None
) -> list[RemovableHandle]:
    def read(_: nn.Module, inputs: tuple, __: Any) -> None:
        x = inputs[0]
        height, width = x.shape[2:]
        m = None
        if position is not None:
            down, right = (min(int(p * size), size - 1) for p, size in zip(position, (height, width), strict=True))
            m = down * width + right
        theta, phi, g = (conv(x).flatten(2) for conv in (module.theta, module.phi, module.g))
        found[name] = non_local_map(theta, phi, g, m).unflatten(1, (height, width))

    return [module.register_forward_hook(read)]


def _watch_mimb(module: MIMB, plugin: str, found: dict[str, Tensor]) -> list[RemovableHandle]:
    def keep(label: str) -> Callable:
        def read(_: nn.Module, __: Any, result: tuple[Tensor, None]) -> None:
            found[label] = result[0].float().square().mean(1).sqrt()  # (B, d, E) -> (B, E)

        return read

    def place(_: nn.Module, __: Any, result: tuple) -> None:
        for label in labels:
            found[label] = found[label].unflatten(1, result[0].shape[2:])

    labels = [f"{plugin} {source}" for source in module.sources]
    layers: Any = zip(labels, module.layers, strict=True)
    handles = [layer.attention.register_forward_hook(keep(label)) for label, layer in layers]
    return [*handles, module.register_forward_hook(place)]


def _watch_hss(module: HSS, name: str, found: dict[str, Tensor]) -> list[RemovableHandle]:
    factors: list[Tensor] = []

    def keep(_: nn.Module, __: Any, result: Tensor) -> None:
        factors.append(result.sigmoid())

    def place(_: nn.Module, __: Any, result: tuple) -> None:
        over_height, over_width = factors  # (B, C, h, 1), (B, C, 1, w)
        found[name] = (over_height * over_width).mean(1)
        factors.clear()

    parts = (module.attend_height, module.attend_width)
    return [*(part.register_forward_hook(keep) for part in parts), module.register_forward_hook(place)]


def _watch_block(block: nn.Module, layers: list[Tensor]) -> RemovableHandle:
    """Keeps the attention of a transformer's block, mean over the heads, which the block itself does not ask for."""
    attention: Any = block.attention

    def read(_: nn.Module, inputs: tuple, __: Any) -> None:
        layers.append(attention.forward(*inputs[:3], need_weights=True)[1])  # (N, 1 + T, 1 + T)

    return attention.register_forward_hook(read)
