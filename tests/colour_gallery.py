"""A gallery of coloured pictures, whose features are their mean colours: who wears red is like who wears red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mscmreid.intake import Intake, open_image
from mscmreid.retrieval.gallery import Gallery

COLOURS = {"red": (210, 40, 40), "green": (40, 190, 60), "blue": (50, 60, 220), "gray": (120, 120, 120)}


class ColourEncoder:
    """The mean colour of an image, around mid gray, as a unit vector of three."""

    dim = 3

    def __init__(self) -> None:
        self.identity: dict[str, Any] = dict(weights_sha256="colour", model="colour", feature="mean", intake=intake())

    def encode(self, images: Sequence[Any], modality: str) -> np.ndarray:
        """(N, 3) float32."""
        means = np.array([open_image(image).reshape(-1, 3).mean(axis=0) for image in images]).reshape(-1, 3)
        rows = means - 128 + 0.5
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def intake() -> dict[str, Any]:
    """As the identity says it."""
    return asdict(Intake())


def draw(path: Path, colour: str, shade: int) -> Path:
    """A person of one colour, as a picture of 24 x 48."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((48, 24, 3), 128, dtype=np.uint8)
    pixels[8:44, 4:20] = np.clip(np.array(COLOURS[colour]) + shade, 0, 255)
    Image.fromarray(pixels).save(path)
    return path


def make_gallery(root: Path) -> Gallery:
    """Two cameras of four people: 1 by day (visible), 2 by night (infrared); one file's name is HTML."""
    gallery = Gallery.create(root / "station", ColourEncoder())
    for camera, modality, hour in (("1", "visible", 9), ("2", "infrared", 21)):
        folder = root / f"cam{camera}"
        files = [draw(folder / f"{colour}_{i}.png", colour, 9 * i) for colour in COLOURS for i in range(3)]
        if camera == "1":
            files.append(draw(folder / "<img src=x onerror=alert(1)>&amp;.png", "red", 40))
        ids = [file.stem.split("_")[0] if "_" in file.stem else None for file in files]
        gallery.add(files, modality, camera=camera, time=f"2026-11-25T{hour:02d}:00:00", ids=ids)
    return gallery
