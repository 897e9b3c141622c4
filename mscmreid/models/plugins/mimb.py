"""MIMB, the multi-scale information correlation mining block of MSCMNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mscmreid.models.attention import BatchFirstAttention
from mscmreid.models.layout import laid_out
from mscmreid.models.precision import computing_precision, full_precision
from mscmreid.registry import MODELS
from mscmreid.structures import Rows


def num_attention_heads(embedding: int) -> int:
    """The divisor of ``embedding`` nearest to, and not above, ``max(1, embedding // 9)``.

    >>> num_attention_heads(288), num_attention_heads(18), num_attention_heads(20)
    (32, 2, 2)
    """
    heads = max(1, embedding // 9)
    return next(h for h in range(heads, 0, -1) if embedding % h == 0)


class Float32LayerNorm(nn.LayerNorm):
    """Layer norm that computes in fp32 under mixed precision; fp32 comes out."""

    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):  # one pass brings both the precision and the order that the sums read
            return super().forward(laid_out(x, torch.float32, torch.contiguous_format))


class MIMBLayer(nn.Module):
    """One block: channels are tokens, positions are their embedding.

    Args:
        channels: C of the map it reads and replaces.
        size: (h, w) of that map; E = h * w.
        source_channels, source_size: channels and (h', w') of the earlier map whose correlation is mined; None for
            plain self-attention (the last block).
        reduction: tokens d = C / reduction.
        source_weight: share of the source's tokens added to the map's.
    """

    # all but the wide convolution of the source, of which a tenth is added: what comes out replaces the map
    float32_in_mixed = ("narrow", "attention", "mlp_expand", "mlp_project", "broad")

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        source_channels: int | None,
        source_size: tuple[int, int] | None,
        reduction: int = 4,
        source_weight: float = 0.1,
    ) -> None:
        super().__init__()
        tokens, embedding = channels // reduction, size[0] * size[1]
        self.source_weight = source_weight
        self.narrow = nn.Conv2d(channels, tokens, kernel_size=1)
        self.norm = Float32LayerNorm(embedding)
        self.has_source = source_channels is not None and source_size is not None
        if source_channels is not None and source_size is not None:
            ratio = source_size[0] // size[0]
            if ratio < 2 or source_size != (ratio * size[0], ratio * size[1]):
                raise ValueError(
                    f"MIMB reads maps a whole factor (2, 4, ...) larger than its own {size}, found {source_size}"
                )
            self.source_narrow = nn.Conv2d(
                source_channels, tokens, kernel_size=ratio + 2, stride=ratio, padding=ratio // 2
            )
            self.source_norm = Float32LayerNorm(embedding)
        self.attention = BatchFirstAttention(embedding, num_attention_heads(embedding))
        self.mlp_norm = Float32LayerNorm(embedding)
        self.mlp_expand = nn.Linear(embedding, 4 * embedding)
        self.mlp_project = nn.Linear(4 * embedding, embedding)
        self.broad = nn.Conv2d(tokens, channels, kernel_size=1)

    def forward(self, x: Tensor, source: Tensor | None) -> Tensor:
        size = x.shape[2:]
        z = self.norm(self.narrow(x).flatten(2))  # (B, d, E)
        o = z
        if self.has_source:
            o = self.source_norm(self.source_narrow(source).flatten(2))  # (B, d, E)
            z = torch.add(z, o, alpha=self.source_weight)
        z = z + self.attention(o, o, z)[0]  # (B, d, E)
        hidden = self.mlp_expand(self.mlp_norm(z))  # (B, d, 4E)
        z = z + self.mlp_project(hidden * torch.sigmoid(1.702 * hidden))  # QuickGELU; (B, d, E)
        z = z.unflatten(2, size)
        if self.training and x.is_contiguous(memory_format=torch.channels_last):
            z = laid_out(z, computing_precision(z), torch.channels_last)
        return self.broad(z)  # (B, C, h, w); x is replaced, not added to


@MODELS.register_module()
class MIMB(nn.Module):
    """Multi-scale information correlation mining (MSCMNet, section 3.3): a chain of :class:`MIMBLayer`.

    Args:
        channels, sizes: channels and (h, w) of the maps so far, the block's own input under ``x``.
        sources: the map each layer reads, in order; ``'self'`` for plain self-attention.
        reduction: tokens are a ``reduction``-th of the channels.
        source_weight: weight of the source's tokens in the sum.
    """

    def __init__(
        self,
        channels: dict[str, int],
        sizes: dict[str, tuple[int, int]],
        sources: Sequence[str] = ("stem", "stage1", "stage2", "self"),
        reduction: int = 4,
        source_weight: float = 0.1,
    ) -> None:
        super().__init__()
        unknown = [s for s in sources if s != "self" and s not in channels]
        if unknown:
            raise ValueError(f"MIMB sources must be among {[*channels, 'self']}, found {unknown}")
        self.sources = tuple(sources)
        self.layers = nn.ModuleList(
            MIMBLayer(channels["x"], sizes["x"], channels.get(s), sizes.get(s), reduction, source_weight)
            for s in self.sources  # 'self' has neither channels nor size
        )
        embedding = sizes["x"][0] * sizes["x"][1]
        heads = num_attention_heads(embedding)
        print_log(
            f"MIMB: {channels['x'] // reduction} tokens of {embedding} positions, {heads} attention heads", "current"
        )

    def forward(self, x: Tensor, maps: dict[str, Tensor], rows: Rows) -> tuple[Tensor, Rows]:
        for source, layer in zip(self.sources, self.layers, strict=True):
            x = layer(x, None if source == "self" else maps[source])
        return x, rows
