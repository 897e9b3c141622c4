"""What a gallery knows of its images beside their features, column by column: compact, and saved without pickle."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Texts:
    """Many different texts (paths) as bytes behind each other.

    Attributes:
        data: (B,) uint8, as the file system spells them.
        ends: (N + 1,) int64 places where one ends and the next begins.
    """

    data: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """From Python's texts."""
        parts = [os.fsencode(text) for text in texts]
        ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(parts), dtype=np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def raw(self, row: int) -> bytes:
        """The bytes of one; they sort like the texts."""
        return self.data[self.ends[row] : self.ends[row + 1]].tobytes()

    def __getitem__(self, row: int) -> str:
        return os.fsdecode(self.raw(row))

    def all_raw(self) -> list[bytes]:
        """The bytes of all."""
        data, ends = self.data.tobytes(), self.ends.tolist()
        return [data[a:b] for a, b in itertools.pairwise(ends)]

    def take(self, rows: np.ndarray) -> Texts:
        """Some of them."""
        parts = [self.raw(int(row)) for row in rows]
        ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return Texts(np.frombuffer(b"".join(parts), dtype=np.uint8), ends)

    @classmethod
    def concatenate(cls, parts: Sequence[Texts]) -> Texts:
        """One behind the other."""
        if not parts:
            return cls.of([])
        starts = np.cumsum([0, *(len(part.data) for part in parts)])
        ends = [np.zeros(1, np.int64), *(part.ends[1:] + start for part, start in zip(parts, starts[:-1], strict=True))]
        return cls(np.concatenate([part.data for part in parts]), np.concatenate(ends))


@dataclass(frozen=True)
class Labels:
    """Few different texts (cameras, ids), each row's as a number.

    Attributes:
        codes: (N,) int32, positions in ``names``; -1: unknown.
        names: each once.
    """

    codes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Labels:
        """From texts, None where unknown."""
        names = tuple(sorted({value for value in values if value is not None}))
        place = {name: i for i, name in enumerate(names)} | {None: -1}
        return cls(np.array([place[value] for value in values], dtype=np.int32), names)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code < 0 else self.names[code]

    def is_in(self, names: Iterable[str]) -> np.ndarray:
        """(N,) bool: rows with one of these."""
        wanted = set(names)
        return np.isin(self.codes, [i for i, name in enumerate(self.names) if name in wanted])

    def counts(self, rows: np.ndarray) -> dict[str, int]:
        """How many of the rows that a (N,) bool array says have each name; those without any are left out."""
        found = np.bincount(self.codes[rows & (self.codes >= 0)], minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, found, strict=True) if count}

    def take(self, rows: np.ndarray) -> Labels:
        """Some of them."""
        return Labels(self.codes[rows], self.names)

    @classmethod
    def concatenate(cls, parts: Sequence[Labels]) -> Labels:
        """One behind the other, with common numbers."""
        names = tuple(sorted({name for part in parts for name in part.names}))
        place = {name: i for i, name in enumerate(names)}
        codes = [np.array([*(place[name] for name in part.names), -1], dtype=np.int32)[part.codes] for part in parts]
        return cls(np.concatenate(codes) if codes else np.zeros(0, np.int32), names)


@dataclass(frozen=True)
class Columns:
    """One entry a row of a gallery.

    Attributes:
        row: (N,) int64, a number that no other row of the gallery has or will have.
        path: absolute paths of the image files.
        size, mtime_ns: (N,) int64, bytes and modification time of the file when its features were made.
        digest: (N, 32) uint8, SHA-256 of its content.
        modality: (N,) int8, position in MODALITIES.
        camera, id: names; unknown ones allowed.
        time: (N,) float64, seconds since 1970 (UTC); NaN: unknown.
    """

    row: np.ndarray
    path: Texts
    size: np.ndarray
    mtime_ns: np.ndarray
    digest: np.ndarray
    modality: np.ndarray
    camera: Labels
    id: Labels
    time: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: np.ndarray) -> Columns:
        """Some rows, by their positions."""
        values: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            values[field.name] = column[rows] if isinstance(column, np.ndarray) else column.take(rows)
        return Columns(**values)

    @classmethod
    def concatenate(cls, parts: Sequence[Columns]) -> Columns:
        """One behind the other."""
        if not parts:
            return cls.empty()
        values: dict[str, Any] = {}
        for field in fields(cls):
            columns = [getattr(part, field.name) for part in parts]
            kind = type(columns[0])
            values[field.name] = np.concatenate(columns) if kind is np.ndarray else kind.concatenate(columns)
        return cls(**values)

    @classmethod
    def empty(cls) -> Columns:
        """No rows."""
        none = np.zeros(0, dtype=np.int64)
        return cls(
            none,
            Texts.of([]),
            none,
            none,
            np.zeros((0, 32), np.uint8),
            np.zeros(0, np.int8),
            Labels.of([]),
            Labels.of([]),
            np.zeros(0),
        )

    def to_bytes(self, **beside: np.ndarray) -> bytes:
        """As an .npz, with what else is to stand there."""
        arrays = dict(beside)
        for field in fields(self):
            column = getattr(self, field.name)
            if isinstance(column, Texts):
                arrays |= {f"{field.name}.data": column.data, f"{field.name}.ends": column.ends}
            elif isinstance(column, Labels):
                names = np.frombuffer(json.dumps(column.names).encode(), dtype=np.uint8)
                arrays |= {f"{field.name}.codes": column.codes, f"{field.name}.names": names}
            else:
                arrays[field.name] = column
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> tuple[Columns, dict[str, np.ndarray]]:
        """Of :meth:`to_bytes`: the columns, and what stood beside them."""
        values: dict[str, Any] = {}
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            for field in fields(cls):
                name = field.name
                if f"{name}.ends" in arrays:
                    values[name] = Texts(arrays[f"{name}.data"], arrays[f"{name}.ends"])
                elif f"{name}.codes" in arrays:
                    names = json.loads(arrays[f"{name}.names"].tobytes())
                    values[name] = Labels(arrays[f"{name}.codes"], tuple(names))
                else:
                    values[name] = arrays[name]
            columns = {name.partition(".")[0] for name in values}
            beside = {name: arrays[name] for name in arrays.files if name.partition(".")[0] not in columns}
        return cls(**values), beside
