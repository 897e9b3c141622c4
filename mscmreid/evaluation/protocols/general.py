"""A protocol for one's own data: query and gallery by modality, cameras or a role column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.evaluation.protocols.base import Columns, Protocol, draw_by_random, folders, pick
from mscmreid.evaluation.ranking import Selection
from mscmreid.evaluation.rules import ExclusionRule

CONDITIONS = ("modality", "cameras", "role")
EXCLUSIONS = {
    "none": ExclusionRule(),
    "camera": ExclusionRule(same_camera=True),
    "id-camera": ExclusionRule(same_id_same_camera=True),
}


class GeneralProtocol(Protocol):
    """Any query set against any gallery of one data set.

    Args:
        query, gallery: which rows: ``dict(modality='infrared', cameras=[3, 6], role='query')``, any of the three; all
            given conditions must hold. ``role`` is the column of that name in the data.
        exclude: 'none'; 'camera': a query ignores the gallery rows of its own camera; 'id-camera': those of its own id
            and camera.
        camera_pairs: further (query camera, gallery camera) pairs to ignore.
        identity_cmc: identity CMC instead of plain CMC.
        shots: gallery images drawn per (id, camera) in each trial (``random.Random(trial)``); all if None.
        trials: number of draws, or which ones; 1 without ``shots``.
        name: the protocol's name in results.
    """

    def __init__(
        self,
        query: Mapping[str, Any],
        gallery: Mapping[str, Any],
        exclude: str = "none",
        camera_pairs: Sequence[Sequence[int]] = (),
        identity_cmc: bool = False,
        shots: int | None = None,
        trials: int | Sequence[int] | None = None,
        name: str = "general",
    ) -> None:
        super().__init__(trials if trials is not None else (10 if shots else 1))
        if exclude not in EXCLUSIONS:
            raise ValueError(f"exclude must be one of {', '.join(map(repr, EXCLUSIONS))}, found {exclude!r}")
        if shots is not None and shots < 1:
            raise ValueError(f"shots must be a positive number or None, found {shots}")
        if shots is None and len(self.trials) > 1:
            raise ValueError(f"without shots nothing is drawn, so one trial is all there is; found trials={trials!r}")
        base = EXCLUSIONS[exclude]
        self.exclude, self.camera_pairs = exclude, tuple((int(q), int(g)) for q, g in camera_pairs)
        self.rule = ExclusionRule(self.camera_pairs, base.same_camera, base.same_id_same_camera)
        self.identity_cmc = identity_cmc
        self.query, self.gallery = _conditions("query", query), _conditions("gallery", gallery)
        self.shots = shots
        self.draws = shots is not None
        self.name = name

    @property
    def tag(self) -> str:
        """The protocol's name."""
        return self.name

    def fields(self) -> dict[str, Any]:
        return dict(mode=f"{_describe(self.query)} -> {_describe(self.gallery)}", shots=self.shots)

    def selections(self, columns: Columns, data_root: str | Path | None = None) -> list[Selection]:
        query = pick(columns, f"{self.name}'s query ({_describe(self.query)})", _mask(columns, self.query))
        candidates = pick(columns, f"{self.name}'s gallery ({_describe(self.gallery)})", _mask(columns, self.gallery))
        both = np.intersect1d(query, candidates)
        if len(both):
            raise ValueError(
                f"{len(both)} row(s) are query and gallery at once (first: {columns['path'][both[0]]}): an image would "
                "find itself; separate them by modality, cameras or role"
            )
        if self.shots is None:
            return [self._select(self.trials[0], query, candidates)]
        groups = folders(columns, candidates)
        return [self._select(t, query, draw_by_random(groups, t, self.shots)) for t in self.trials]


def _conditions(what: str, given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(CONDITIONS))
    if unknown or not given:
        raise ValueError(f"{what} must be a dict with some of {CONDITIONS}, found {dict(given)!r}")
    return dict(given)


def _mask(columns: Columns, conditions: Mapping[str, Any]) -> np.ndarray:
    mask = np.ones(len(columns["path"]), dtype=bool)
    if "modality" in conditions:
        mask &= np.asarray(columns["modality"]) == conditions["modality"]
    if "cameras" in conditions:
        mask &= np.isin(np.asarray(columns["cam_id"]), list(conditions["cameras"]))
    if "role" in conditions:
        if columns.get("role") is None:
            raise ValueError(f"the protocol asks for role {conditions['role']!r}, but the data has no role column")
        mask &= np.asarray(columns["role"]) == conditions["role"]
    return mask


def _describe(conditions: Mapping[str, Any]) -> str:
    parts = []
    for name, value in conditions.items():
        parts.append(f"cameras {','.join(map(str, value))}" if name == "cameras" else str(value))
    return " ".join(parts)
