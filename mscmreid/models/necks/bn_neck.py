"""From a backbone's outputs to the two features of the field: before and after the BN neck."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.model import BaseModule
from torch import Tensor, nn

from mscmreid.models.build import build_part
from mscmreid.models.precision import full_precision
from mscmreid.registry import MODELS
from mscmreid.structures import Rows


@MODELS.register_module()
class BNNeck(BaseModule):
    """Pooling, then a batch norm without a learnt shift (BNNeck; Luo et al. 2019).

    Args:
        in_channels: C of the map or tokens.
        pool: config of the pooling, which says what output it reads (``reads``).
        train_bias: learn the batch norm's shift, too (it starts at 0).
        weight_std: standard deviation of the batch norm's factors around 1 at the start.
    """

    def __init__(
        self, in_channels: int, pool: dict | None = None, train_bias: bool = False, weight_std: float = 0.01
    ) -> None:
        super().__init__()
        self.pool = build_part(pool or dict(type="GeM", p=3), in_channels=in_channels)
        self.bn = nn.BatchNorm1d(in_channels)
        nn.init.normal_(self.bn.weight, 1.0, weight_std)
        nn.init.zeros_(self.bn.bias)
        self.bn.bias.requires_grad_(train_bias)

    def forward(self, outputs: Mapping[str, Tensor], rows: Rows) -> dict[str, Tensor]:
        """The outputs, and ``feat_pool`` and ``feat_bn``, (N, C) float32 each.

        Args:
            outputs: by name; with what the pooling reads, such as ``map`` (N, C, H, W).
            rows: their record (not used here).
        """
        x = outputs[self.pool.reads]  # type: ignore[index]
        with full_precision(x):
            feat_pool = self.pool(x)
            return {**outputs, "feat_pool": feat_pool, "feat_bn": self.bn(feat_pool)}
