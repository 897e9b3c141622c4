"""Adding images to a gallery: what is there stays, what changed is replaced, what was done before a kill is kept."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.intake import Intake, UnreadableImageError, check_images, unreadable_images
from mscmreid.modalities import MODALITIES, modality_index
from mscmreid.near_names import shortened
from mscmreid.progress import Progress, log
from mscmreid.retrieval.columns import Columns, Labels, Texts
from mscmreid.retrieval.encoder import Encoder
from mscmreid.retrieval.files import ImageFile, image_files
from mscmreid.retrieval.filters import label, seconds_of
from mscmreid.retrieval.snapshot import Snapshot
from mscmreid.retrieval.storage import DamagedGalleryError, Manifest, Segment, SegmentEntry, Storage, files_of

SEGMENT = 4096
"""Rows of a new segment: what a kill can cost at most."""
ENCODED_AT_A_TIME = 512
HASHING_THREADS = 4


@dataclass
class AddReport:
    """What :meth:`Gallery.add` did.

    Attributes:
        added: images that are new.
        already_there: images that were there with the same content and description.
        replaced: images whose content or description was another; they have new rows.
        skipped: path -> reason of files that cannot be read.
        reused: of those added and replaced, how many had their features already: of an interrupted ``add``, or of the
            same image under another name.
    """

    added: int = 0
    already_there: int = 0
    replaced: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    reused: int = 0


@dataclass(frozen=True)
class Wanted:
    """An image file and what is said of it; None: nothing."""

    path: str
    modality: int
    camera: str | None
    id: str | None
    time: float | None


def describe(
    files: Sequence[ImageFile],
    modality: str,
    camera: Any = None,
    time: Any = None,
    ids: Any = None,
) -> list[Wanted]:
    """Files with what is said of them.

    Args:
        files: the images.
        modality: of all of them.
        camera, time, ids: of all of them (a word, a number; a time, see :func:`seconds_of`), a sequence with one entry
            each, or a function of the file's name (relative to the folder that was named). None: unknown. The time
            'mtime' is each file's modification time.

    Raises:
        ValueError: a sequence of another length; images whose camera, time or id is none or is not found, all named.
    """
    kind = modality_index(modality)

    def told_by(column: str, value: Any) -> Callable[[int], Any]:
        if value is None or isinstance(value, str | int | float) or hasattr(value, "isoformat"):
            if value is not None and value != "mtime":
                seconds_of(value) if column == "time" else label(value)  # a mistake in it is not one of each image
            return lambda i: value
        if callable(value):
            return lambda i: value(files[i].name)
        if len(value) != len(files):
            raise ValueError(f"{column} has {len(value)} entries for {len(files)} images")
        return list(value).__getitem__

    columns = [told_by(column, value) for column, value in (("camera", camera), ("ids", ids), ("time", time))]
    found: list[Wanted] = []
    wrong: dict[str, list[str]] = {}
    for i, file in enumerate(files):
        try:
            place, person, when = (told(i) for told in columns)
            found.append(
                Wanted(
                    file.path,
                    kind,
                    None if place is None else label(place),
                    None if person is None else label(person),
                    None if when is None else _mtime(file.path) if when == "mtime" else seconds_of(when),
                )
            )
        except ValueError as error:
            wrong.setdefault(str(error), []).append(repr(file.name))
    if wrong:
        reasons = [f"{reason}: {shortened(names, between=', ')}" for reason, names in wrong.items()]
        number = sum(map(len, wrong.values()))
        raise ValueError(f"{number:,} of {len(files):,} images cannot be described; {shortened(reasons)}")
    return found


@dataclass(frozen=True)
class Described:
    """Images that somebody wants in a gallery, before any of them is opened.

    Attributes:
        wanted: the files and what is said of them.
        folders: that were named, or hold the files that were; absolute.
        skipped: path -> reason of what cannot be had.
    """

    wanted: list[Wanted]
    folders: list[str]
    skipped: dict[str, str]

    @classmethod
    def of(
        cls,
        images: str | Path | Sequence[str | Path],
        modality: str,
        camera: Any = None,
        time: Any = None,
        ids: Any = None,
    ) -> Described:
        """See :meth:`Gallery.add` and :func:`describe` for arguments and errors."""
        skipped: dict[str, str] = {}
        wanted = describe(image_files(images, skipped), modality, camera, time, ids)
        named = [os.path.abspath(item) for item in ([images] if isinstance(images, str | Path) else images)]
        folders = sorted({item if os.path.isdir(item) else os.path.dirname(item) for item in named})
        return cls(wanted, folders, skipped)


def _mtime(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:  # a file that is gone is told of when it is read
        return None


@dataclass(frozen=True)
class _File:
    """A wanted image as it lies on the disk: its position in the gallery, -1 if it has none, and its content."""

    wanted: Wanted
    size: int
    mtime_ns: int
    digest: bytes
    position: int


class KnownFeatures:
    """Features by the content of their images.

    Args:
        segments: where they are; removed rows do not count.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self.starts = np.cumsum([0, *map(len, segments)], dtype=np.int64)
        columns = [segment.columns for segment in segments]
        digests = [column.digest for column in columns] or [np.zeros((0, 32), np.uint8)]
        self.digest = np.ascontiguousarray(np.concatenate(digests))
        modalities = [column.modality for column in columns] or [np.zeros(0, np.int8)]
        self.modality = np.concatenate(modalities)
        self.removed = np.concatenate([segment.removed for segment in segments] or [np.zeros(0, bool)])
        self.keys = self.digest.view(np.uint64)[:, 0]  # the first eight bytes: nearly always one
        self.order = np.argsort(self.keys, kind="stable")
        self.sorted = self.keys[self.order]

    def find(self, digest: bytes, modality: int) -> np.ndarray | None:
        """(D,) feature of an image with this content; None if there is none that is whole."""
        key = np.frombuffer(digest, dtype=np.uint64)[0]
        first, last = np.searchsorted(self.sorted, key, "left"), np.searchsorted(self.sorted, key, "right")
        for place in self.order[first:last]:
            same = self.digest[place].tobytes() == digest and self.modality[place] == modality
            if same and not self.removed[place]:
                number = int(np.searchsorted(self.starts, place, side="right")) - 1
                try:
                    return self.segments[number].read(np.array([place - self.starts[number]]))[0]
                except DamagedGalleryError as error:
                    log(f"{error}; its features are made again")
        return None


