"""A plain transformer on patches: no streams, no map."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mscmreid.registry import MODELS
from mscmreid.structures import Rows


@MODELS.register_module()
class PatchTransformer(BaseModule):
    """One transformer for both modalities, with a class token (Dosovitskiy et al., ICLR 2021).

    Args:
        image_size: (height, width) of the input.
        patch: side of a square patch; divides both.
        out_channels: size of a token.
        depth, num_heads: layers, and heads of each.
    """

    def __init__(
        self,
        image_size: Sequence[int],
        patch: int = 8,
        out_channels: int = 64,
        depth: int = 2,
        num_heads: int = 4,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.image_size = height, width = tuple(image_size)
        if height % patch or width % patch:
            raise ValueError(f"image_size must be multiples of patch={patch}, found {self.image_size}")
        self.out_channels = out_channels
        num_tokens = 1 + (height // patch) * (width // patch)
        self.embed = nn.Conv2d(3, out_channels, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, out_channels))
        self.position = nn.Parameter(0.02 * torch.randn(1, num_tokens, out_channels))
        layer = nn.TransformerEncoderLayer(
            out_channels, num_heads, 4 * out_channels, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(out_channels), enable_nested_tensor=False)

    def forward(self, inputs: Mapping[str, Tensor], rows: Rows) -> tuple[dict[str, Tensor], Rows]:
        """Images (N_i, 3, H, W) by name of their stream or modality -> ``tokens`` (N, 1 + T, C) and their rows."""
        x = self.embed(torch.cat(list(inputs.values()))).flatten(2).transpose(1, 2)  # (N, T, C)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1) + self.position
        return dict(tokens=self.layers(x)), rows
