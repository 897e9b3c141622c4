"""What is private to a modality or view: a ResNet's first layers, once for each stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mscmreid.models.backbones.resnet import run_blocks
from mscmreid.structures import MODALITIES


class Stream(nn.ModuleDict):
    """One stream: 'stem', then private stages, each under its name.

    Args:
        parts: name -> layer.
        with_cp: recompute the stages' maps in the backward pass.
    """

    def __init__(self, parts: Mapping[str, nn.Module], with_cp: bool = False) -> None:
        super().__init__(parts)
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (N, 3, H, W) -> the map of each part by name."""
        maps = {}
        for name, part in self.items():
            x = part(x) if name == "stem" else run_blocks(cast(nn.Sequential, part), x, self.with_cp)
            maps[name] = x
        return maps


class Streams(nn.ModuleDict):
    """Streams by name.

    Args:
        streams: the streams.
        names: modality -> names of its streams.
    """

    def __init__(self, streams: Mapping[str, Stream], names: Mapping[str, Sequence[str]]) -> None:
        super().__init__(streams)
        self.names = {modality: list(of_modality) for modality, of_modality in names.items()}

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The streams' maps by name of the part, rows in the order of the inputs.

        Args:
            inputs: images (N_i, 3, H, W) by stream (training) or by modality (inference: the mean over its streams).
        """
        parts = [self.maps_of(name, images) for name, images in inputs.items()]
        return {name: torch.cat([maps[name] for maps in parts]) for name in parts[0]}

    def maps_of(self, name: str, images: Tensor) -> dict[str, Tensor]:
        """Maps of one stream, or the mean over a modality's streams."""
        names = [name] if name in self else self.names.get(name)
        if names is None:
            raise ValueError(
                f"inputs must be keyed by stream {list(self)} or modality {list(self.names)}, found {name!r}"
            )
        total = self[names[0]](images)
        for other in names[1:]:
            maps = self[other](images)
            total = {part: total[part] + maps[part] for part in total}
        return {part: x / len(names) for part, x in total.items()} if len(names) > 1 else total


def check_streams(streams: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Names of streams by modality, checked: both modalities, no name twice, none that stands for something else.

    A third key names streams for views that a preprocessor makes of both modalities (training only).
    """
    if not set(streams) >= set(MODALITIES) or not all(streams.values()):
        raise ValueError(f"streams must name at least one stream for each of {MODALITIES}, found {dict(streams)}")
    names = [name for of_modality in streams.values() for name in of_modality]
    if len(set(names)) != len(names):
        raise ValueError(f"a stream's name may stand once, found {names}")
    for modality, of_modality in streams.items():
        if modality in names and list(of_modality) != [modality]:
            raise ValueError(
                f"a stream may be named {modality!r} only if it is that modality's only one, found {dict(streams)}"
            )
    return {modality: list(of_modality) for modality, of_modality in streams.items()}
