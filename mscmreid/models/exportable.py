"""A model as one function of plain tensors, for runtimes that know no Python: pixels in, unit features out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mscmreid.models.backbones.multi_stream_resnet import MultiStreamResNet
from mscmreid.models.backbones.vit import VisionTransformer
from mscmreid.models.folding import inference_copy
from mscmreid.models.inference import InferenceFeatures
from mscmreid.models.reid import CrossModalReID
from mscmreid.structures import MODALITIES, Rows


class ExportableModel(nn.Module):
    """``(images (N, H, W, 3) uint8, modality (N,) int64) -> features (N, D) float32, unit rows``.

    The modality is an input with one number an image (0 visible, 1 infrared), so that one file holds the weights once
    and a batch may mix both. What is private to a modality is computed for all images and the right one is kept; for
    four stems that is a few percent of the whole.

    Args:
        model: in eval mode; a copy with folded batch norms is kept.
        parts: (name of a feature, weight of its similarity) of what is to come out, such as ``[('feat_bn', 1.0)]``;
            several are concatenated. The mirrored image joins as ``model.inference.flip`` says.

    Raises:
        ValueError: a backbone of an unknown kind, a feature that ``model.inference`` does not name, or a plugin that
            changes the order of the rows.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: CrossModalReID, parts: Sequence[tuple[str, float]] = (("feat_bn", 1.0),)) -> None:
        super().__init__()
        copied: Any = inference_copy(model).float()
        self.backbone: Any = copied.backbone
        self.neck = copied.neck
        self.inference: InferenceFeatures = copied.inference
        if not isinstance(self.backbone, MultiStreamResNet | VisionTransformer):
            raise ValueError(
                "only models with a MultiStreamResNet or a VisionTransformer can be exported, found "
                f"{type(self.backbone).__name__}: write its way of telling the modalities into ExportableModel"
            )
        missing = [name for name, _ in parts if name not in self.inference.features]
        if missing or not parts:
            raise ValueError(f"the model's features are {list(self.inference.features)}, asked for {missing or 'none'}")
        self.parts = tuple(parts)
        normalize = [model.data_preprocessor.normalize[m] for m in MODALITIES]
        std = torch.tensor([n.std for n in normalize], dtype=torch.float64)
        mean = torch.tensor([n.mean for n in normalize], dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * std)).float()[:, :, None, None])  # (2, 3, 1, 1)
        self.register_buffer("shift", (-mean / std).float()[:, :, None, None])
        self.num_branches = self._count_branches()

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.backbone.image_size

    def forward(self, images: Tensor, modality: Tensor) -> Tensor:
        """See the class."""
        x = images.permute(0, 3, 1, 2).float()
        x = x * self.scale[modality] + self.shift[modality]  # (N, 3, H, W)
        features = self._features(x, modality)
        if self.inference.flip:
            mirrored = self._features(x.flip(3), modality)
            features = {name: value + mirrored[name] for name, value in features.items()}
            if self.inference.flip == "add_normalized":
                features = {name: F.normalize(value, dim=1) for name, value in features.items()}
        weighted = [features[name] * weight**0.5 for name, weight in self.parts]
        return F.normalize(torch.cat(weighted, dim=1), dim=1)

    def _features(self, x: Tensor, modality: Tensor) -> dict[str, Tensor]:
        """Unit features by name, (N, D) each."""
        outputs, _ = self._outputs(x, modality)
        found = {}
        for name, _ in self.parts:
            by_branch = outputs[name].float().unflatten(0, (self.num_branches, -1))  # (B, N, D)
            found[name] = self.inference.join_branches(by_branch.transpose(0, 1))
        return found

    def _outputs(self, x: Tensor, modality: Tensor) -> tuple[dict[str, Tensor], Rows]:
        """Outputs of backbone and neck, rows branch by branch, and their record."""
        image = torch.arange(x.shape[0], device=x.device)
        unknown = torch.full_like(image, -1)
        rows = Rows(unknown, modality, unknown, branch=torch.zeros_like(image), image=image, index=unknown)
        if isinstance(self.backbone, MultiStreamResNet):
            visible, infrared = (self.backbone.streams.maps_of(name, x) for name in MODALITIES)
            is_infrared = (modality == 1)[:, None, None, None]
            maps = {name: torch.where(is_infrared, infrared[name], visible[name]) for name in visible}
            outputs, rows = self.backbone.trunk(maps, rows, self.backbone.plugins)
        else:
            outputs, rows = self.backbone({MODALITIES[0]: x}, rows)  # nothing in it is private to a modality
        return self.neck(outputs, rows), rows

    @torch.no_grad()
    def _count_branches(self) -> int:
        """Rows of an image, from a pass of two images; they must come branch by branch."""
        modality = torch.tensor([0, 1])
        _, rows = self._outputs(torch.zeros(2, 3, *self.image_size), modality)
        branches = len(rows) // 2
        expected = torch.arange(branches).repeat_interleave(2)
        if not torch.equal(rows.branch, expected) or not torch.equal(rows.image, torch.arange(2).repeat(branches)):
            raise ValueError("plugins of an exported model must keep the rows in order, branch behind branch")
        return branches
