"""Multi-head attention in the order that batches have."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class BatchFirstAttention(nn.MultiheadAttention):
    """torch's multi-head attention of batches (B, T, E), without its copies; same parameters, same result.

    torch's module turns batch and tokens around first, although it could leave them. Its projections then read a tensor
    that is not in one piece, and below float32 ``linear`` answers by a batched product with a copy of the weight for
    every token (seen with torch 2.14 on a CPU: E^2 numbers a token and projection).

    Args:
        channels: E.
        num_heads: divides E.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__(channels, num_heads, batch_first=True)

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, **others: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (B, T, E), keys and values (B, S, E) -> (B, T, E), and None in the place of weights.

        What else torch's module can do (weights, masks) is left to it.
        """
        if need_weights or others:
            return super().forward(query, key, value, need_weights=need_weights, **others)
        weight, bias, split = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        if query is key is value:
            q, k, v = F.linear(query, weight, bias).chunk(3, dim=-1)  # (B, T, E) each
        elif query is key:  # split, not slices: a slice's gradient is copied into zeros
            (both, alone), (bias_of_both, bias_alone) = (x.split((2 * split, split)) for x in (weight, bias))
            q, k = F.linear(query, both, bias_of_both).chunk(2, dim=-1)
            v = F.linear(value, alone, bias_alone)
        else:
            parts = zip((query, key, value), weight.chunk(3), bias.chunk(3), strict=True)
            q, k, v = (F.linear(x, w, b) for x, w, b in parts)
        q, k, v = (x.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))  # (B, heads, T, E / heads)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, T, E)
        return F.linear(y, self.out_proj.weight, self.out_proj.bias), None
