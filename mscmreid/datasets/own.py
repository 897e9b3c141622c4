"""People's own images: a CSV, a tree of folders, or a plain folder without any ids."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from typing import Any, TextIO

from mscmreid.datasets.base import ReIDDataset
from mscmreid.datasets.listing import FolderScan, ImageRow, person_number, require
from mscmreid.gate import MAX_TEXT, check_regular
from mscmreid.intake import Intake, find_images
from mscmreid.near_names import shortened
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
        allow_shared_people: let a person be in a training split and in the test split; refused otherwise, since numbers
            on people who were trained on say nothing about others.
        base: see ``ReIDDataset``; ``split`` is 'train', 'val', 'trainval' or 'test'. ``data_root`` is required.

    Raises:
        ValueError: a line of the CSV, or a folder, that is not as described, named; a person in training and test.
        FileNotFoundError: images of the CSV are missing; their lines are named.
    """

    SPLITS = ("train", "val", "trainval", "test")
    INTAKE = Intake()

    def __init__(
        self, data_root: str, ann_file: str | None = None, allow_shared_people: bool = False, **base: Any
    ) -> None:
        self.annotations = ann_file
        self.allow_shared_people = allow_shared_people
        super().__init__(data_root=data_root, allow_shared_people=allow_shared_people, **base)

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
        people: dict[bool, dict[int, str]] = {False: {}, True: {}}  # of training and of test: pid -> line
        missing = []
        splits = set()
        check_regular(path, f"{self.name}'s CSV", MAX_TEXT)
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, record in _records(path, file):
                where = f"{path!r}, line {number}"
                split = record.get("split")
                splits.add(split)
                if split is not None and split not in self.SPLITS:
                    raise ValueError(f"{where}: split must be one of {self.SPLITS}, found {split!r}")
                pid = _integer(record, "pid", where)
                if split is not None and pid != UNKNOWN:
                    people[split == "test"].setdefault(pid, f"line {number}")
                if split not in (None, self.subset) and (self.subset != "trainval" or split not in ("train", "val")):
                    continue
                same = os.path.normpath(record["path"])
                if same in lines:
                    raise ValueError(f"{where}: {record['path']!r} stands in line {lines[same]} already")
                lines[same] = number
                try:
                    rows.append(_parse_record(record, pid, self.data_root, where))
                except FileNotFoundError as error:
                    missing.append(str(error))
        if missing:
            raise FileNotFoundError(shortened(missing))
        self._check_people(people[False], people[True], repr(path))
        if not rows:
            found = f"found rows of {sorted(str(split) for split in splits)}" if splits else "it has no row at all"
            raise ValueError(f"{path!r} has no row of split {self.subset!r}: {found}")
        return rows

    def _check_people(self, training: dict[int, str], test: dict[int, str], where: str) -> None:
        shared = sorted(training.keys() & test.keys())
        if shared and not self.allow_shared_people:
            first = shared[0]
            raise ValueError(
                f"{where}: {len(shared)} of {len(test)} test people are training people too, such as {first} "
                f"({training[first]} and {test[first]}). Take them out of one, or, where that is meant, set "
                "allow_shared_people=True in every data set of the config"
            )

    def _scan_folders(self, folders: FolderScan) -> list[ImageRow]:
        present = folders.folders("")
        tops = ["train", "val"] if self.subset == "trainval" else [self.subset]
        if not any(name in self.SPLITS for name in present):
            tops = [""]
        else:
            training = {k: v for name in ("train", "val", "trainval") for k, v in self._people(folders, name).items()}
            self._check_people(training, self._people(folders, "test"), repr(self.data_root))
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
                    cam_id = _camera_number(cam, os.path.dirname(os.path.dirname(where)))
                    pid = person_number(person, os.path.dirname(where))
                    rows += [
                        ImageRow(f"{folder}/{n}", s, t, pid, cam_id, modality) for n, s, t in folders.images(folder)
                    ]
        return rows

    @staticmethod
    def _people(folders: FolderScan, top: str) -> dict[int, str]:
        """Person -> a folder of theirs, below ``top``; what is no person's folder is told when it is read."""
        found: dict[int, str] = {}
        for modality in MODALITIES:
            for cam in folders.folders(f"{top}/{modality}"):
                for person in folders.folders(f"{top}/{modality}/{cam}"):
                    if person.isdigit():
                        found.setdefault(int(person), f"{top}/{modality}/{cam}/{person}")
        return found


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


def _records(path: str, file: TextIO) -> Iterator[tuple[int, dict]]:
    """(line, record) of a CSV, all columns there."""
    reader = csv.DictReader(file, strict=True)
    try:
        _check_header(path, reader.fieldnames or [])
        for record in reader:
            if None in record or None in record.values():
                raise ValueError(
                    f"{path!r}, line {reader.line_num}: expected {len(reader.fieldnames or [])} columns, "
                    f"{reader.fieldnames}"
                )
            yield reader.line_num, record
    except UnicodeDecodeError as error:
        raise ValueError(f"{path!r} is not in UTF-8 ({error}): save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise ValueError(f"{path!r}, behind line {reader.line_num}: {error}") from error


def _check_header(path: str, header) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in (*REQUIRED, *OPTIONAL)]
    if missing or unknown or len(set(header)) != len(header):
        other = next((sign for sign in (";", "\t") if any(sign in str(name) for name in header)), None)
        raise ValueError(
            f"{path!r}, line 1: expected the columns {','.join(REQUIRED)} and perhaps {','.join(OPTIONAL)}, found "
            f"{','.join(str(name) for name in header) or 'nothing'}"
            + (f". Columns are separated by commas, not by {other!r}" if other else "")
        )


def _integer(record: dict, column: str, where: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,15}", record[column].strip()):
        raise ValueError(f"{where}: {column} must be an integer, found {record[column]!r}")
    return int(record[column])


def _camera_number(name: str, where: str) -> int:
    digits = name.removeprefix("cam")
    if not digits.isdigit():
        raise ValueError(
            f"{where!r} should hold a folder a camera, named cam1, cam2, ... or by a number; found {name!r}"
        )
    return int(digits)


def _parse_record(record: dict, pid: int, data_root: str, where: str) -> ImageRow:
    cam_id = _integer(record, "cam_id", where)
    if pid < UNKNOWN:
        raise ValueError(f"{where}: pid must be 0 or more, or -1 for unknown, found {pid}")
    if record["modality"] not in MODALITIES:
        raise ValueError(f"{where}: modality must be one of {MODALITIES}, found {record['modality']!r}")
    role = record.get("role", "")
    if role not in ROLES:
        raise ValueError(f"{where}: role must be one of {ROLES}, found {role!r}")
    try:
        stat = os.stat(os.path.join(data_root, record["path"]))
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        looked = os.path.join(data_root, record["path"])
        reason = getattr(error, "strerror", None) or error
        raise FileNotFoundError(f"{where}: no image, looked for {looked!r} ({reason})") from None
    return ImageRow(record["path"], stat.st_size, stat.st_mtime_ns, pid, cam_id, record["modality"], role)


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
