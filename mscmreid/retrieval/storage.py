"""The files of a gallery: immutable segments, and a manifest that says which of them are the gallery.

    gallery/
      manifest.json              the version that counts; replaced in one step
      writer.lock                held while somebody writes; a killed process lets go of it
      segments/NAME.features.npy (n, D) float32 or float16, memory-mapped
      segments/NAME.columns.npz  what is known of the n images, and the checksums of the features
      segments/NAME.removed-V.npy  positions of rows that version V took away
      indexes/                   what engines derive from all this; may be deleted
      calibration.json           what a score means

A segment is written under a name that no manifest has, its columns last, and is never changed. A writer that dies
leaves the manifest, and so the gallery, as it was; a segment that it had finished lies there unnamed, and the next
writer takes the features of unchanged images from it. A reader keeps the manifest that it read: segments that a later
one drops are deleted, but stay mapped for whoever has opened them (where the system cannot do that, they stay until
the next writer comes).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.progress import log
from mscmreid.retrieval.columns import Columns

FORMAT = 1
BLOCK = 256
"""Rows that one checksum is of; they are checked when the first of them is read."""
DTYPES = ("float32", "float16")


class DamagedGalleryError(ValueError):
    """A file of the gallery is not what was written."""


@dataclass(frozen=True)
class SegmentEntry:
    """What a manifest says of a segment.

    Attributes:
        name: of its files.
        rows: how many, removed ones included.
        columns_sha256: of NAME.columns.npz, which has the checksums of the features.
        removed: file with the positions of the removed rows, relative to ``segments``; '' if there are none.
        num_removed: how many these are.
        removed_sha256: of that file.
    """

    name: str
    rows: int
    columns_sha256: str
    removed: str = ""
    num_removed: int = 0
    removed_sha256: str = ""


@dataclass(frozen=True)
class Manifest:
    """One version of a gallery.

    Attributes:
        version: 0, 1, 2, ...
        identity: of the encoder that made the features.
        dim, dtype: of the features.
        next_row: the first row number that nobody has had.
        segments: in order.
        folders: folders and files that images were added from.
        garbage: files, relative to ``segments``, that this version no longer names and the next writer may delete.
    """

    version: int
    identity: dict[str, Any]
    dim: int
    dtype: str
    next_row: int = 0
    segments: tuple[SegmentEntry, ...] = ()
    folders: tuple[str, ...] = ()
    garbage: tuple[str, ...] = ()

    @property
    def num_rows(self) -> int:
        """Rows that were not removed."""
        return sum(entry.rows - entry.num_removed for entry in self.segments)

    def to_json(self) -> str:
        """As it is written."""
        content = {**vars(self), "format": FORMAT, "segments": [vars(entry) for entry in self.segments]}
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str, path: Path) -> Manifest:
        """Of :meth:`to_json`.

        Raises:
            DamagedGalleryError: something else is written there.
            ValueError: a later format.
        """
        try:
            content = json.loads(text)
            if (found := content.pop("format")) != FORMAT:
                raise ValueError(f"{path} has format {found!r}, this version of mscmreid reads {FORMAT}")
            content["segments"] = tuple(SegmentEntry(**entry) for entry in content["segments"])
            content |= {name: tuple(content[name]) for name in ("folders", "garbage")}
            return cls(**content)
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise DamagedGalleryError(f"{path} is no manifest of a gallery: {type(error).__name__}: {error}") from error


@dataclass
class Segment:
    """An opened segment.

    Attributes:
        name: of its files.
        columns: of all its rows.
        features: (n, D), memory-mapped.
        checksums: (ceil(n / BLOCK),) uint32, CRC-32 of each block of features.
        removed: (n,) bool.
    """

    name: str
    columns: Columns
    features: np.ndarray
    checksums: np.ndarray
    removed: np.ndarray
    _checked: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._checked = np.zeros(len(self.checksums), dtype=bool)

    def __len__(self) -> int:
        return len(self.removed)

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Features of some rows, whose checksums are right.

        Raises:
            DamagedGalleryError: they are not.
        """
        touched = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else np.asarray(rows)
        for block in np.unique(touched // BLOCK):
            if not self._checked[block]:
                part = self.features[block * BLOCK : (block + 1) * BLOCK]
                if checksum(part) != self.checksums[block]:
                    raise DamagedGalleryError(
                        f"features of segment {self.name} from row {block * BLOCK} on are "
                        "not what was written (checksum): the disk or somebody changed the file. Remove these images "
                        "and add them again, or restore the gallery's folder"
                    )
                self._checked[block] = True
        return self.features[rows]


class Storage:
    """The folder of a gallery."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.segments = self.path / "segments"

    # ------------------------------------------------------------------------------------------------ the manifest

    def exists(self) -> bool:
        """Whether a gallery is there."""
        return (self.path / "manifest.json").is_file()

    def read_manifest(self) -> Manifest:
        """The version that counts.

        Raises:
            FileNotFoundError: there is no gallery.
        """
        path = self.path / "manifest.json"
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(
                f"no gallery at {self.path} (expected {path}): make one with Gallery.create or tools/search.py create"
            ) from None
        return Manifest.from_json(text, path)

    def write_manifest(self, manifest: Manifest) -> None:
        """Make a version the one that counts: from here on it is there, whatever happens."""
        write_durably(self.path / "manifest.json", manifest.to_json().encode())

    @contextmanager
    def writing(self, wait: float = 0.0) -> Iterator[None]:
        """Be the only writer.

        Args:
            wait: seconds to wait for another one.

        Raises:
            BlockingIOError: somebody else writes.
        """
        from filelock import FileLock, Timeout

        try:
            with FileLock(str(self.path / "writer.lock"), timeout=wait):
                yield
        except Timeout:
            raise BlockingIOError(f"another process is writing to the gallery {self.path}: wait for it") from None

    # ------------------------------------------------------------------------------------------------ the segments

    def write_segment(self, name: str, columns: Columns, features: np.ndarray) -> SegmentEntry:
        """A new segment; it belongs to the gallery when a manifest names it."""
        self.segments.mkdir(exist_ok=True)
        path = self.segments / f"{name}.features.npy"
        with path.open("wb") as file:
            np.save(file, features, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        checksums = [checksum(features[i : i + BLOCK]) for i in range(0, len(features), BLOCK)]
        content = columns.to_bytes(checksums=np.array(checksums, dtype=np.uint32))
        write_durably(self.segments / f"{name}.columns.npz", content)
        return SegmentEntry(name, len(columns), hashlib.sha256(content).hexdigest())

    def write_removed(self, entry: SegmentEntry, removed: np.ndarray, version: int) -> SegmentEntry:
        """The entry of a segment from which rows were taken away.

        Args:
            removed: (n,) bool, all rows that are gone.
        """
        positions = np.flatnonzero(removed).astype("<i8").tobytes()
        name = f"{entry.name}.removed-{version}.bin"
        write_durably(self.segments / name, positions)
        digest = hashlib.sha256(positions).hexdigest()
        return SegmentEntry(entry.name, entry.rows, entry.columns_sha256, name, int(removed.sum()), digest)

    def open_segment(self, entry: SegmentEntry, dim: int, dtype: str) -> Segment:
        """A segment that a manifest names.

        Raises:
            FileNotFoundError: it is gone, as happens when a later version dropped it.
            DamagedGalleryError: it is not what was written.
        """
        content = (self.segments / f"{entry.name}.columns.npz").read_bytes()
        _check_digest(content, entry.columns_sha256, f"{entry.name}.columns.npz")
        segment = self._open(entry.name, content, entry.rows, dim, dtype)
        if entry.removed:
            positions = (self.segments / entry.removed).read_bytes()
            _check_digest(positions, entry.removed_sha256, entry.removed)
            segment.removed[np.frombuffer(positions, dtype="<i8")] = True
        return segment

    def _open(self, name: str, content: bytes, rows: int, dim: int, dtype: str) -> Segment:
        columns, beside = Columns.from_bytes(content)
        path = self.segments / f"{name}.features.npy"
        try:
            features = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DamagedGalleryError(f"{path} is damaged: {error}") from error
        if features.shape != (rows, dim) or features.dtype != dtype or len(columns) != rows:
            raise DamagedGalleryError(
                f"{path} should hold {rows} rows of {dim} {dtype}, found {features.shape} {features.dtype}"
            )
        return Segment(name, columns, features, beside["checksums"], np.zeros(rows, dtype=bool))

    def unnamed_segments(self, manifest: Manifest) -> list[Segment]:
        """Finished segments that no manifest names or gives away: an interrupted writer left them. Damaged ones, and
        those of other features, are of no use and passed over, with a warning."""
        given_up = {name.removesuffix(".columns.npz") for name in manifest.garbage}
        named = {entry.name for entry in manifest.segments} | given_up
        found = []
        for path in sorted(self.segments.glob("*.columns.npz")) if self.segments.is_dir() else []:
            name = path.name.removesuffix(".columns.npz")
            if name in named:
                continue
            try:
                rows = int(name.rsplit("-", 1)[1])
                found.append(self._open(name, path.read_bytes(), rows, manifest.dim, manifest.dtype))
            except Exception as error:  # whatever a damaged file may cause
                log(f"{path} is of no use to go on from ({type(error).__name__}: {error})", logging.WARNING)
        return found

    def delete(self, files: Sequence[str]) -> None:
        """Delete files of ``segments``, as far as the system lets go of them."""
        for name in files:
            if os.path.basename(name) != name:
                raise DamagedGalleryError(f"the manifest of {self.path} gives away {name!r}, which is no file's name")
            try:
                (self.segments / name).unlink(missing_ok=True)
            except PermissionError:  # mapped by a reader, on Windows: the next writer tries again
                continue

    def half_written(self) -> list[str]:
        """Files of ``segments`` that a killed writer did not finish. To be asked with the writer's lock held."""
        if not self.segments.is_dir():
            return []
        names = {path.name for path in self.segments.iterdir()}
        return sorted(
            name
            for name in names
            if name.endswith(".tmp")
            or (name.endswith(".features.npy") and name.replace(".features.npy", ".columns.npz") not in names)
        )

    def stray_files(self, manifest: Manifest) -> list[str]:
        """Files of ``segments`` that no manifest names."""
        if not self.segments.is_dir():
            return []
        named = {file for entry in manifest.segments for file in files_of(entry)}
        return sorted(path.name for path in self.segments.iterdir() if path.name not in named)


def checksum(features: np.ndarray) -> int:
    """CRC-32 of some rows."""
    return zlib.crc32(np.ascontiguousarray(features).view(np.uint8).data.cast("B"))


def files_of(entry: SegmentEntry) -> list[str]:
    """Names of a segment's files."""
    names = [f"{entry.name}.features.npy", f"{entry.name}.columns.npz"]
    return [*names, entry.removed] if entry.removed else names


def write_durably(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and have it on the disk, not only on its way there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # the new name, too
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _check_digest(content: bytes, expected: str, name: str) -> None:
    if hashlib.sha256(content).hexdigest() != expected:
        raise DamagedGalleryError(
            f"{name} is not what was written (SHA-256): the disk or somebody changed the file. Restore the gallery's "
            "folder, or make the gallery anew"
        )


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """In which keys two identities differ, in words; '' where they agree."""
    keys = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    return "; ".join(f"{key}: {ours.get(key)!r} and {theirs.get(key)!r}" for key in keys)
