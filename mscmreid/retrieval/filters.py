"""Which images of a gallery a question is about: cameras, times, modality, ids."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mscmreid.modalities import modality_index
from mscmreid.retrieval.columns import Columns

Time = str | int | float | datetime.datetime | datetime.date


def label(value: Any) -> str:
    """A camera's or a person's name as galleries keep it: 3 and '3' are one camera."""
    text = str(int(value)) if isinstance(value, np.integer) else str(value)
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError(f"a camera or an id is a printable word without blanks around it, found {value!r}")
    return text


def seconds_of(time: Time) -> float:
    """Seconds since 1970 (UTC) of a time: seconds, ISO 8601 text ('2026-11-25', '2026-11-25T22:14:03'), or an object
    of the standard library. A time without a zone is taken as UTC, so what is written without one stays as it is.

    Raises:
        ValueError: a text that is no time.
    """
    if isinstance(time, int | float | np.number) and not isinstance(time, bool):
        found = float(time)
        if not math.isfinite(found):
            raise ValueError(f"a time in seconds must be finite, found {time!r}")
        return found
    if isinstance(time, str):
        try:
            time = datetime.datetime.fromisoformat(time.strip().replace("Z", "+00:00"))
        except ValueError:
            raise ValueError(
                f"a time is written 2026-11-25 or 2026-11-25T22:14:03 (with +01:00 where it has a zone), found {time!r}"
            ) from None
    if not isinstance(time, datetime.date):
        raise ValueError(f"a time is a text, seconds since 1970 or a datetime, found {type(time).__name__}")
    if not isinstance(time, datetime.datetime):
        time = datetime.datetime(time.year, time.month, time.day)
    return (time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)).timestamp()


def time_text(seconds: float) -> str | None:
    """ISO 8601 without a zone, in UTC; None where it is unknown (NaN)."""
    if not math.isfinite(seconds):
        return None
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return moment.isoformat(sep=" ", timespec="milliseconds" if moment.microsecond else "seconds")


def _labels(values: Any) -> tuple[str, ...]:
    if values is None:
        return ()
    one = isinstance(values, str) or not isinstance(values, Iterable)
    return tuple(label(value) for value in ([values] if one else values))


@dataclass(frozen=True)
class Filter:
    """Conditions that hold together; one that is empty asks nothing.

    Attributes:
        camera: only these cameras.
        exclude_camera: none of these. Images of unknown camera stay.
        since, until: ``since <= time < until``; an image of unknown time is in no range.
        modality: 'visible' or 'infrared'.
        id: only images labelled with one of these ids.
        exclude_row: not these rows, such as the one that is the query.

    Raises:
        ValueError: a modality or time that is none, a range that is empty.
    """

    camera: Any = ()
    exclude_camera: Any = ()
    since: Time | None = None
    until: Time | None = None
    modality: str | None = None
    id: Any = ()
    exclude_row: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("camera", "exclude_camera", "id"):
            object.__setattr__(self, name, _labels(getattr(self, name)))
        for name in ("since", "until"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, seconds_of(getattr(self, name)))
        if self.since is not None and self.until is not None and self.since >= self.until:  # type: ignore[operator]
            raise ValueError(f"since must be before until, found {self.since} and {self.until} (seconds since 1970)")
        if self.modality is not None:
            modality_index(self.modality)
        rows = [self.exclude_row] if isinstance(self.exclude_row, int | np.integer) else self.exclude_row
        object.__setattr__(self, "exclude_row", tuple(int(row) for row in rows))

    @classmethod
    def of(cls, where: Filter | Mapping[str, Any] | None) -> Filter:
        """A filter from a dict of its attributes; None asks nothing."""
        if isinstance(where, Filter):
            return where
        where = dict(where or {})
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(where) - set(known))
        if unknown:
            raise ValueError(f"a filter knows {', '.join(known)}; found {', '.join(unknown)}")
        return cls(**where)

    @property
    def is_empty(self) -> bool:
        """Whether it asks nothing."""
        return self == Filter()

    def mask(self, columns: Columns) -> np.ndarray:
        """(N,) bool: rows that meet all conditions."""
        kept = np.ones(len(columns), dtype=bool)
        if self.camera:
            kept &= columns.camera.is_in(self.camera)
        if self.exclude_camera:
            kept &= ~columns.camera.is_in(self.exclude_camera)
        if self.since is not None:
            kept &= columns.time >= self.since  # False for NaN
        if self.until is not None:
            kept &= columns.time < self.until
        if self.modality is not None:
            kept &= columns.modality == modality_index(self.modality)
        if self.id:
            kept &= columns.id.is_in(self.id)
        if self.exclude_row:
            kept &= ~np.isin(columns.row, self.exclude_row)
        return kept
