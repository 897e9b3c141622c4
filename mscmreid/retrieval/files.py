"""Image files that somebody names, each with the name that a pattern for its camera or time is tried on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mscmreid.intake import find_images


@dataclass(frozen=True)
class ImageFile:
    """An image file as it was asked for.

    Attributes:
        path: absolute.
        name: relative to the folder that was named, with '/'; of a single file, the path as given.
    """

    path: str
    name: str


def image_files(images: str | Path | Sequence[str | Path], skipped: dict[str, str] | None = None) -> list[ImageFile]:
    """The image files of a folder (in subfolders too, sorted), a list file, a file, or several of these.

    Args:
        images: see :func:`mscmreid.intake.find_images`.
        skipped: gets path -> reason of what cannot be had; None: that is an error.

    Raises:
        FileNotFoundError, ValueError: see :func:`mscmreid.intake.find_images`.
    """
    found: dict[str, ImageFile] = {}
    for source in [images] if isinstance(images, str | Path) else images:
        for path in find_images(source, skipped):
            name = os.path.relpath(path, source).replace(os.sep, "/") if os.path.isdir(source) else str(path)
            file = ImageFile(os.path.abspath(path), name)
            found.setdefault(file.path, file)
    return list(found.values())
