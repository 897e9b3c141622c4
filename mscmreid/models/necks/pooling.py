"""From a map or tokens to one vector a row; ``reads`` names the output that a pooling takes."""

from __future__ import annotations

from torch import Tensor, nn

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

    reads = "map"

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

    reads = "map"

    def forward(self, x: Tensor) -> Tensor:
        # (N, C, 1) first: behind a plain mean OpenVINO would apply the batch norm of the neck along another axis
        return x.float().flatten(2).mean(dim=2, keepdim=True).flatten(1)


@MODELS.register_module()
class ClassToken(nn.Module):
    """A transformer's first token, in fp32: (N, 1 + T, C) -> (N, C)."""

    reads = "tokens"

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].float()
