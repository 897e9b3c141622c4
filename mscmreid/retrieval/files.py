"""Image files that somebody names: a file, a list of files, a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageFile:
    """An image file as it was asked for.

    Attributes:
        path: absolute.
        name: relative to the folder that was named; the path as given of a single file.
    """

    path: str
    name: str


def image_files(images: str | Path | Sequence[str | Path]) -> list[ImageFile]:
    """The image files of a folder (in subfolders too, sorted), of a file, or of several of both.

    Raises:
        FileNotFoundError: nothing there, or no image in a folder.
        ValueError: one file twice.
    """
    from mscmreid.datasets import list_images

    found: list[ImageFile] = []
    for item in [images] if isinstance(images, str | Path) else images:
        text = os.fspath(item)
        if os.path.isdir(text):
            root = os.path.abspath(text)
            found += [ImageFile(os.path.join(root, name), name) for name in list_images(root)]
        elif os.path.lexists(text):
            found.append(ImageFile(os.path.abspath(text), text))
        else:
            raise FileNotFoundError(f"no image file or folder {text!r}")
    seen: set[str] = set()
    for file in found:
        if file.path in seen:
            raise ValueError(f"{file.path!r} is named twice")
        seen.add(file.path)
    return found


def unreadable_errors() -> tuple[type[Exception], ...]:
    """What is raised over an image file that cannot be read."""
    from mscmreid.datasets import UndecodableImageError

    return (UndecodableImageError,)
