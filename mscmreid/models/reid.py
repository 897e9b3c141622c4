"""The one model class: which system it is, its config says."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mscmreid.models.build import build_part
from mscmreid.models.inference import InferenceFeatures
from mscmreid.registry import MODELS
from mscmreid.structures import MODALITIES, ReIDDataSample, Rows, modality_index


@MODELS.register_module()
class CrossModalReID(BaseModel):
    """Backbone (streams, trunk and plugins); neck; head with classifier and losses.

    What they hand on is a plain dict of tensors by name: ``map`` or ``tokens`` of the backbone, ``feat_pool`` and
    ``feat_bn`` of the neck, ``logits`` of the head, and whatever a plugin adds.

    Args:
        backbone, neck, head: configs of the parts; the neck's and the head's ``in_channels`` follow the backbone.
        data_preprocessor: config of the preprocessor, which makes views of uint8 images.
        inference: options of :class:`InferenceFeatures`: which outputs are features, how branches and the mirrored
            image are combined (``flip=None``: no mirrored image).
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        data_preprocessor: dict | nn.Module | None = None,
        inference: Mapping[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):  # MMEngine would look in its own registry when no scope is set
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.inference = InferenceFeatures(**(inference or {}))
        self.backbone = MODELS.build(backbone)
        self.neck = build_part(neck, in_channels=self.backbone.out_channels)
        self.head = build_part(head, in_channels=self.backbone.out_channels)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) the model was built for."""
        return self.backbone.image_size

    def set_iteration(self, iteration: int, epoch: int = 0) -> None:
        """Tell every part that has ``set_iteration`` which training iteration of which epoch comes next."""
        for part in self.modules():
            if part is not self and hasattr(type(part), "set_iteration"):
                cast(Any, part).set_iteration(iteration, epoch)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        rows: Rows,
        data_samples: Sequence[ReIDDataSample] | None = None,
        mode: str = "tensor",
    ) -> dict[str, Tensor] | list[ReIDDataSample] | tuple[dict[str, Tensor], Rows]:
        """MMEngine's entry: ``mode`` 'loss' gives named losses, 'predict' data samples with features, 'tensor'
        the outputs of backbone and neck by name, with the record of their rows.

        Args:
            inputs: normalised images (N_i, 3, H, W) by stream (training) or modality (inference).
            rows: the record of those images, in their order.
            data_samples: the images' records.
        """
        if mode == "predict":
            return self.predict(inputs, rows, data_samples)
        outputs, rows = self.backbone(inputs, rows)
        outputs = self.neck(outputs, rows)
        if mode == "loss":
            return self.head.loss(outputs, rows, data_samples)  # type: ignore[operator]
        if mode == "tensor":
            return outputs, rows
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', found {mode!r}")

    def parse_losses(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of those named ``*loss*``, and all that is logged; MMEngine's would take the mean of every scalar."""
        if not all(isinstance(value, Tensor) for value in losses.values()):
            return super().parse_losses(dict(losses))
        logged = {name: value.mean() if value.ndim else value for name, value in losses.items()}
        total = functools.reduce(torch.add, (value for name, value in logged.items() if "loss" in name))
        return total, {"loss": total, **logged}

    def test_step(self, data: Mapping) -> list[ReIDDataSample]:
        """One batch of the data loader -> its data samples with features; see :meth:`predict`.

        MMEngine would go through ``forward``, where a compiled network would have to trace the samples as well.
        """
        return self.predict(**self.data_preprocessor(data, False))

    val_step = test_step

    def unit_features(self, inputs: Mapping[str, Tensor], rows: Rows) -> dict[str, Tensor]:
        """Features by name (N, D), fp32, unit length, of images in the order of ``rows.image``."""
        num_images = len(rows)
        outputs, rows = self(inputs, rows, mode="tensor")
        return self.inference.of_images(outputs, rows, num_images)

    def predict(
        self, inputs: Mapping[str, Tensor], rows: Rows, data_samples: Sequence[ReIDDataSample] | None
    ) -> list[ReIDDataSample]:
        """The data samples, each with its features (and those of its mirrored image as ``*_flip``, if the config's
        ``inference.flip`` says how they are combined)."""
        if data_samples is None or len(data_samples) != len(rows):
            raise ValueError(
                f"predict needs one data sample an image ({len(rows)}), found {data_samples and len(data_samples)}"
            )
        features = self.unit_features(inputs, rows)
        if self.inference.flip:
            mirrored = self.unit_features({name: x.flip(3) for name, x in inputs.items()}, rows)
            features |= {f"{name}_flip": value for name, value in mirrored.items()}
        for name, value in features.items():
            for sample, feature in zip(data_samples, value, strict=True):
                sample.set_data({name: feature})
        return list(data_samples)

    @torch.no_grad()
    def extract_features(self, x: Tensor, modality: str | Sequence[str]) -> dict[str, Tensor]:
        """Features of normalised images.

        Args:
            x, modality: as in :meth:`inference_batch`.

        Returns:
            The features that ``inference`` names, such as ``dict(feat_pool, feat_bn)``: (N, D) float32, unit length.

        Raises:
            RuntimeError, ValueError: as in :meth:`inference_batch`.
        """
        return self.unit_features(*self.inference_batch(x, modality))

    def inference_batch(self, x: Tensor, modality: str | Sequence[str]) -> tuple[dict[str, Tensor], Rows]:
        """Normalised images as the network takes them.

        Args:
            x: (N, 3, H, W) float, normalised with the model's mean and standard deviation.
            modality: 'visible' or 'infrared', or a sequence of one per image.

        Returns:
            (inputs, rows) for :meth:`unit_features`: images by modality, and their record, in which ``image`` is the
            position in ``x``.

        Raises:
            RuntimeError: the model is in training mode (batch norms would use, and change with, this batch).
            ValueError: wrong shape, number of modalities, or name of a modality.
        """
        if self.training:
            raise RuntimeError("extract_features needs the model in eval mode: call model.eval() first")
        if x.ndim != 4 or x.shape[1] != 3 or tuple(x.shape[2:]) != self.image_size:
            raise ValueError(
                f"images must be (N, 3, {self.image_size[0]}, {self.image_size[1]}), found {tuple(x.shape)}"
            )
        modalities = [modality] * len(x) if isinstance(modality, str) else list(modality)
        if len(modalities) != len(x):
            raise ValueError(f"{len(x)} images need as many modalities, found {len(modalities)}")
        index = torch.tensor([modality_index(m) for m in modalities], device=x.device)
        inputs, parts = {}, []
        for i, name in enumerate(MODALITIES):
            image = torch.nonzero(index == i).flatten()
            if len(image):
                inputs[name] = x[image]
                parts.append(Rows.make(torch.full_like(image, -1), name, stream=-1, image=image))
        if not parts:
            raise ValueError("extract_features needs at least one image, found none")
        return inputs, Rows.cat(parts)
