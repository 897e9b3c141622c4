"""One object for programs that want features, similarities and searches: a model or an exported file, and a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.intake import Intake
from mscmreid.modalities import modality_index
from mscmreid.retrieval.encoder import Encoder, ModelEncoder
from mscmreid.retrieval.exported import RUNTIMES, ExportedEncoder
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.gallery import Gallery, Hit, query_images


@dataclass(frozen=True)
class Similarity:
    """How alike two images are.

    Attributes:
        score: cosine of their features.
        verdict: 'same person, likely' or 'below the threshold'; '' without a calibration for these modalities.
        probability: that they show one person; None without a calibration.
    """

    score: float
    verdict: str = ""
    probability: float | None = None


class ReIDInferencer:
    """Features, similarities and searches, in the manner of MMEngine's ``BaseInferencer``: made of a config and
    weights, called with images, which answers ``dict(predictions=[...], visualization=[])``.

    It is no subclass of it: that class needs torch, takes one input for all images, and reads checkpoints without the
    care of :func:`mscmreid.apis.init_model`.

    Args:
        model: a config (file, name of one of the package, or object) with ``weights``; or an exported file (``.onnx``,
            ``.xml``), which needs no torch; or an :class:`~mscmreid.retrieval.encoder.Encoder`.
        weights: checkpoint of training, or a converted official one.
        device: of a model; None: the GPU if there is one, else the CPU.
        feature: of a model: 'feat_bn', 'feat_pool', 'sum', 'blend=A'. An exported file has its own.
        gallery: folder of a gallery to search in, made with the same model.
        batch_size: images a forward pass.
        intake: how images are read; None: as the gallery's, if there is one, else upright.

    Raises:
        FileNotFoundError, ValueError: the model, the weights or the gallery cannot be read, or do not belong together.
    """

    def __init__(
        self,
        model: Any,
        weights: str | Path | None = None,
        device: str | None = None,
        *,
        feature: str = "feat_bn",
        gallery: str | Path | None = None,
        batch_size: int = 32,
        intake: Intake | None = None,
    ) -> None:
        opened = None if gallery is None else Gallery.open(gallery)
        if intake is None and opened is not None:
            intake = opened.intake
        self.encoder = _encoder(model, weights, device, feature, batch_size, intake)
        self.gallery = None if gallery is None else Gallery.open(gallery, self.encoder)

    def __call__(self, inputs: Any, modality: str | Sequence[str]) -> dict[str, list]:
        """``dict(predictions=[...], visualization=[])``; a prediction is ``dict(modality, feature=(dim,) float32)``,
        with the ``path`` where the image is a file. Arguments as in :meth:`features`."""
        images = query_images(inputs)
        modalities = _modalities(modality, len(images))
        predictions = []
        for image, name, feature in zip(images, modalities, self.features(images, modalities), strict=True):
            path = dict(path=str(image)) if isinstance(image, str | Path) else {}
            predictions.append(dict(path, modality=name, feature=feature))
        return dict(predictions=predictions, visualization=[])

    def features(self, inputs: Any, modality: str | Sequence[str]) -> np.ndarray:
        """(N, dim) float32 features of unit length.

        Args:
            inputs: one image (file, Pillow image, array), several in a list, or a folder.
            modality: 'visible' or 'infrared', of all of them or one each.

        Raises:
            UnreadableImageError: an image that cannot be read.
            ValueError: an unknown modality, or another number of them than of images.
        """
        images = query_images(inputs)
        modalities = np.array(_modalities(modality, len(images)))
        features = np.empty((len(images), self.encoder.dim), dtype=np.float32)
        for name in sorted(set(modalities)):
            places = np.flatnonzero(modalities == name)
            features[places] = self.encoder.encode([images[i] for i in places], str(name))
        return features

    def similarity(self, first: Any, second: Any, modality: str | Sequence[str]) -> Similarity:
        """How alike two images are, with the verdict of the gallery's calibration if there is one.

        Args:
            first, second: an image each.
            modality: of both, or one each.
        """
        modalities = _modalities(modality, 2)
        a, b = self.features([first, second], modalities).astype(np.float64)
        score = float(a @ b)
        means = None if self.gallery is None else self.gallery.score_model(*modalities)
        return Similarity(score) if means is None else Similarity(score, means.verdict(score), means.probability(score))

    def search(
        self, inputs: Any, modality: str, top: int = 10, where: Filter | Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """The nearest images of the gallery, nearest first, of each image; see :meth:`Gallery.search`.

        Raises:
            ValueError: there is no gallery.
        """
        if self.gallery is None:
            raise ValueError("there is no gallery to search in: ReIDInferencer(..., gallery=FOLDER)")
        self.gallery.refresh()
        return self.gallery.search(inputs, modality, top=top, where=where)


def _encoder(
    model: Any, weights: str | Path | None, device: str | None, feature: str, batch_size: int, intake: Intake | None
) -> Encoder:
    """The encoder that the arguments of an inferencer name."""
    if isinstance(model, str | Path) and Path(model).suffix in RUNTIMES:
        if weights is not None:
            raise ValueError(f"{model} has its weights inside, found weights={str(weights)!r} as well")
        return ExportedEncoder(model, batch_size=batch_size, intake=intake)
    if isinstance(model, Encoder):
        return model
    from mscmreid.apis.inference import init_model

    network = init_model(model, weights, device)
    return ModelEncoder(network, feature=feature, intake=intake, batch_size=batch_size)


def _modalities(modality: str | Sequence[str], num: int) -> list[str]:
    """One a picture, checked."""
    names = [modality] * num if isinstance(modality, str) else list(modality)
    if len(names) != num:
        raise ValueError(f"{num} images need one modality for all or {num}, found {len(names)}")
    for name in names:
        modality_index(name)
    return names
