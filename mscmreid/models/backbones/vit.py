"""A vision transformer (Dosovitskiy et al., ICLR 2021) with overlapping patches, as PMT uses it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import MLP, StochasticDepth

from mscmreid.models.attention import BatchFirstAttention
from mscmreid.models.backbones.pretrained import describe_weights, load_imagenet_state, pretrained_checkpoint
from mscmreid.models.backbones.resnet import run_block
from mscmreid.registry import MODELS
from mscmreid.structures import Rows

_TIMM = (  # ours -> timm's
    (r"^class_token$", "cls_token"),
    (r"^position$", "pos_embed"),
    (r"^patches\.", "patch_embed.proj."),
    (r"^layers\.", "blocks."),
    (r"\.attention\.in_proj_", ".attn.qkv."),
    (r"\.attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)
_TORCHVISION = (  # torchvision's -> timm's
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.layers\.encoder_layer_", "blocks."),
    (r"^encoder\.ln\.", "norm."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(3|linear_2)\.", ".mlp.fc2."),
    (r"^heads\.", "head."),
)


def _renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def timm_name(name: str) -> str:
    """timm's name for a parameter of :class:`VisionTransformer`.

    >>> timm_name("layers.3.attention.in_proj_weight"), timm_name("position")
    ('blocks.3.attn.qkv.weight', 'pos_embed')
    """
    return _renamed(name, _TIMM)


def resize_positions(position: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings (1, 1 + s^2, C) of a square grid for another (height, width): (1, 1 + height * width, C).

    Bilinear without antialiasing, half-pixel centres, as PMT does; the class token's row stays.

    Raises:
        ValueError: the rows behind the first are not a square grid.
    """
    side = round((position.shape[1] - 1) ** 0.5)
    if position.shape[1] != 1 + side**2:
        raise ValueError(f"expected position embeddings (1, 1 + s * s, C), found {tuple(position.shape)}")
    of_grid = position[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    resized = F.interpolate(of_grid, grid, mode="bilinear", align_corners=False)
    return torch.cat([position[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and on a residual path that stochastic depth may drop.

    Args:
        channels: size of a token.
        num_heads: of the attention; divides ``channels``.
        dropout: behind the attention's projection and both layers of the MLP.
        drop_path: probability that an image's residual path is dropped.
    """

    def __init__(self, channels: int, num_heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = BatchFirstAttention(channels, num_heads)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, [4 * channels, channels], activation_layer=nn.GELU, inplace=None, dropout=dropout)
        self.path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, 1 + T, C) -> the same shape."""
        y = self.norm1(x)
        x = x + self.path(self.dropout(self.attention(y, y, y)[0]))
        return x + self.path(self.mlp(self.norm2(x)))


@MODELS.register_module()
class VisionTransformer(BaseModule):
    """One transformer for both modalities, without anything that is private to one. The defaults are PMT's ViT-B/16.

    Args:
        image_size: (height, width) of the input.
        patch: side of a square patch.
        stride: distance of neighbouring patches; less than ``patch``: they overlap. Where it does not come out even,
            the last rows and columns of an image are in no patch.
        out_channels: size of a token.
        depth, num_heads: blocks, and heads of each.
        dropout: of the tokens, of the attention's output and in the MLP.
        drop_path: stochastic depth of the last block; it rises linearly from 0 at the first.
        with_cp: recompute the blocks' activations in the backward pass instead of keeping them.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)``: ``'torchvision://vit_b_16'``, or the address or path of
            a file of torchvision's or timm's names; positions are resized. None: from scratch.
    """

    initial_weights: str | None = None
    """Which ImageNet weights were loaded; kept in checkpoints and results."""

    _is_init: bool  # MMEngine's

    def __init__(
        self,
        image_size: Sequence[int] = (256, 128),
        patch: int = 16,
        stride: int = 12,
        out_channels: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        dropout: float = 0.03,
        drop_path: float = 0.1,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        height, width = image_size
        if min(height, width) < patch or not 1 <= stride <= patch:
            raise ValueError(
                f"expected image_size (height, width) of at least patch={patch} and stride from 1 to patch, found "
                f"{tuple(image_size)} and stride {stride}"
            )
        self.image_size, self.out_channels, self.with_cp = (height, width), out_channels, with_cp
        self.grid = ((height - patch) // stride + 1, (width - patch) // stride + 1)
        self.patches = nn.Conv2d(3, out_channels, patch, stride)
        self.class_token = nn.Parameter(torch.zeros(1, 1, out_channels))
        self.position = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], out_channels))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            Block(out_channels, num_heads, dropout, drop_path * i / max(1, depth - 1)) for i in range(depth)
        )
        self.norm = nn.LayerNorm(out_channels)
        self._initialise()

    def _initialise(self) -> None:
        """The released start from scratch."""
        for name, parameter in self.named_parameters():
            if name.startswith("patches."):
                continue
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        nn.init.kaiming_normal_(self.patches.weight, mode="fan_out", nonlinearity="relu")

    def init_weights(self) -> None:
        """Load the ImageNet weights that ``init_cfg`` names.

        Raises:
            ValueError: a weight is missing or unknown, or its shape does not fit.
        """
        if self._is_init:
            return
        checkpoint = pretrained_checkpoint(self.init_cfg, "VisionTransformer")
        if checkpoint is not None:
            self.load_imagenet(load_imagenet_state(checkpoint, "class_token", "cls_token"), checkpoint)
            self.initial_weights = describe_weights(checkpoint)
        self._is_init = True

    def load_imagenet(self, state: Mapping[str, Tensor], source: str) -> None:
        """Copy a ViT's ``state``, of torchvision's or timm's names, but for its classifier: all of it, or an error."""
        kind = "torchvision's" if "class_token" in state else "timm's"
        if kind == "torchvision's":
            state = {_renamed(name, _TORCHVISION): value for name, value in state.items()}
        state = {name: value for name, value in state.items() if not name.startswith(("head.", "pre_logits."))}
        own = {timm_name(name): value for name, value in self.state_dict().items()}
        if "pos_embed" in state:
            state["pos_embed"] = resize_positions(state["pos_embed"], self.grid)
        wrong = [
            f"{name} {tuple(state[name].shape)} for {tuple(value.shape)}"
            for name, value in own.items()
            if name in state and state[name].shape != value.shape
        ]
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown or wrong:
            raise ValueError(
                f"ImageNet weights of {source} do not fit: missing {missing[:5]}, unknown {unknown[:5]}, of another "
                f"shape {wrong[:5]}; check patch, out_channels and depth"
            )
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])
        print_log(
            f"ImageNet weights from {source} ({kind} names): all loaded but the classifier, positions resized to "
            f"{self.grid[0]} x {self.grid[1]}",
            "current",
        )

    def forward(self, inputs: Mapping[str, Tensor], rows: Rows) -> tuple[dict[str, Tensor], Rows]:
        """Images (N_i, 3, H, W) by name of their stream or modality -> ``tokens`` (N, 1 + T, C) and their rows."""
        images = torch.cat(list(inputs.values()))
        if images.shape[0] != rows.label.shape[0] or tuple(images.shape[2:]) != self.image_size:
            raise ValueError(
                f"expected {len(rows)} images of {self.image_size}, as rows and image_size say, found "
                f"{len(images)} of {tuple(images.shape[2:])}"
            )
        x = self.patches(images).flatten(2).transpose(1, 2)  # (N, T, C)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        x = self.dropout(x)
        for block in self.layers:
            x = run_block(block, x, self.with_cp)
        return dict(tokens=self.norm(x)), rows
