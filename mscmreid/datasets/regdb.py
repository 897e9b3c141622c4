"""RegDB."""

from __future__ import annotations

import os
from typing import Any

from mscmreid.datasets.base import ReIDDataset
from mscmreid.datasets.listing import FolderScan, ImageRow, person_number, read_paths, require
from mscmreid.datasets.statistics import Counts
from mscmreid.registry import DATASETS

FOLDERS = {"visible": ("Visible", 1), "infrared": ("Thermal", 2)}
"""modality -> (folder, camera): one visible and one thermal camera, numbered here 1 and 2."""


@DATASETS.register_module()
class RegDB(ReIDDataset):
    """RegDB (Nguyen et al., Sensors 2017): 412 people, 10 visible and 10 thermal (far infrared) images each.

    ::

        RegDB/
            Visible/285/male_back_v_05528_285.bmp
            Thermal/285/male_back_t_05452_285.bmp
            idx/
                train_visible_1.txt ... train_visible_10.txt    lines "path label"
                train_thermal_*.txt, test_visible_*.txt, test_thermal_*.txt

    Ten splits, each a training of its own: 206 people (2,060 + 2,060 images) to train, 206 to test.
    ``metainfo['split']`` is the split's number, ``metainfo['subset']`` 'train' or 'test'.

    Args:
        split_id: 1 to 10.
        base: see ``ReIDDataset``; ``split`` is 'train' or 'test'.
    """

    NAME = "RegDB"
    SPLITS = ("train", "test")

    def __init__(self, split_id: int = 1, **base: Any) -> None:
        if split_id not in range(1, 11):
            raise ValueError(f"RegDB has the splits 1 to 10, found split_id={split_id!r}")
        self.split_id = int(split_id)
        super().__init__(**base)

    def scan(self, folders: FolderScan) -> list[ImageRow]:
        """All images of all splits: the ten splits share one cache."""
        listed: set[str] = set()
        for top, _ in FOLDERS.values():
            name = f"{self.subset}_{top.lower()}_{self.split_id}.txt"
            what = f"{self.name}'s list of split {self.split_id}"
            listed.update(read_paths(os.path.join(self.data_root, "idx", name), what))
        rows: list[ImageRow] = []
        for modality, (top, camera) in FOLDERS.items():
            where = require(os.path.join(self.data_root, top), f"{self.name}'s folder of {modality} images")
            for name in folders.folders(top):
                pid = person_number(name, where)
                rows += [
                    ImageRow(f"{top}/{name}/{n}", s, t, pid, camera, modality)
                    for n, s, t in folders.images(f"{top}/{name}")
                ]
        missing = sorted(listed - {row.path for row in rows})
        if missing:
            raise FileNotFoundError(
                f"{self.name}: {len(missing)} images of split {self.split_id} are missing, first: looked for "
                f"{os.path.join(self.data_root, missing[0])!r}"
            )
        self._listed = listed
        return sorted(rows, key=lambda row: (row.pid, row.cam_id, row.path))

    def belongs(self, row: ImageRow) -> bool:
        return row.path in self._listed

    def scope(self) -> str:
        return "all"

    def split_name(self) -> str:
        return str(self.split_id)

    def published(self) -> Counts:
        return {"visible": (206, 2060), "infrared": (206, 2060)}
