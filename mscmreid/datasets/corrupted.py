"""Images under a bad condition, on their way from the file to the model's size."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose

from mscmreid.corruptions import choose_corruptions, corrupt
from mscmreid.datasets.base import ReIDDataset
from mscmreid.datasets.loading import LANCZOS, load_image, make_sample
from mscmreid.intake import PUBLISHED
from mscmreid.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadCorruptedImage:
    """As ``LoadImage``, with the image corrupted before it is resized, as published; a cache is passed over.

    Chance comes from (path relative to the data root, corruption, severity), see :func:`mscmreid.corruptions.corrupt`.

    Args:
        corruption: a registered one's name.
        severity: 1 .. 5.
    """

    def __init__(self, corruption: str, severity: int) -> None:
        (self.corruption,) = choose_corruptions([corruption])
        self.severity = severity

    def __call__(self, results: Mapping) -> dict:
        """``results``: a data set's row, with ``img_path``, ``data_root``, ``image_size``, ``resize``, ``intake``."""
        key = os.path.relpath(results["img_path"], results["data_root"]).replace(os.sep, "/")

        def change(image: np.ndarray) -> np.ndarray:
            return corrupt(image, self.corruption, self.severity, key)

        resize, intake = results.get("resize", LANCZOS), results.get("intake", PUBLISHED)
        image = load_image(results["img_path"], results["image_size"], resize, change, intake)
        return dict(inputs=torch.from_numpy(image), data_samples=make_sample(results))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(corruption={self.corruption!r}, severity={self.severity})"


def corrupted_rows(dataset: ReIDDataset, corruption: str, severity: int, modalities: Sequence[str]) -> ReIDDataset:
    """The images of some modalities of a data set, corrupted; the data set itself stays as it is.

    Raises:
        ValueError: it has no such image.
    """
    rows = np.flatnonzero(np.isin(dataset.rows()["modality"], list(modalities)))
    if not len(rows):
        raise ValueError(f"{dataset.name} {dataset.subset} has no {' or '.join(modalities)} image to corrupt")
    changed = copy.copy(dataset)
    changed.pipeline = Compose([LoadCorruptedImage(corruption, severity)])
    changed.get_subset_(rows)
    return changed
