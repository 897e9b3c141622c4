"""A made-up SYSU-MM01-like feature table for tests."""

from __future__ import annotations

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
