"""A made-up SYSU-MM01-like feature table for tests, and rows of the true lists."""

from __future__ import annotations

import json

import numpy as np

from mscmreid.evaluation import FeatureTable


def make_table(num_ids=12, frames=4, dim=16, noise=0.5, seed=0, flip=False) -> FeatureTable:
    """Ids 1..num_ids in cameras 1-6; unit features feat_bn and feat_pool around a prototype of each id."""
    rs = np.random.RandomState(seed)
    keys = [(cam, pid, frame) for cam in range(1, 7) for pid in range(1, num_ids + 1) for frame in range(1, frames + 1)]
    cam, pid, _ = np.array(keys).T
    prototypes = rs.normal(size=(num_ids + 1, dim))

    def unit():
        x = prototypes[pid] + noise * rs.normal(size=(len(pid), dim))
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    names = [name + end for name in ("feat_bn", "feat_pool") for end in (("", "_flip") if flip else ("",))]
    return FeatureTable(
        [f"cam{c}/{p:04d}/{f:04d}.jpg" for c, p, f in keys],
        pid,
        cam,
        np.where(np.isin(cam, (3, 6)), "infrared", "visible"),
        {name: unit() for name in names},
        dict(dataset_name="SYSU-MM01", split="test", checkpoint="best.pth", checkpoint_sha256="ab" * 32),
    )


def make_columns(rows):
    """Columns of (path, pid, cam_id, modality) rows, in an order that is nobody's."""
    rows = [rows[i] for i in np.random.RandomState(0).permutation(len(rows))]
    path, pid, cam, modality = zip(*rows, strict=True)
    return dict(path=list(path), pid=np.array(pid), cam_id=np.array(cam), modality=np.array(modality))


def sysu_columns(splits, split="test"):
    root = splits / "SYSU-MM01"
    counts = json.loads((root / "image_counts.json").read_text())
    ids = [int(i) for i in (root / "exp" / f"{split}_id.txt").read_text().strip().rstrip(",").split(",")]
    return make_columns(
        [
            (f"cam{cam}/{pid:04d}/{frame:04d}.jpg", pid, cam, "infrared" if cam in (3, 6) else "visible")
            for cam in range(1, 7)
            for pid in ids
            for frame in range(1, counts[f"cam{cam}"].get(f"{pid:04d}", 0) + 1)
        ]
    )


def llcm_columns(splits):
    rows = []
    for short, modality in (("vis", "visible"), ("nir", "infrared")):
        for line in (splits / "LLCM" / "idx" / f"test_{short}.txt").read_text().split("\n"):
            if line:
                pid, name = line.split()[0].split("/")[1:]
                cam = int(name.split("_")[1][1:])
                rows.append((f"test_{short}/cam{cam}/{pid}/{name}", int(pid), cam, modality))
    return make_columns(rows)
