"""LLCM: both directions, in the two conventions that circulate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.evaluation.protocols.base import (
    DIRECTIONS,
    Columns,
    Protocol,
    check_choice,
    draw_by_random,
    folders,
    pick,
)
from mscmreid.evaluation.ranking import Selection
from mscmreid.evaluation.rules import ExclusionRule


class LLCMProtocol(Protocol):
    """LLCM: all images of one modality query; one image per (id, camera) of the other, drawn, is the gallery.

    A query ignores gallery images of its own id and its own camera. Identity CMC. The draws are those of
    ``random.Random(trial)`` over ids, then cameras, in ascending order.

    Args:
        direction: 'infrared-to-visible' or 'visible-to-infrared', query first.
        convention: 'paper' as above. 'deen-repo', of the code released with the data set, differs in
            visible-to-infrared: there the drawn infrared images query and all visible images are the gallery.
        trials: number of gallery draws, or which ones.
    """

    name = "LLCM"
    rule = ExclusionRule(same_id_same_camera=True)
    identity_cmc = True
    extra_features = ("sum",)

    def __init__(
        self,
        direction: str = "infrared-to-visible",
        convention: str = "paper",
        trials: int | Sequence[int] = 10,
    ) -> None:
        super().__init__(trials)
        self.direction = check_choice("direction", direction, DIRECTIONS)
        self.convention = check_choice("convention", convention, ("paper", "deen-repo"))

    @property
    def tag(self) -> str:
        """The direction, with the convention behind it where it is not the paper's."""
        return self.direction + ("_deen-repo" if self.convention == "deen-repo" else "")

    def published(self) -> tuple[int, int]:
        images, drawn = dict(infrared=7166, visible=8680), dict(infrared=619, visible=484)
        query, gallery = self.direction.split("-to-")
        return (drawn[gallery], images[query]) if self._is_swapped else (images[query], drawn[gallery])

    @property
    def _is_swapped(self) -> bool:
        return self.convention == "deen-repo" and self.direction == "visible-to-infrared"

    def fields(self) -> dict[str, Any]:
        return dict(direction=self.direction, convention=self.convention)

    def selections(self, columns: Columns, data_root: str | Path | None = None) -> list[Selection]:
        modality = np.asarray(columns["modality"])
        query_name, gallery_name = self.direction.split("-to-")
        queries = pick(columns, f"LLCM's {query_name} images", modality == query_name)
        others = pick(columns, f"LLCM's {gallery_name} images", modality == gallery_name)
        groups = folders(columns, others)
        draws = [(trial, draw_by_random(groups, trial, shots=1)) for trial in self.trials]
        if self._is_swapped:
            return [self._select(trial, drawn, queries) for trial, drawn in draws]
        return [self._select(trial, queries, drawn) for trial, drawn in draws]
