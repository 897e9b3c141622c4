"""What all streams share: a ResNet's later stages, with plugins between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from mscmreid.models.backbones.resnet import run_block
from mscmreid.models.plugins.inserted import Plugins
from mscmreid.structures import Rows


class Trunk(nn.ModuleDict):
    """Stages by name.

    Args:
        stages: the stages, in order.
        with_cp: recompute their maps in the backward pass.
    """

    def __init__(self, stages: Mapping[str, nn.Sequential], with_cp: bool = False) -> None:
        super().__init__(stages)
        self.with_cp = with_cp

    def forward(self, maps: Mapping[str, Tensor], rows: Rows, plugins: Plugins) -> tuple[dict[str, Tensor], Rows]:
        """``map`` of the last stage and what the plugins add, with the record of their rows.

        Args:
            maps: maps of the streams' parts by name, the last one being the trunk's input.
            rows: their record.
            plugins: to insert behind blocks and stages.
        """
        maps, outputs = dict(maps), {}  # type: ignore[var-annotated]
        x = next(reversed(maps.values()))
        for name, stage in self.items():
            for i, block in enumerate(cast(nn.Sequential, stage)):
                x = run_block(block, x, self.with_cp)
                x, rows = plugins.insert(f"{name}_block{i}", x, maps, rows, outputs)
            x, rows = plugins.insert(name, x, maps, rows, outputs)
            maps[name] = x
        return {"map": x, **outputs}, rows
