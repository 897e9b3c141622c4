"""What travels with images: one record per image, one record per batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mscmreid.modalities import MODALITIES
from mscmreid.modalities import modality_index as modality_index

ROW_MODALITIES = (*MODALITIES, "mixed")
"""What a row inside the model may be: 2 is an image that a view mixed of both modalities (training only)."""


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
        modality: 0 visible, 1 infrared, 2 mixed.
        stream: index of the view the row came from (its place in the config's views).
        branch: 0 for the plain row, 1, 2, ... for rows a plugin expanded from it.
        image: index of the source image in the global batch (all ranks), or in the batch (inference).
        index: row of the source image in the data set; -1 where unknown.
        extra: name -> (N, ...) tensor: whatever else a row carries (see the preprocessor's ``extra_fields``).
    """

    label: Tensor
    modality: Tensor
    stream: Tensor
    branch: Tensor
    image: Tensor
    index: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def make(
        cls,
        label: Tensor,
        modality: str,
        stream: int,
        image: Tensor,
        index: Tensor | None = None,
        extra: dict[str, Tensor] | None = None,
    ) -> Rows:
        """Rows of one stream: ``label``, ``image`` and ``index`` (N,) integers, the same modality and stream for all.

        ``index`` None: unknown.
        """
        if modality not in ROW_MODALITIES:
            raise ValueError(f"modality must be one of {ROW_MODALITIES}, found {modality!r}")
        label = label.long()
        return cls(
            label=label,
            modality=torch.full_like(label, ROW_MODALITIES.index(modality)),
            stream=torch.full_like(label, stream),
            branch=torch.zeros_like(label),
            image=image.to(label),
            index=torch.full_like(label, -1) if index is None else index.to(label),
            extra=dict(extra or {}),
        )

    def map(self, function: Callable[..., Tensor], *others: Rows) -> Rows:
        """``function(column, columns of others, ...)`` of every column, those of ``extra`` too."""
        columns: dict[str, Any] = {}
        for f in fields(self):  # of an instance: torch.compile reads no fields of a class
            parts = [getattr(rows, f.name) for rows in (self, *others)]
            if f.name != "extra":
                columns[f.name] = function(*parts)
            elif any(part.keys() != parts[0].keys() for part in parts):
                raise ValueError(f"rows to be joined must carry the same extra columns, found {[*map(list, parts)]}")
            else:
                columns[f.name] = {name: function(*(part[name] for part in parts)) for name in parts[0]}
        return Rows(**columns)

    @classmethod
    def cat(cls, parts: Sequence[Rows]) -> Rows:
        """Rows of several batches, one after another."""
        return parts[0].map(lambda *columns: torch.cat(columns), *parts[1:])

    def expand_branches(self, num_branches: int) -> Rows:
        """[plain; branch 1; ...]: the rows repeated ``num_branches`` times, branch numbered 0, 1, ..."""
        return Rows.cat([replace(self, branch=self.branch + b) for b in range(num_branches)])

    def __getitem__(self, index) -> Rows:
        """The rows that a mask, slice or integer tensor selects."""
        return self.map(lambda column: column[index])

    def to(self, device: torch.device | str) -> Rows:
        """The same rows on another device."""
        return self.map(lambda column: column.to(device, non_blocking=True))
