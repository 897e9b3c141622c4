"""A map of features: points of a plane that a reader can ask who they are, still a picture without a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mscmreid.evaluation import FeatureTable
from mscmreid.evaluation.embedding import Embedding

MAX_POINTS = 4000
SIDE = 10000  # coordinates are whole numbers 0..SIDE along the longer side
WIDTH, TOP = 1000, 34


def feature_map(
    embedding: Embedding, table: FeatureTable, rows: np.ndarray, tiles: Mapping[int, int], sprite: dict | None
) -> dict[str, Any]:
    """What the template needs to draw a map.

    Args:
        embedding: the points of ``rows``.
        table: the images.
        rows: (n,) of the table.
        tiles: row -> number of its picture in the sprite, of those that have one.
        sprite: of :class:`mscmreid.visualization.report.Thumbnails`, None without pictures.

    Returns:
        ``data`` for the script (JSON values) and, for the picture without it, ``width``, ``height`` and a path of dots
        for each modality.
    """
    low, high = embedding.points.min(axis=0), embedding.points.max(axis=0)
    span = float((high - low).max()) or 1.0
    points = np.round((embedding.points - low) / span * SIDE).astype(int)
    points[:, 1] = points[:, 1].max() - points[:, 1]  # upwards, as in any chart
    width, height = (int(v) for v in points.max(axis=0).clip(min=1))
    scale = min(960 / width, 620 / height)
    dots = {}
    for modality in ("visible", "infrared"):
        chosen = points[table.modality[rows] == modality] * scale
        left = (WIDTH - width * scale) / 2
        dots[modality] = "".join(f"M{left + x:.0f} {TOP + 16 + y:.0f}h0" for x, y in chosen)
    data = dict(
        x=points[:, 0].tolist(),
        y=points[:, 1].tolist(),
        pid=table.pid[rows].tolist(),
        cam=table.cam_id[rows].tolist(),
        infrared=(table.modality[rows] == "infrared").astype(int).tolist(),
        path=[table.path[row] for row in rows],
        tile=[tiles.get(int(row), -1) for row in rows],
        sprite=sprite,
    )
    return dict(data=data, dots=dots, width=WIDTH, height=round(TOP + 32 + height * scale), top=TOP)
