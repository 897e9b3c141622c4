"""What makes features of images, for galleries and questions alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import PIL.Image

from mscmreid.intake import Intake

if TYPE_CHECKING:
    from torch import nn

Image = str | Path | PIL.Image.Image | np.ndarray
"""A file, a Pillow image, or an array, as :func:`mscmreid.intake.open_image` takes them."""


@runtime_checkable
class Encoder(Protocol):
    """Images to unit features.

    Attributes:
        identity: all that decides the features, as JSON values: weights, model, feature, size, preprocessing,
            precision. Features of encoders with equal identities may be compared, no others.
        dim: width of a feature.
    """

    identity: dict[str, Any]
    dim: int

    def encode(self, images: Sequence[Image], modality: str) -> np.ndarray:
        """(N, dim) float32 features of unit length.

        Raises:
            UnreadableImageError: an image that cannot be read; it is named.
        """
        ...


def as_encoder(model: Any) -> Encoder:
    """An encoder, or the encoder of a model of :func:`mscmreid.apis.init_model`.

    Raises:
        TypeError: neither.
    """
    if isinstance(model, Encoder):
        return model
    if hasattr(model, "extract_features"):
        return ModelEncoder(model)
    raise TypeError(
        f"expected a model of mscmreid.apis.init_model, or an encoder (identity, dim, encode), found {type(model)}"
    )


class ModelEncoder:
    """Features of a model of this project.

    Args:
        model: of :func:`mscmreid.apis.init_model`; a copy with folded batch norms is used, on its device.
        feature: option of :meth:`FeatureTable.matrix`: 'feat_bn', 'feat_pool', 'sum', 'blend=0.1'. A model with
            ``inference.flip`` joins the mirrored images' features.
        intake: how images are read; None: turned upright, no depth range (:class:`mscmreid.intake.Intake`).
        batch_size, num_workers: see :func:`mscmreid.retrieval.extract.stream_features`.
        precision: of the forward pass: float32, tf32, bfloat16, float16 or mixed (:mod:`mscmreid.models.mixed`).
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        feature: str = "feat_bn",
        intake: Intake | None = None,
        batch_size: int = 64,
        num_workers: int | None = None,
        precision: str = "float32",
    ) -> None:
        from mscmreid.engine.optimizers.optim_wrapper import EXTRACTION_PRECISIONS, usable_precision
        from mscmreid.evaluation.features import feature_parts
        from mscmreid.models.folding import inference_copy

        feature_parts(feature)
        self.feature, self.batch_size, self.num_workers, self.precision = feature, batch_size, num_workers, precision
        self.intake = intake or Intake()
        self.identity = model_identity(model, feature, precision, self.intake)
        device_type = next(model.parameters()).device.type
        dtype = EXTRACTION_PRECISIONS[usable_precision(precision, device_type, EXTRACTION_PRECISIONS)]
        self.model = inference_copy(model, dtype=dtype, mixed=precision == "mixed")
        height, width = self.identity["size"]
        self.dim = int(self.encode([np.zeros((height, width, 3), dtype=np.uint8)], "visible").shape[1])

    def encode(self, images: Sequence[Image], modality: str) -> np.ndarray:
        """See :class:`Encoder`."""
        from mscmreid.evaluation.features import FeatureTable
        from mscmreid.retrieval.extract import inference_meta, stream_features

        parts = []
        for batch in stream_features(
            self.model,
            images,
            modality,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            precision=self.precision,
            intake=self.intake,
        ):
            unknown = np.full(batch.num, -1)
            names = [str(batch.start + i) for i in range(batch.num)]
            modalities = np.full(batch.num, modality)
            table = FeatureTable(names, unknown, unknown, modalities, batch.features, inference_meta(self.model))
            parts.append(table.matrix(self.feature, flip=table.has_flip))
        features = np.concatenate(parts) if parts else np.zeros((0, self.dim), dtype=np.float32)
        return unit_rows(features)


def unit_rows(features: np.ndarray) -> np.ndarray:
    """(N, D) float32 rows scaled to unit length.

    Raises:
        ValueError: a row of zeros, or with values that are not finite.
    """
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if len(bad):
        raise ValueError(f"feature {bad[0]} has length {lengths[bad[0], 0]}: it has no direction")
    return (features / lengths).astype(np.float32)


def model_identity(model: nn.Module, feature: str, precision: str, intake: Intake) -> dict[str, Any]:
    """Identity of a model's features (:attr:`Encoder.identity`)."""
    from mscmreid.retrieval.extract import resize_of_test_data

    normalize = model.data_preprocessor.normalize  # type: ignore[union-attr]
    identity: dict[str, Any] = dict(
        weights_sha256=weights_digest(model),
        model=model_name(model),
        feature=feature,
        inference=model.inference.to_dict(),  # type: ignore[operator, union-attr]
        size=[int(side) for side in model.image_size],  # type: ignore[union-attr]
        resize=str(resize_of_test_data(model)),
        normalize={name: dict(mean=step.mean, std=step.std) for name, step in normalize.items()},  # type: ignore[operator, union-attr]
        precision=precision,
        intake=asdict(intake),
    )
    return json.loads(json.dumps(identity))


def model_name(model: nn.Module) -> str:
    """What kind of model it is, with a digest of its config where it has one."""
    cfg = getattr(model, "cfg", None)
    if cfg is None:
        return hashlib.sha256(repr(model).encode()).hexdigest()[:16]
    from mmengine.config import Config

    from mscmreid.apis.config import config_hash

    return f"{cfg.model.get('type')} {config_hash(Config(dict(model=cfg.model.to_dict())))}"


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of names and values of a model's weights and buffers."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
