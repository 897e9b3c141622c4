"""Images inside a report: framed thumbnails, or their ids where images must stay out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from mscmreid.evaluation import FeatureTable
from mscmreid.visualization.nearest import Nearest
from mscmreid.visualization.rankings import open_image
from mscmreid.visualization.svg import element

THUMBNAIL = (96, 192)  # width, height that images are fitted into, in pixels


class Tiles:
    """Makes the tiles of one report.

    Args:
        table: rows that tiles show.
        data_root: folder of the images; None: no images, the ids stand in their place.
    """

    def __init__(self, table: FeatureTable, data_root: str | Path | None) -> None:
        self.table = table
        self.data_root = None if data_root is None else Path(data_root)
        self._thumbnails: dict[int, str] = {}

    def tile(self, row: int, note: str = "", is_match: bool | None = None) -> str:
        """The image of a row in its frame, with who and where under it.

        Args:
            row: of the table.
            note: one more line under it.
            is_match: whether it shows the query's person; None for the query itself.
        """
        pid, cam = self.table.pid[row], self.table.cam_id[row]
        kind = {None: "query", True: "right", False: "wrong"}[is_match]
        mark = {None: "", True: "✓", False: "✕"}[is_match]
        inside = self._image(row) if self.data_root is not None else element("span", f"{pid}", class_="who")
        if mark:
            inside += element("span", mark, class_="mark", title="same person" if is_match else "somebody else")
        frame = element("div", inside, class_="frame" if self.data_root is not None else "frame blank")
        lines = [f"id {pid}, cam {cam}", escape(note)]
        caption = element("figcaption", "<br>".join(line for line in lines if line))
        return element("figure", frame + caption, class_=f"tile {kind}", title=self.table.path[row])

    def strip(self, nearest: Nearest, top: int, note: str) -> str:
        """A query and what it found, in a row of ``top`` places."""
        found = zip(nearest.rows, nearest.similarity, nearest.is_match, strict=True)
        tiles = [self.tile(int(row), f"{score:.2f}", bool(match)) for row, score, match in found]
        return element("div", self.tile(nearest.query, note) + "".join(tiles), class_="strip", style=f"--top: {top}")

    def card(self, tiles: Sequence[str], note: str) -> str:
        """Up to three tiles side by side over a line of text."""
        return element(
            "div", element("div", "".join(tiles), class_="three") + element("p", escape(note)), class_="card"
        )

    def _image(self, row: int) -> str:
        if row not in self._thumbnails:
            assert self.data_root is not None
            self._thumbnails[row] = _data_uri(open_image(self.data_root / self.table.path[row]))
        pid, cam = self.table.pid[row], self.table.cam_id[row]
        return f'<img src="{self._thumbnails[row]}" alt="person {pid}, camera {cam}">'


def _data_uri(image: Image.Image) -> str:
    """A small JPEG of the image as a data URI."""
    image.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=84, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
