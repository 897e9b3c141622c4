"""A few people with images on disk and features, in the way of SYSU-MM01, for pictures and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mscmreid.evaluation import FeatureTable

CAMERAS = (1, 2, 3, 4, 5, 6)


def toy_table(root: Path | None = None, num_ids: int = 6, frames: int = 2, noise: float = 1.0) -> FeatureTable:
    """Features of ``frames`` images of each person and camera; with ``root``, the images are written there.

    Every person's images have one colour of their own.
    """
    rng = np.random.default_rng(0)
    rows = [(pid, cam, k) for pid in range(1, num_ids + 1) for cam in CAMERAS for k in range(1, frames + 1)]
    paths = [f"cam{cam}/{pid:04d}/{k:04d}.png" for pid, cam, k in rows]
    if root is not None:
        for path, (pid, _, k) in zip(paths, rows, strict=True):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 32), (40 * pid % 256, 90 * pid % 256, 10 * k)).save(root / path)
    pid = np.array([row[0] for row in rows])
    cam = np.array([row[1] for row in rows])
    people = rng.normal(size=(num_ids + 1, 16))
    features = {}
    for name in ("feat_pool", "feat_bn"):
        values = people[pid] + noise * rng.normal(size=(len(rows), 16))
        features[name] = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    meta = dict(dataset_name="SYSU-MM01", split="test", checkpoint_sha256="c0ffee" * 10, versions=dict(torch="2"))
    if root is not None:
        meta["data_root"] = str(root)
    return FeatureTable(paths, pid, cam, np.where(np.isin(cam, (3, 6)), "infrared", "visible"), features, meta)
