"""From a map to the two features of the field: before and after the BN neck."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from mscmreid.models.precision import full_precision
from mscmreid.registry import MODELS


def generalized_mean(x: Tensor, p: float) -> Tensor:
    """(mean over positions of x^p + 1e-12)^(1/p); (N, C, H, W), not negative -> (N, C) float32."""
    return (x.float().pow(p).flatten(2).mean(dim=2) + 1e-12).pow(1.0 / p)


@MODELS.register_module()
class GeM(nn.Module):
    """Generalised-mean pooling with a fixed exponent (Radenovic et al. 2018), in fp32.

    Args:
        p: the exponent; 1 is the average, infinity the maximum.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        if p <= 0:
            raise ValueError(f"GeM needs p > 0, found {p}")
        self.p = float(p)

    def forward(self, x: Tensor) -> Tensor:
        return generalized_mean(x, self.p)


@MODELS.register_module()
class AveragePool(nn.Module):
    """Mean over positions, in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().flatten(2).mean(dim=2)


@MODELS.register_module()
class BNNeck(BaseModule):
    """Pooling, then a batch norm without a learnt shift (BNNeck; Luo et al. 2019).

    Args:
        in_channels: C of the map.
        pool: config of the pooling.
    """

    def __init__(self, in_channels: int, pool: dict | None = None) -> None:
        super().__init__()
        self.pool = MODELS.build(pool or dict(type="GeM", p=3))
        self.bn = nn.BatchNorm1d(in_channels)
        nn.init.normal_(self.bn.weight, 1.0, 0.01)
        nn.init.zeros_(self.bn.bias)
        self.bn.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> ``feat_pool``, ``feat_bn``, (N, C) float32 each."""
        with full_precision(x):
            feat_pool = self.pool(x)
            return feat_pool, self.bn(feat_pool)