class Adding:
    """One ``add``, with the writer's lock held.

    Args:
        storage: the gallery's files.
        snapshot: its version now.
        encoder: makes the features.
        on_error: 'raise' or 'skip', of files that cannot be read.
    """

    def __init__(self, storage: Storage, snapshot: Snapshot, encoder: Encoder, on_error: str) -> None:
        self.storage, self.snapshot, self.encoder, self.on_error = storage, snapshot, encoder, on_error
        self.manifest = snapshot.manifest
        self.unnamed = storage.unnamed_segments(self.manifest)
        self.known = KnownFeatures([*snapshot.segments, *self.unnamed])
        self.next_row = self.manifest.next_row
        self.report = AddReport()
        self.replaced: list[int] = []
        self.entries: list[SegmentEntry] = []
        self.made: set[bytes] = set()
        self.dim, self.dtype = self.manifest.dim, self.manifest.dtype

    def run(self, wanted: Sequence[Wanted], folders: Sequence[str]) -> Manifest | None:
        """The manifest to write; None if nothing changes."""
        columns = self.snapshot.columns
        asked = {os.fsencode(item.path) for item in wanted}
        positions = {
            path: place
            for place, path in enumerate(columns.path.all_raw())
            if path in asked and self.snapshot.alive[place]
        }
        progress = Progress("features", len(wanted))
        for start in range(0, len(wanted), SEGMENT):
            part = wanted[start : start + SEGMENT]
            changed = list(self._changed(part, positions))
            progress.advance(len(part) - len(changed))
            self._add(changed, progress)
            if self.on_error == "raise" and self.report.skipped:  # look at the rest for more, without their features
                rest = [item.path for item in wanted[start + SEGMENT :]]
                raise unreadable_images({**self.report.skipped, **check_images(rest, self._intake())})
        if not self.entries and not self.replaced:
            return None
        return self._manifest(folders)

    def _intake(self) -> Intake:
        return Intake.of(self.encoder.identity.get("intake"))

    def _changed(self, part: Sequence[Wanted], positions: dict[bytes, int]) -> Iterator[_File]:
        """Those that need a new row."""
        columns = self.snapshot.columns
        hashed: list[tuple[Wanted, int, int, int]] = []
        for item in part:
            place = positions.get(os.fsencode(item.path), -1)
            try:
                stat = os.stat(item.path)
            except OSError as error:
                self.report.skipped[item.path] = str(error)
                continue
            same_file = place >= 0 and (stat.st_size, stat.st_mtime_ns) == (
                columns.size[place],
                columns.mtime_ns[place],
            )
            if same_file and self._says_the_same(item, place):
                self.report.already_there += 1
            else:
                hashed.append((item, stat.st_size, stat.st_mtime_ns, place))
        with ThreadPoolExecutor(HASHING_THREADS) as pool:
            digests = list(pool.map(_digest_or_error, [item.path for item, *_ in hashed]))
        for (item, size, mtime_ns, place), digest in zip(hashed, digests, strict=True):
            if isinstance(digest, Exception):
                self.report.skipped[item.path] = str(digest)
            elif place >= 0 and columns.digest[place].tobytes() == digest and self._says_the_same(item, place):
                self.report.already_there += 1  # written again with the same content
            else:
                yield _File(item, size, mtime_ns, digest, place)

    def _says_the_same(self, item: Wanted, place: int) -> bool:
        """Whether what is said of an image is what its row says; what is left out is not."""
        columns = self.snapshot.columns
        return (
            item.modality == columns.modality[place]
            and item.camera in (None, columns.camera[place])
            and item.id in (None, columns.id[place])
            and (item.time is None or item.time == columns.time[place])
        )

    def _add(self, files: Sequence[_File], progress: Progress) -> None:
        """A new segment."""
        features = np.empty((len(files), self.dim), dtype=self.dtype)
        ready = np.zeros(len(files), dtype=bool)
        for i, file in enumerate(files):
            known = self.known.find(file.digest, file.wanted.modality)
            if known is not None:
                features[i], ready[i] = known, True
        self.report.reused += int(ready.sum())
        progress.advance(int(ready.sum()))
        missing = np.flatnonzero(~ready).tolist()
        for start in range(0, len(missing), ENCODED_AT_A_TIME):
            part = missing[start : start + ENCODED_AT_A_TIME]
            self._encode(files, part, features, ready)
            progress.advance(len(part))
        kept = np.flatnonzero(ready)
        if not len(kept):
            return
        files = [files[i] for i in kept.tolist()]
        for file in files:
            if file.position >= 0:
                self.replaced.append(file.position)
                self.report.replaced += 1
            else:
                self.report.added += 1
        name = f"{self.manifest.version + 1:08d}-{uuid.uuid4().hex[:8]}-{len(files)}"
        self.entries.append(self.storage.write_segment(name, self._columns(files), features[kept]))
        self.made |= {_content(file.digest, file.wanted.modality) for file in files}

    def _encode(self, files: Sequence[_File], part: list[int], features: np.ndarray, ready: np.ndarray) -> None:
        """Features of some files; where one cannot be read, the others' are made in smaller parts."""
        paths = [files[i].wanted.path for i in part]
        try:
            found = self.encoder.encode(paths, MODALITIES[files[part[0]].wanted.modality])
        except UnreadableImageError as error:
            if len(part) == 1:
                self.report.skipped[paths[0]] = str(error)
                return
            half = len(part) // 2
            self._encode(files, part[:half], features, ready)
            self._encode(files, part[half:], features, ready)
            return
        features[part], ready[part] = checked_rows(found, len(part), self.dim), True

    def _columns(self, files: Sequence[_File]) -> Columns:
        """The rows of files; what is not said of an image that had a row is taken from it."""
        old = self.snapshot.columns

        def said(value: Any, column: Any, file: _File, unknown: Any) -> Any:
            if value is not None:
                return value
            return column[file.position] if file.position >= 0 else unknown

        rows = np.arange(self.next_row, self.next_row + len(files), dtype=np.int64)
        self.next_row += len(files)
        return Columns(
            rows,
            Texts.of([file.wanted.path for file in files]),
            np.array([file.size for file in files], dtype=np.int64),
            np.array([file.mtime_ns for file in files], dtype=np.int64),
            np.frombuffer(b"".join(file.digest for file in files), dtype=np.uint8).reshape(-1, 32),
            np.array([file.wanted.modality for file in files], dtype=np.int8),
            Labels.of([said(file.wanted.camera, old.camera, file, None) for file in files]),
            Labels.of([said(file.wanted.id, old.id, file, None) for file in files]),
            np.array([said(file.wanted.time, old.time, file, np.nan) for file in files], dtype=np.float64),
        )

    def _manifest(self, folders: Sequence[str]) -> Manifest:
        entries, garbage = with_removed(self.storage, self.snapshot, np.array(self.replaced, dtype=np.int64))
        used = [
            segment.name
            for segment in self.unnamed
            if {_content(d.tobytes(), m) for d, m in zip(segment.columns.digest, segment.columns.modality, strict=True)}
            <= self.made
        ]
        garbage += [file for name in used for file in files_of(SegmentEntry(name, 0, ""))]
        return replace(
            self.manifest,
            version=self.manifest.version + 1,
            next_row=self.next_row,
            segments=(*entries, *self.entries),
            folders=tuple(dict.fromkeys([*self.manifest.folders, *folders])),
            garbage=tuple(garbage),
        )


