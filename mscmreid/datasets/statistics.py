"""How many ids, images and cameras a set of rows has, as a table, and how that differs from the publication."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mscmreid.structures import MODALITIES
from mscmreid.tables import aligned_lines

Counts = Mapping[str, tuple[int, int]]
"""modality -> (ids, images)."""


def count_rows(rows: Mapping) -> dict[str, tuple[int, int]]:
    """(ids, images) of each modality in the columns that ``ReIDDataset.rows`` returns."""
    chosen = {name: rows["modality"] == name for name in MODALITIES}
    return {name: (len(np.unique(rows["pid"][mask])), int(mask.sum())) for name, mask in chosen.items()}


def statistics_table(rows: Mapping, title: str) -> str:
    """A table with a line a modality and one for all: ids, images, cameras.

    Args:
        rows: columns ``pid``, ``cam_id``, ``modality``, as ``ReIDDataset.rows`` returns them.
        title: stands in the head of the first column, such as 'SYSU-MM01 trainval'.
    """
    lines = [(title, "ids", "images", "cameras")]
    for name in (*MODALITIES, "all"):
        mask = np.ones(len(rows["pid"]), dtype=bool) if name == "all" else rows["modality"] == name
        cameras = " ".join(str(cam) for cam in np.unique(rows["cam_id"][mask])) or "-"
        lines.append((name, f"{len(np.unique(rows['pid'][mask])):,}", f"{int(mask.sum()):,}", cameras))
    return "\n".join(aligned_lines(lines))


def differences(counts: Counts, published: Counts) -> list[str]:
    """A line for every modality whose ids or images are not the published ones."""
    return [
        f"{modality}: {counts[modality][0]:,} ids, {counts[modality][1]:,} images (published {ids:,} and {images:,})"
        for modality, (ids, images) in published.items()
        if counts[modality] != (ids, images)
    ]
