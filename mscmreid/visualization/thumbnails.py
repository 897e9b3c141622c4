"""Small pictures inside a report."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mscmreid.evaluation import FeatureTable
from mscmreid.evaluation.modality_gap import even_rows
from mscmreid.gate import path_below
from mscmreid.visualization.rankings import open_image

THUMBNAIL = (96, 192)  # width, height that images are fitted into, in pixels
SPRITE_TILE, SPRITE_COLUMNS = (48, 96), 40
MOST_IN_A_SPRITE = 2000


class Thumbnails:
    """The images of one report, or nothing in their place.

    Args:
        table: its rows.
        data_root: folder of the images; None: no images.

    Attributes:
        sprites: ``dict(id, image)`` of the pictures of many tiles that were made.
    """

    def __init__(self, table: FeatureTable, data_root: str | Path | None) -> None:
        self.table = table
        self.data_root = None if data_root is None else Path(data_root)
        self.sprites: list[dict[str, str]] = []
        self._made: dict[int, str] = {}
        self._tiles: dict[tuple[int, ...], tuple[dict[str, Any], dict[int, int]]] = {}

    def tile(self, row: int, note: str, is_match: bool | None = None) -> dict[str, Any]:
        """A row of the table as the template shows it.

        Args:
            row: of the table.
            note: one more line under it.
            is_match: whether it shows the query's person; None for the query itself.
        """
        pid, cam = int(self.table.pid[row]), int(self.table.cam_id[row])
        return dict(
            pid=pid, cam=cam, path=self.table.path[row], note=note, is_match=is_match, image=self._data_uri(row)
        )

    def _data_uri(self, row: int) -> str | None:
        """A small JPEG of the image."""
        if self.data_root is None:
            return None
        if row not in self._made:
            image = open_image(path_below(self.data_root, self.table.path[row]))
            image.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
            self._made[row] = _jpeg_uri(image, 84)
        return self._made[row]

    def sprite(self, rows: np.ndarray, most: int = MOST_IN_A_SPRITE) -> tuple[dict[str, Any] | None, dict[int, int]]:
        """One picture with tiles of many images, made once for the same rows.

        Args:
            rows: of the table; of more than ``most``, so many are taken at even steps.
            most: tiles; a thousand take about a megabyte and a half.

        Returns:
            ``dict(id, tile, columns)`` (None: no images), and row -> number of its tile.
        """
        if self.data_root is None:
            return None, {}
        chosen = tuple(even_rows(rows, most).tolist())
        if chosen not in self._tiles:
            (width, height), columns = SPRITE_TILE, min(SPRITE_COLUMNS, len(chosen))
            sheet = Image.new("RGB", (columns * width, -(-len(chosen) // columns) * height), "#808080")
            for number, row in enumerate(chosen):
                image = open_image(path_below(self.data_root, self.table.path[row]))
                image.thumbnail(SPRITE_TILE, Image.Resampling.LANCZOS)
                left = number % columns * width + (width - image.width) // 2
                sheet.paste(image, (left, number // columns * height + (height - image.height) // 2))
            name = f"sprite-{len(self._tiles) + 1}"
            self.sprites.append(dict(id=name, image=_jpeg_uri(sheet, 80)))
            sprite = dict(id=name, tile=SPRITE_TILE, columns=columns)
            self._tiles[chosen] = sprite, {row: number for number, row in enumerate(chosen)}
        return self._tiles[chosen]


def _jpeg_uri(image: Image.Image, quality: int) -> str:
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
