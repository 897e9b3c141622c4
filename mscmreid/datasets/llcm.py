"""LLCM."""

from __future__ import annotations

import os
import re

from mscmreid.datasets.base import ReIDDataset
from mscmreid.datasets.listing import FolderScan, ImageRow, person_number, read_paths
from mscmreid.datasets.statistics import Counts
from mscmreid.registry import DATASETS

FOLDERS = {"visible": "vis", "infrared": "nir"}


@DATASETS.register_module()
class LLCM(ReIDDataset):
    """LLCM (Zhang and Wang, CVPR 2023): 1,064 people, nine cameras that see visible light and near infrared.

    ::

        LLCM/
            vis/0250/0250_c03_s200519_f13770_vis.jpg                 training images; _c03_ is the camera
            nir/0250/0250_c06_s195701_f13335_nir.jpg
            test_vis/cam5/0891/0891_c05_s181957_f20790_vis.jpg       test images
            test_nir/cam6/0891/0891_c06_s183650_f2130_nir.jpg
            idx/{train,test}_{vis,nir}.txt                           lines "path label", paths as vis/0891/...

    =====  =====  ========  =========
    split  ids    visible   infrared
    =====  =====  ========  =========
    train  713    16,946    13,975
    test   351     8,680     7,166
    =====  =====  ========  =========

    Args: see ``ReIDDataset``.
    """

    NAME = "LLCM"
    SPLITS = ("train", "test")

    def scan(self, folders: FolderScan) -> list[ImageRow]:
        rows = [row for modality in FOLDERS for row in self._scan_modality(folders, modality)]
        return sorted(rows, key=lambda row: (row.pid, row.cam_id, os.path.basename(row.path)))

    def published(self) -> Counts:
        if self.training:
            return {"visible": (713, 16946), "infrared": (713, 13975)}
        return {"visible": (351, 8680), "infrared": (351, 7166)}

    def _scan_modality(self, folders: FolderScan, modality: str) -> list[ImageRow]:
        short = FOLDERS[modality]
        idx = os.path.join(self.data_root, "idx", f"{self.subset}_{short}.txt")
        present: dict[str, dict[str, tuple[int, int]]] = {}  # folder -> file name -> (bytes, mtime)
        rows = []
        for listed in read_paths(idx, f"{self.name}'s list of {modality} {self.subset} images"):
            person, name = os.path.split(listed)
            camera = re.search(r"_c(\d+)_", name)
            if camera is None or os.path.dirname(person) != short:
                raise ValueError(f"{idx!r}: expected '{short}/<person>/<person>_c<camera>_....jpg', found {listed!r}")
            cam_id = int(camera[1])
            pid = person_number(os.path.basename(person), idx)
            folder = person if self.training else f"test_{short}/cam{cam_id}/{os.path.basename(person)}"
            if folder not in present:
                present[folder] = {n: (s, t) for n, s, t in folders.images(folder)}
            if name not in present[folder]:
                path = os.path.join(self.data_root, folder, name)
                raise FileNotFoundError(f"{self.name}: an image of {idx!r} is missing: looked for {path!r}")
            rows.append(ImageRow(f"{folder}/{name}", *present[folder][name], pid, cam_id, modality))
        return rows
