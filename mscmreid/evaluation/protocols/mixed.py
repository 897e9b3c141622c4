"""A gallery of both modalities, for any data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.evaluation.protocols.base import Columns, Protocol, check_choice, draw_by_random, folders, pick
from mscmreid.evaluation.ranking import Selection
from mscmreid.evaluation.rules import ExclusionRule

QUERIES = ("infrared", "visible", "both")


class MixedGalleryProtocol(Protocol):
    """All images of one modality (or of both) query; the gallery has images of both modalities.

    What mix-modality re-identification asks for (Liu et al., arXiv 2412.04719): somebody else in the query's own
    modality must not come before the person in the other. The draws and the rule are our reading, not the paper's
    lists, so numbers cannot be compared with its. From each id, camera and modality ``shots`` images are drawn with
    ``random.Random(trial)``, each modality by itself, so that either part of the gallery is that of the cross-modality
    protocols with the same draw. A query ignores gallery images of its own id and its own camera, which are the image
    itself or nearly so.

    Args:
        query: 'infrared', 'visible' or 'both'.
        shots: images drawn per (id, camera, modality) in each trial; None: the gallery is all images.
        trials: number of gallery draws, or which ones; None: 10, or 1 where nothing is drawn.
        camera_pairs: further (query camera, gallery camera) pairs to ignore, such as SYSU-MM01's one room.
        identity_cmc: identity CMC instead of plain CMC.
    """

    name = "mixed gallery"

    def __init__(
        self,
        query: str = "infrared",
        shots: int | None = 1,
        trials: int | Sequence[int] | None = None,
        camera_pairs: Sequence[Sequence[int]] = (),
        identity_cmc: bool = True,
    ) -> None:
        super().__init__(trials if trials is not None else (1 if shots is None else 10))
        self.query = check_choice("query", query, QUERIES)
        if shots is not None and shots < 1:
            raise ValueError(f"shots must be a positive number or None, found {shots}")
        if shots is None and len(self.trials) > 1:
            raise ValueError(f"without shots nothing is drawn, so one trial is all there is; found trials={trials!r}")
        self.shots = shots
        self.draws = shots is not None
        self.identity_cmc = identity_cmc
        self.camera_pairs = tuple((int(q), int(g)) for q, g in camera_pairs)
        self.rule = ExclusionRule(self.camera_pairs, same_id_same_camera=True)

    @property
    def tag(self) -> str:
        """'infrared-to-mixed', 'visible-to-mixed', 'both-to-mixed', with the number of shots where it is not 1."""
        return f"{self.query}-to-mixed" + ("" if self.shots in (1, None) else f"_{self.shots}")

    def fields(self) -> dict[str, Any]:
        return dict(direction=f"{self.query}-to-mixed", shots=self.shots)

    def selections(self, columns: Columns, data_root: str | Path | None = None) -> list[Selection]:
        modality = np.asarray(columns["modality"])
        rows = {name: pick(columns, f"the {name} images", modality == name) for name in ("visible", "infrared")}
        both = np.concatenate(list(rows.values()))
        query = both if self.query == "both" else rows[self.query]
        if self.shots is None:
            return [self._select(self.trials[0], query, both)]
        groups = [folders(columns, own) for own in rows.values()]
        return [
            self._select(t, query, np.concatenate([draw_by_random(own, t, self.shots) for own in groups]))
            for t in self.trials
        ]
