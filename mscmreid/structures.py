"""What travels with images: one record per image, one record per batch of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

MODALITIES = ("visible", "infrared")
"""Index of a modality in integer tensors: 0 visible, 1 infrared."""


def modality_index(name: str) -> int:
    """0 for 'visible', 1 for 'infrared'; anything else is a ValueError."""
    if name not in MODALITIES:
        raise ValueError(f"modality must be one of {MODALITIES}, found {name!r}")
    return MODALITIES.index(name)


class ReIDDataSample(BaseDataElement):
    """One image's record.

    Meta information: ``img_path`` (str), ``pid`` (int, as the data set numbers it), ``cam_id`` (int),
    ``modality`` ('visible' or 'infrared'), ``sample_idx`` (row in the data set), and in training ``label``
    (class index 0..C-1). Prediction adds the data fields ``feat_pool`` and ``feat_bn``, (D,) float32, unit length.
    """


@dataclass
class Rows:
    """The record of a batch's rows inside the model: integer tensors of shape (N,), one entry a row.

    Attributes:
        label: class index; -1 where unknown (inference).
        modality: 0 visible, 1 infrared.
        stream: index of the view the row came from (its place in the config's list of views).
        branch: 0 for the plain row, 1, 2, ... for rows a plugin expanded from it.
        image: index of the source image in the global batch (all ranks), or in the batch (inference).
    """

    label: Tensor
    modality: Tensor
    stream: Tensor
    branch: Tensor
    image: Tensor

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def make(cls, label: Tensor, modality: str, stream: int, image: Tensor) -> Rows:
        """Rows of one stream: ``label`` and ``image`` (N,) integers, everything else constant."""
        label = label.long()
        return cls(
            label=label,
            modality=torch.full_like(label, modality_index(modality)),
            stream=torch.full_like(label, stream),
            branch=torch.zeros_like(label),
            image=image.to(label),
        )

    @classmethod
    def cat(cls, parts: Sequence[Rows]) -> Rows:
        """Rows of several batches, one after another."""
        names = [f.name for f in fields(parts[0])]  # of an instance: torch.compile reads no fields of a class
        return cls(**{name: torch.cat([getattr(p, name) for p in parts]) for name in names})

    def expand_branches(self, num_branches: int) -> Rows:
        """[plain; branch 1; ...]: the rows repeated ``num_branches`` times, branch numbered 0, 1, ..."""
        return Rows.cat([replace(self, branch=self.branch + b) for b in range(num_branches)])

    def __getitem__(self, index) -> Rows:
        """The rows that a mask, slice or integer tensor selects."""
        return Rows(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device | str) -> Rows:
        """The same rows on another device."""
        return Rows(**{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})
