"""SYSU-MM01."""

from __future__ import annotations

import os

from mscmreid.datasets.base import ReIDDataset
from mscmreid.datasets.listing import FolderScan, ImageRow, read_ids, require
from mscmreid.datasets.statistics import Counts
from mscmreid.registry import DATASETS

MODALITY_OF_CAMERA = {1: "visible", 2: "visible", 3: "infrared", 4: "visible", 5: "visible", 6: "infrared"}
LISTS = {"trainval": ("train", "val"), "train": ("train",), "val": ("val",), "test": ("test",)}


@DATASETS.register_module()
class SYSUMM01(ReIDDataset):
    """SYSU-MM01 (Wu et al., ICCV 2017): 491 people, four visible and two near infrared cameras.

    ::

        SYSU-MM01/
            cam1/ ... cam6/         cameras 1, 2, 4, 5 visible; 3, 6 infrared
                0001/               person (not everyone is in every camera)
                    0001.jpg        frame
            exp/
                train_id.txt        one line, ids separated by commas
                val_id.txt
                test_id.txt

    ========  =====  ========  =========
    split     ids    visible   infrared
    ========  =====  ========  =========
    trainval  395    22,258    11,909
    train     296    20,284     9,929
    val        99     1,974     1,980
    test       96     6,775     3,803
    ========  =====  ========  =========

    Published training uses 'trainval'; 'train' and 'val' select a model without looking at the test people. 'test'
    has all images of the test people: a protocol picks queries and galleries from them.

    Args: see ``ReIDDataset``.
    """

    NAME = "SYSU-MM01"
    SPLITS = ("trainval", "train", "val", "test")

    def scan(self, folders: FolderScan) -> list[ImageRow]:
        cameras = {camera: f"cam{camera}" for camera in MODALITY_OF_CAMERA}
        people: dict[int, set[str]] = {}
        for camera, folder in cameras.items():
            require(os.path.join(self.data_root, folder), f"{self.name}'s folder of camera {camera}")
            people[camera] = set(folders.folders(folder))
        rows: list[ImageRow] = []
        for pid in self._ids("test" if self.subset == "test" else "trainval"):
            name, before = f"{pid:04d}", len(rows)
            for camera, modality in MODALITY_OF_CAMERA.items():
                if name in people[camera]:
                    folder = f"{cameras[camera]}/{name}"
                    rows += [
                        ImageRow(f"{folder}/{n}", s, t, pid, camera, modality) for n, s, t in folders.images(folder)
                    ]
            if len(rows) == before and self.check_counts:
                raise FileNotFoundError(
                    f"{self.name}: person {pid} stands in the lists of 'exp' but has no image: looked for "
                    f"'cam1/{name}' ... 'cam6/{name}' in {self.data_root!r}. Where a part of the data set is meant, "
                    "set check_counts=False"
                )
        self._chosen = set(self._ids(self.subset))
        return rows

    def belongs(self, row: ImageRow) -> bool:
        return row.pid in self._chosen

    def scope(self) -> str:
        return "test" if self.subset == "test" else "trainval"

    def published(self) -> Counts:
        counts = {
            "trainval": {"visible": (395, 22258), "infrared": (395, 11909)},
            "train": {"visible": (296, 20284), "infrared": (296, 9929)},
            "val": {"visible": (99, 1974), "infrared": (99, 1980)},
            "test": {"visible": (96, 6775), "infrared": (96, 3803)},
        }
        return counts[self.subset]

    def _ids(self, split: str) -> list[int]:
        exp = os.path.join(self.data_root, "exp")
        return sorted(
            pid
            for name in LISTS[split]
            for pid in read_ids(os.path.join(exp, f"{name}_id.txt"), f"{self.name}'s list of {name} ids")
        )
