"""People's own images: a CSV, a tree of folders, or a plain folder without any ids."""

from __future__ import annotations

import csv
import os
from typing import Any

from mscmreid.datasets.base import ReIDDataset
from mscmreid.datasets.listing import FolderScan, ImageRow, person_number, require
from mscmreid.intake import Intake, find_images
from mscmreid.registry import DATASETS
from mscmreid.structures import MODALITIES, modality_index

REQUIRED = ("path", "pid", "cam_id", "modality")
OPTIONAL = ("split", "role")
ROLES = ("", "query", "gallery")
UNKNOWN = -1


@DATASETS.register_module()
class FolderReID(ReIDDataset):
    """Own data, trained and tested like the published sets.

    Either a CSV with a header line (UTF-8)::

        path,pid,cam_id,modality,split,role
        photos/anna_1.jpg,7,1,visible,train,
        night/0001.png,7,3,infrared,test,query

    ``path`` is relative to ``data_root`` (or absolute), ``pid`` an integer from 0 (-1: unknown, not in training),
    ``cam_id`` an integer, ``modality`` 'visible' or 'infrared'. ``split`` and ``role`` ('query', 'gallery' or empty)
    may be left out; other columns are refused, since a misspelt one would be lost. Without a column ``split``, every
    row belongs to every split.

    Or folders, the split's level optional in the same way::

        data_root/train/visible/cam1/0007/anna_1.jpg
                  test/infrared/cam3/0007/0001.png

    Args:
        ann_file: the CSV, relative to ``data_root``; None reads the folders.
        base: see ``ReIDDataset``; ``split`` is 'train', 'val', 'trainval' or 'test'. ``data_root`` is required.

    Raises:
        ValueError: a line of the CSV, or a folder, that is not as described; it is named.
        FileNotFoundError: an image of the CSV is missing; its line is named.
    """

    SPLITS = ("train", "val", "trainval", "test")
    INTAKE = Intake()

    def __init__(self, data_root: str, ann_file: str | None = None, **base: Any) -> None:
        self.annotations = ann_file
        super().__init__(data_root=data_root, **base)

    def scan(self, folders: FolderScan) -> list[ImageRow]:
        rows = self._scan_folders(folders) if self.annotations is None else self._read_csv(self.annotations)
        if self.training and any(row.pid == UNKNOWN for row in rows):
            first = next(row.path for row in rows if row.pid == UNKNOWN)
            raise ValueError(f"{self.name}: training needs ids, but {first!r} has pid {UNKNOWN} (unknown)")
        return sorted(rows, key=lambda row: (row.pid, row.cam_id, os.path.basename(row.path), row.path))

    def _read_csv(self, name: str) -> list[ImageRow]:
        path = require(os.path.join(self.data_root, name), f"{self.name}'s CSV")
        rows: list[ImageRow] = []
        lines: dict[str, int] = {}  # path -> line
        splits = set()
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, reader.fieldnames or [])
            for record in reader:
                where = f"{path!r}, line {reader.line_num}"
                if None in record or None in record.values():
                    raise ValueError(f"{where}: expected {len(reader.fieldnames or [])} columns, {reader.fieldnames}")
                split = record.get("split")
                splits.add(split)
                if split is not None and split not in self.SPLITS:
                    raise ValueError(f"{where}: split must be one of {self.SPLITS}, found {split!r}")
                if split not in (None, self.subset) and (self.subset != "trainval" or split not in ("train", "val")):
                    continue
                row = _parse_record(record, self.data_root, where)
                if row.path in lines:
                    raise ValueError(f"{where}: {row.path!r} stands in line {lines[row.path]} already")
                lines[row.path] = reader.line_num
                rows.append(row)
        if not rows:
            found = f"found rows of {sorted(str(split) for split in splits)}" if splits else "it has no row at all"
            raise ValueError(f"{path!r} has no row of split {self.subset!r}: {found}")
        return rows

    def _scan_folders(self, folders: FolderScan) -> list[ImageRow]:
        present = folders.folders("")
        tops = ["train", "val"] if self.subset == "trainval" else [self.subset]
        if not any(name in self.SPLITS for name in present):
            tops = [""]
        rows: list[ImageRow] = []
        for top in tops:
            modalities = folders.folders(top)
            if not set(modalities) & set(MODALITIES):
                wanted = " or ".join(repr(os.path.join(self.data_root, top, name)) for name in MODALITIES)
                raise FileNotFoundError(
                    f"{self.name} {self.subset}: looked for {wanted}; {self.data_root!r} holds {present}"
                )
            unknown = [name for name in modalities if name not in MODALITIES]
            if unknown:
                where = os.path.join(self.data_root, top)
                raise ValueError(f"{where!r} should hold the folders {MODALITIES} only, found {unknown[0]!r}")
            for modality in modalities:
                for cam, person in _two_levels(folders, os.path.join(top, modality)):
                    folder = "/".join(part for part in (top, modality, cam, person) if part)
                    where = os.path.join(self.data_root, folder)
                    cam_id = person_number(cam.removeprefix("cam"), os.path.dirname(os.path.dirname(where)))
                    pid = person_number(person, os.path.dirname(where))
                    rows += [
                        ImageRow(f"{folder}/{n}", s, t, pid, cam_id, modality) for n, s, t in folders.images(folder)
                    ]
        return rows


