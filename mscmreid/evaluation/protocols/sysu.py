"""SYSU-MM01: all-search and indoor-search, single-shot and multi-shot, with both lineages of gallery draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.evaluation.protocols.base import Columns, Protocol, check_choice, draw_by_random, folders, pick
from mscmreid.evaluation.ranking import Selection
from mscmreid.evaluation.rules import ExclusionRule
from mscmreid.gate import check_regular, damage_named

GALLERY_CAMERAS = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
QUERY_CAMERAS = (3, 6)


class SYSUProtocol(Protocol):
    """SYSU-MM01: all infrared images of cameras 3 and 6 query, drawn visible images are the gallery.

    A query of camera 3 ignores every gallery image of camera 2 (the same room). Identity CMC.

    Args:
        mode: 'all' (gallery cameras 1, 2, 4, 5) or 'indoor' (1, 2).
        shots: gallery images per (id, camera): 1 (single-shot) or 10 (multi-shot).
        lineage: 'agw': ``random.Random(trial)`` over sorted files, as in the code of AGW, CAJ, DEEN and MSCMNet
            (single-shot; multi-shot is ours: ``sample``). 'official': the draws of ``rand_perm_cam.mat``, as in the
            data set's own evaluation.
        trials: number of gallery draws, or which ones.
        rand_perm_file: the .mat file of the official lineage; ``exp/rand_perm_cam.mat`` of the data root if None.
    """

    name = "SYSU-MM01"
    rule = ExclusionRule(camera_pairs=((3, 2),))
    identity_cmc = True

    def __init__(
        self,
        mode: str = "all",
        shots: int = 1,
        lineage: str = "agw",
        trials: int | Sequence[int] = 10,
        rand_perm_file: str | Path | None = None,
    ) -> None:
        super().__init__(trials)
        if shots not in (1, 10):
            raise ValueError(f"shots must be 1 (single-shot) or 10 (multi-shot), found {shots!r}")
        self.mode = check_choice("mode", mode, tuple(GALLERY_CAMERAS))
        self.lineage = check_choice("lineage", lineage, ("agw", "official"))
        self.shots = shots
        self.rand_perm_file = rand_perm_file

    @property
    def tag(self) -> str:
        """'all', 'indoor', 'all_multi', 'indoor_official', ..."""
        return self.mode + ("_multi" if self.shots > 1 else "") + ("_official" if self.lineage == "official" else "")

    def published(self) -> tuple[int, int]:
        return 3803, {"all": 301, "indoor": 112}[self.mode] * self.shots

    def fields(self) -> dict[str, Any]:
        return dict(mode=f"{self.mode}-search", shots=self.shots, lineage=self.lineage, direction="infrared-to-visible")

    def selections(self, columns: Columns, data_root: str | Path | None = None) -> list[Selection]:
        modality, cam = np.asarray(columns["modality"]), np.asarray(columns["cam_id"])
        is_query = (modality == "infrared") & np.isin(cam, QUERY_CAMERAS)
        query = pick(columns, f"SYSU-MM01's queries (infrared, cameras {QUERY_CAMERAS})", is_query)
        cameras = GALLERY_CAMERAS[self.mode]
        in_gallery = (modality == "visible") & np.isin(cam, cameras)
        candidates = pick(columns, f"the {self.mode}-search gallery (visible, cameras {cameras})", in_gallery)
        groups = folders(columns, candidates)
        if self.lineage == "agw":
            return [self._select(t, query, draw_by_random(groups, t, self.shots)) for t in self.trials]
        permutations = read_permutations(self._permutation_file(data_root))
        return [
            self._select(t, query, draw_by_permutation(groups, permutations, t, self.shots, columns["path"]))
            for t in self.trials
        ]

    def _permutation_file(self, data_root: str | Path | None) -> Path:
        if self.rand_perm_file is not None:
            return Path(self.rand_perm_file)
        if data_root is None:
            raise ValueError(
                "the 'official' lineage reads exp/rand_perm_cam.mat of the data set: give the data root or "
                "rand_perm_file"
            )
        return Path(data_root) / "exp" / "rand_perm_cam.mat"


def read_permutations(path: str | Path) -> dict[tuple[int, int], np.ndarray]:
    """``rand_perm_cam.mat`` of SYSU-MM01: (pid, camera) -> (trials, frames) 1-based positions in the sorted frames.

    Raises:
        FileNotFoundError: no such file.
        ImportError: scipy is not installed.
        ValueError: the file does not have the data set's layout.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}: the 'official' lineage needs the gallery permutations that come with SYSU-MM01 "
            "(exp/rand_perm_cam.mat); set rand_perm_file, or use lineage='agw'"
        )
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError("reading .mat files needs scipy: pip install 'mscmreid[mat]'") from error
    check_regular(path, "SYSU-MM01's gallery permutations")
    with damage_named(path, "SYSU-MM01's gallery permutations"):
        content = loadmat(str(path))
    if "rand_perm_cam" not in content:
        names = [name for name in content if not name.startswith("__")]
        raise ValueError(f"{path} must hold the variable rand_perm_cam, found {names}")
    permutations = {}
    for camera, people in enumerate(content["rand_perm_cam"].ravel(), start=1):
        for pid, draws in enumerate(people.ravel(), start=1):
            if draws.size:
                permutations[pid, camera] = draws.astype(np.int64)
    return permutations


def draw_by_permutation(
    groups: dict[tuple[int, int], list[int]],
    permutations: dict[tuple[int, int], np.ndarray],
    trial: int,
    shots: int,
    paths: Sequence[str],
) -> np.ndarray:
    """Gallery of one trial: the first ``shots`` entries of the trial's permutation of each (pid, camera).

    Raises:
        ValueError: a folder whose frames are not as many as its permutation has, or a trial that the file lacks.
    """
    rows: list[int] = []
    for (pid, camera), files in groups.items():
        draws = permutations.get((pid, camera))
        where = f"camera {camera}, id {pid} (first file {paths[files[0]]})"
        if draws is None or draws.shape[1] != len(files):
            there = "no" if draws is None else str(draws.shape[1])
            raise ValueError(
                f"rand_perm_cam.mat permutes {there} frames of {where}, the data has {len(files)}: file and images "
                "do not belong together, or rows are missing"
            )
        if trial >= len(draws):
            raise ValueError(f"rand_perm_cam.mat has trials 0..{len(draws) - 1} of {where}, asked for {trial}")
        rows += [files[position - 1] for position in draws[trial, :shots]]
    return np.array(rows, dtype=np.int64)
