"""Which gallery rows a query must not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ExclusionRule:
    """Gallery rows that a query ignores; several conditions add up.

    Attributes:
        camera_pairs: (query camera, gallery camera) pairs: such a query ignores every gallery row of that camera,
            whatever its id (SYSU-MM01: camera 3 ignores camera 2, the same room).
        same_camera: a query ignores every gallery row of its own camera number.
        same_id_same_camera: a query ignores gallery rows of its own id and its own camera number (LLCM).
    """

    camera_pairs: tuple[tuple[int, int], ...] = ()
    same_camera: bool = False
    same_id_same_camera: bool = False

    def __post_init__(self) -> None:
        pairs = tuple((int(query), int(gallery)) for query, gallery in self.camera_pairs)
        object.__setattr__(self, "camera_pairs", pairs)

    @property
    def needs_cameras(self) -> bool:
        """Whether cameras must be known to apply the rule."""
        return bool(self.camera_pairs) or self.same_camera or self.same_id_same_camera

    def describe(self) -> str:
        """The rule in a few words, as it stands in result files."""
        parts = [f"query camera {query} ignores gallery camera {gallery}" for query, gallery in self.camera_pairs]
        if self.same_camera:
            parts.append("same camera ignored")
        if self.same_id_same_camera:
            parts.append("same id and same camera ignored")
        return "; ".join(parts) or "nothing ignored"

    def ignored_cameras(self, query_cam: int, gallery_cams: np.ndarray) -> np.ndarray:
        """(G,) bool: gallery rows that a query of this camera ignores whatever their id."""
        ignored = np.zeros(len(gallery_cams), dtype=bool)
        for query, gallery in self.camera_pairs:
            if query == query_cam:
                ignored |= gallery_cams == gallery
        if self.same_camera:
            ignored |= gallery_cams == query_cam
        return ignored

    def ignored_matches(self, query_cams: np.ndarray | int, gallery_cams: np.ndarray) -> np.ndarray:
        """Bool, the shape that the two broadcast to: rows of the query's own id that it ignores for their camera."""
        return np.equal(query_cams, gallery_cams) & self.same_id_same_camera

    def ignored(self, query_pid: int, query_cam: int, gallery_pids: np.ndarray, gallery_cams: np.ndarray) -> np.ndarray:
        """(G,) bool: gallery rows that a query ignores."""
        matches = (gallery_pids == query_pid) & self.ignored_matches(query_cam, gallery_cams)
        return self.ignored_cameras(query_cam, gallery_cams) | matches


NOTHING_IGNORED = ExclusionRule()