@DATASETS.register_module()
class PlainFolder(ReIDDataset):
    """Every image below a folder, with no ids: pid and camera -1. For ranking, not for training.

    Args:
        data_root: the folder.
        modality: of all its images, 'visible' or 'infrared'.
        base: see ``ReIDDataset``; the split is 'test', and ``cache`` is off unless asked for.
    """

    SPLITS = ("test",)
    INTAKE = Intake()

    def __init__(self, data_root: str, modality: str, cache: bool = False, **base: Any) -> None:
        modality_index(modality)
        self.modality = modality
        super().__init__(data_root=data_root, split="test", cache=cache, **base)

    def scan(self, folders: FolderScan) -> list[ImageRow]:
        rows = []
        for path in list_images(self.data_root):
            stat = os.stat(os.path.join(self.data_root, path))
            rows.append(ImageRow(path, stat.st_size, stat.st_mtime_ns, UNKNOWN, UNKNOWN, self.modality))
        return rows


def list_images(folder: str) -> list[str]:
    """Paths, relative to ``folder`` and sorted, of every image in it and below; see ``find_images``.

    Raises:
        FileNotFoundError: no such folder, or no image in it.
        UnreadableImageError: a folder below it cannot be read.
    """
    require(folder, "the folder of images")
    return [path.relative_to(folder).as_posix() for path in find_images(folder)]


def _check_header(path: str, header) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in (*REQUIRED, *OPTIONAL)]
    if missing or unknown or len(set(header)) != len(header):
        raise ValueError(
            f"{path!r}, line 1: expected the columns {','.join(REQUIRED)} and perhaps {','.join(OPTIONAL)}, found "
            f"{','.join(str(name) for name in header) or 'nothing'}"
        )


def _parse_record(record: dict, data_root: str, where: str) -> ImageRow:
    numbers = {}
    for column in ("pid", "cam_id"):
        try:
            numbers[column] = int(record[column])
        except ValueError:
            raise ValueError(f"{where}: {column} must be an integer, found {record[column]!r}") from None
    if numbers["pid"] < UNKNOWN:
        raise ValueError(f"{where}: pid must be 0 or more, or -1 for unknown, found {numbers['pid']}")
    if record["modality"] not in MODALITIES:
        raise ValueError(f"{where}: modality must be one of {MODALITIES}, found {record['modality']!r}")
    role = record.get("role", "")
    if role not in ROLES:
        raise ValueError(f"{where}: role must be one of {ROLES}, found {role!r}")
    try:
        stat = os.stat(os.path.join(data_root, record["path"]))
    except OSError as error:
        looked = os.path.join(data_root, record["path"])
        raise FileNotFoundError(f"{where}: no image, looked for {looked!r} ({error.strerror})") from None
    return ImageRow(record["path"], stat.st_size, stat.st_mtime_ns, **numbers, modality=record["modality"], role=role)


def _two_levels(folders: FolderScan, top: str) -> list[tuple[str, str]]:
    """(camera folder, person folder) pairs below ``top``; images above the person level are an error."""
    pairs = []
    for cam in folders.folders(top):
        pairs += [(cam, person) for person in folders.folders(os.path.join(top, cam))]
        for level in (top, os.path.join(top, cam)):
            stray = FolderScan(folders.root).images(level)
            if stray:
                path = os.path.join(folders.root, level, stray[0][0])
                raise ValueError(f"expected <modality>/cam<number>/<person>/<image>, found the image {path!r}")
    return pairs
