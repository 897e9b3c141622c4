"""What lies on disk: image files of a folder, id lists, path lists."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mscmreid.gate import read_text
from mscmreid.intake import IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image file and whom it shows.

    Attributes:
        path: relative to the data root, with '/' (or absolute where it lies elsewhere).
        size: bytes of the file.
        mtime_ns: its modification time in nanoseconds.
        pid: person as the data set numbers it; -1 where unknown.
        cam_id: camera as published.
        modality: 'visible' or 'infrared'.
        role: 'query', 'gallery' or '' (own data only).
    """

    path: str
    size: int
    mtime_ns: int
    pid: int
    cam_id: int
    modality: str
    role: str = ""


class FolderScan:
    """Looks into folders below ``root``, one ``os.scandir`` each, sizes and times in the same pass.

    Names that are no images are collected in ``others``, so that whoever scans can say what was left out.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.others: list[str] = []

    def images(self, folder: str) -> list[tuple[str, int, int]]:
        """(file name, bytes, mtime in ns) of the images in ``root/folder``, sorted; empty without the folder."""
        found = []
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not entry.name.lower().endswith(IMAGE_SUFFIXES):
                        self.others.append(f"{folder}/{entry.name}")
                    elif entry.is_file():
                        stat = entry.stat()
                        found.append((entry.name, stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            return []
        return sorted(found)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in ``root/folder``, sorted, hidden ones left out; empty without the folder."""
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
        except FileNotFoundError:
            return []


def require(path: str, what: str) -> str:
    """``path`` if it exists, else a FileNotFoundError that says what was looked for."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{what} is missing: looked for {path!r}")
    return path


def read_ids(path: str, what: str) -> list[int]:
    """Person ids of a comma separated list file such as SYSU-MM01's ``exp/train_id.txt``, sorted."""
    text = read_text(require(path, what), what)
    try:
        ids = sorted({int(word) for word in text.replace("\n", ",").split(",") if word.strip()})
    except ValueError as error:
        raise ValueError(f"{path!r} should hold ids separated by commas, such as '1,2,4': {error}") from None
    if not ids:
        raise ValueError(f"{path!r} holds no id; expected ids separated by commas")
    return ids


def read_paths(path: str, what: str) -> list[str]:
    """Image paths of a list file with a line "path label" an image (the label is the release's, and not used)."""
    paths = []
    for number, line in enumerate(read_text(require(path, what), what).split("\n"), start=1):
        if not line.strip():
            continue
        words = line.rsplit(maxsplit=1)
        if len(words) != 2 or not words[1].isdigit():
            raise ValueError(f"{path!r}, line {number}: expected 'path label', found {line.strip()!r}")
        paths.append(words[0])
    if not paths:
        raise ValueError(f"{path!r} holds no image; expected lines 'path label'")
    return paths


def person_number(name: str, where: str) -> int:
    """A person's number from a folder's name, or a ValueError that says where the folder lies."""
    if not name.isdigit():
        raise ValueError(f"{where!r} should hold a folder a person, named by a number; found {name!r}")
    return int(name)