def with_removed(storage: Storage, snapshot: Snapshot, positions: np.ndarray) -> tuple[list[SegmentEntry], list[str]]:
    """Entries of the snapshot's segments without the rows at some positions, and the files that are then of no use."""
    entries, garbage = [], []
    version = snapshot.manifest.version + 1
    gone = np.zeros(len(snapshot), dtype=bool)
    gone[positions] = True
    for entry, segment, start in zip(
        snapshot.manifest.segments, snapshot.segments, snapshot.starts[:-1].tolist(), strict=True
    ):
        here = gone[start : start + len(segment)]
        if not here.any():
            entries.append(entry)
            continue
        removed = segment.removed | here
        if removed.all():
            garbage += files_of(entry)
            continue
        entries.append(storage.write_removed(entry, removed, version))
        garbage += [entry.removed] if entry.removed else []
    return entries, garbage


def checked_rows(features: np.ndarray, num: int, dim: int) -> np.ndarray:
    """What an encoder made, if it is (num, dim) and of unit length; else a ValueError."""
    features = np.asarray(features)
    if features.shape != (num, dim):
        raise ValueError(f"the encoder should give ({num}, {dim}) features, found {features.shape}")
    lengths = np.linalg.norm(features.astype(np.float32), axis=1)
    if not (np.abs(lengths - 1) < 0.01).all():  # NaN is not, either
        bad = int(np.flatnonzero(~(np.abs(lengths - 1) < 0.01))[0])
        raise ValueError(f"features must have unit length, found {lengths[bad]} in row {bad} of {num}")
    return features


def _content(digest: bytes, modality: Any) -> bytes:
    return digest + bytes([int(modality)])


def _digest_or_error(path: str) -> bytes | OSError:
    try:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.digest()
    except OSError as error:
        return error


Describing = str | int | float | Sequence[Any] | Callable[[str], Any] | None
