"""One version of a gallery, opened for reading: it stays what it was while others write."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from mscmreid.retrieval.columns import Columns
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.storage import DamagedGalleryError, Manifest, Segment, Storage


class Snapshot:
    """The rows of one version, by position 0 .. N - 1; positions of removed rows stay empty places.

    Attributes:
        manifest: what was opened.
        segments: the rows, one behind the other.
        starts: (S + 1,) position of each segment's first row.
    """

    def __init__(self, manifest: Manifest, segments: list[Segment]) -> None:
        self.manifest, self.segments = manifest, segments
        self.starts = np.cumsum([0, *map(len, segments)], dtype=np.int64)

    @classmethod
    def open(cls, storage: Storage) -> Snapshot:
        """The version that counts now.

        Raises:
            FileNotFoundError: there is no gallery.
            DamagedGalleryError: a file is missing or not what was written.
        """
        manifest = storage.read_manifest()
        while True:
            try:
                opened = [storage.open_segment(entry, manifest.dim, manifest.dtype) for entry in manifest.segments]
                return cls(manifest, opened)
            except FileNotFoundError as error:
                newer = storage.read_manifest()
                if newer.version == manifest.version:
                    raise DamagedGalleryError(f"a file of the gallery {storage.path} is missing: {error}") from error
                manifest = newer  # a writer dropped the segment between the two readings

    def __len__(self) -> int:
        """Places, empty ones included."""
        return int(self.starts[-1])

    @property
    def dim(self) -> int:
        """Width of a feature."""
        return self.manifest.dim

    @cached_property
    def alive(self) -> np.ndarray:
        """(N,) bool: places that are not empty."""
        removed = [segment.removed for segment in self.segments]
        return ~np.concatenate(removed) if removed else np.zeros(0, dtype=bool)

    @cached_property
    def columns(self) -> Columns:
        """Of all places."""
        return Columns.concatenate([segment.columns for segment in self.segments])

    @cached_property
    def path_rank(self) -> np.ndarray:
        """(N,) int64 place of each row's path among all paths, sorted."""
        paths = self.columns.path.all_raw()
        rank = np.empty(len(paths), dtype=np.int64)
        rank[sorted(range(len(paths)), key=paths.__getitem__)] = np.arange(len(paths))
        return rank

    @cached_property
    def row_order(self) -> np.ndarray:
        """(N,) int64 positions in the order of their row numbers."""
        return np.argsort(self.columns.row, kind="stable")

    def mask(self, where: Filter) -> np.ndarray:
        """(N,) bool: rows that are there and meet a filter."""
        return self.alive if where.is_empty else self.alive & where.mask(self.columns)

    def blocks(self, size: int) -> Iterator[tuple[int, Segment, slice]]:
        """(position of the first row, segment, its rows there), at most ``size`` rows each."""
        for start, segment in zip(self.starts[:-1].tolist(), self.segments, strict=True):
            for first in range(0, len(segment), size):
                yield start + first, segment, slice(first, min(first + size, len(segment)))

    def features(self, positions: np.ndarray) -> np.ndarray:
        """(n, D) features at some positions, as they are kept."""
        found = np.empty((len(positions), self.dim), dtype=self.manifest.dtype)
        of = np.searchsorted(self.starts, positions, side="right") - 1
        for number in np.unique(of):
            here = np.flatnonzero(of == number)
            found[here] = self.segments[number].read(positions[here] - self.starts[number])
        return found

    def positions_of(self, rows: np.ndarray) -> np.ndarray:
        """(n,) int64 positions of row numbers; -1 for those that are not there."""
        numbers = self.columns.row
        if not len(numbers):
            return np.full(len(rows), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(numbers, rows, sorter=self.row_order), len(numbers) - 1)
        found = self.row_order[place]
        return np.where((numbers[found] == rows) & self.alive[found], found, -1)

    def position_of_row(self, row: int) -> int:
        """Position of a row number.

        Raises:
            ValueError: no such row, or it was removed.
        """
        (found,) = self.positions_of(np.array([row]))
        if found < 0:
            raise ValueError(f"the gallery (version {self.manifest.version}) has no row {row}")
        return int(found)
