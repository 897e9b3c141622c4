"""RegDB: all images of one modality query, all of the other are the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.evaluation.protocols.base import DIRECTIONS, Columns, Protocol, check_choice, pick
from mscmreid.evaluation.ranking import Selection


class RegDBProtocol(Protocol):
    """RegDB: one direction of one of its ten splits; plain CMC, nothing ignored, nothing drawn.

    A published number is the mean over the ten splits, each with a training of its own.

    Args:
        direction: 'visible-to-infrared' or 'infrared-to-visible', query first; infrared is RegDB's thermal.
    """

    name = "RegDB"
    draws = False

    def __init__(self, direction: str = "visible-to-infrared") -> None:
        super().__init__(trials=1)
        self.direction = check_choice("direction", direction, DIRECTIONS)

    @property
    def tag(self) -> str:
        """The direction."""
        return self.direction

    def published(self) -> tuple[int, int]:
        return 2060, 2060

    def fields(self) -> dict[str, Any]:
        return dict(direction=self.direction)

    def selections(self, columns: Columns, data_root: str | Path | None = None) -> list[Selection]:
        modality = np.asarray(columns["modality"])
        query, gallery = self.direction.split("-to-")
        return [
            self._select(
                0,
                pick(columns, f"RegDB's {query} queries", modality == query),
                pick(columns, f"RegDB's {gallery} gallery", modality == gallery),
            )
        ]
