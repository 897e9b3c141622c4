"""Patterns on cloth: functions of a point on the surface that say where the second material shows.

A surface is a tube with an axis that runs down the garment. Its coordinates are ``s``, the way along the axis from
the upper end, ``phi``, the angle around the axis (0 in front, +-pi at the back), and ``arc``, the angle times the
radius. Lengths are in body heights, angles in radians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Surface:
    """Where pixels lie on a tube, arrays of one shape (N,).

    Attributes:
        s: way along the axis, in body heights.
        v: the same from 0 (upper end) to 1 (lower end).
        phi: angle around the body, -pi..pi, 0 in front.
        arc: ``phi`` times the tube's radius, in body heights.
    """

    s: Array
    v: Array
    phi: Array
    arc: Array


@dataclass(frozen=True)
class Pattern:
    """A kind of pattern and its numbers.

    Attributes:
        kind: one of ``KINDS``.
        period: length of one repeat, in body heights (for 'logo' and 'band': the size).
        phase: shift in repeats, 0..1.
        start: first place along the axis for 'band', 'hem' and 'straps', in body heights.
    """

    kind: str
    period: float = 0.1
    phase: float = 0.0
    start: float = 0.0


def _wave(x: Array, pattern: Pattern) -> Array:
    return (x / pattern.period + pattern.phase) % 1.0


def _stripes(at: Surface, p: Pattern) -> Array:
    return _wave(at.s, p) < 0.5


def _columns(at: Surface, p: Pattern) -> Array:
    return _wave(at.arc, p) < 0.45


def _diagonal(at: Surface, p: Pattern) -> Array:
    return _wave(at.s + at.arc, p) < 0.5


def _checks(at: Surface, p: Pattern) -> Array:
    return (_wave(at.s, p) < 0.5) ^ (_wave(at.arc, p) < 0.5)


def _dots(at: Surface, p: Pattern) -> Array:
    row = np.floor(at.s / p.period + p.phase)
    x = (at.arc / p.period + 0.5 * (row % 2)) % 1.0 - 0.5
    y = (at.s / p.period + p.phase) % 1.0 - 0.5
    return x * x + y * y < 0.33**2


def _from_front_or_back(phi: Array) -> Array:
    """Angle to the nearer of front and back: prints show on both sides of a garment."""
    return (phi + np.pi / 2) % np.pi - np.pi / 2


def _disc(at: Surface, p: Pattern) -> Array:
    x, y = _from_front_or_back(at.phi), (at.s - p.start) / p.period
    return (x / 0.62) ** 2 + y**2 < 1.0


def _square(at: Surface, p: Pattern) -> Array:
    return (np.abs(_from_front_or_back(at.phi)) < 0.55) & (np.abs(at.s - p.start) < 0.85 * p.period)


def _chevron(at: Surface, p: Pattern) -> Array:
    y = at.s - p.start + 0.12 * (np.abs(_from_front_or_back(at.phi)) - 0.5)
    return np.abs(y) < 0.42 * p.period


def _cross(at: Surface, p: Pattern) -> Array:
    return (np.abs(_from_front_or_back(at.phi)) < 0.22) | (np.abs(at.s - p.start) < 0.33 * p.period)


def _band(at: Surface, p: Pattern) -> Array:
    return (at.s >= p.start) & (at.s < p.start + p.period)


def _below(at: Surface, p: Pattern) -> Array:
    return at.v >= p.start


def _half(at: Surface, p: Pattern) -> Array:
    return at.phi * np.where(p.phase < 0.5, 1.0, -1.0) > 0


def _sides(at: Surface, p: Pattern) -> Array:
    return np.abs(np.abs(at.phi) - np.pi / 2) < 0.62


def _front(at: Surface, p: Pattern) -> Array:
    return np.abs(at.phi) < p.period


def _straps(at: Surface, p: Pattern) -> Array:
    return (np.abs(np.abs(at.phi) - 0.62) < 0.2) & (at.v < p.start)


def _sash(at: Surface, p: Pattern) -> Array:
    side = 1.0 if p.phase < 0.5 else -1.0
    x = np.sin(at.phi) * side
    return (np.abs(x - (2.1 * at.v - 0.85)) < p.period) & (at.v < 0.9)


def _hair(at: Surface, p: Pattern) -> Array:
    """Hair on a head: above the fringe (``start``), and beside and behind the face down to ``period`` of the head."""
    return (at.v < p.start) | ((np.abs(at.phi) > 1.1 - 0.3 * at.v) & (at.v < p.period))


def _face(at: Surface, p: Pattern) -> Array:
    return (at.phi / 0.8) ** 2 + ((at.v - 0.55) / 0.36) ** 2 < 1.0


def _eyes(at: Surface, p: Pattern) -> Array:
    return ((np.abs(at.phi) - 0.42) / 0.14) ** 2 + ((at.v - 0.5) / 0.055) ** 2 < 1.0


def _plain(at: Surface, p: Pattern) -> Array:
    return np.zeros(at.s.shape, bool)


def _all(at: Surface, p: Pattern) -> Array:
    return np.ones(at.s.shape, bool)


KINDS: dict[str, Callable[[Surface, Pattern], Array]] = {
    "plain": _plain,
    "stripes": _stripes,
    "columns": _columns,
    "diagonal": _diagonal,
    "checks": _checks,
    "dots": _dots,
    "disc": _disc,
    "square": _square,
    "chevron": _chevron,
    "cross": _cross,
    "band": _band,
    "two-tone": _below,
    "half": _half,
    "sides": _sides,
    "front": _front,
    "straps": _straps,
    "sash": _sash,
    "hair": _hair,
    "face": _face,
    "eyes": _eyes,
    "all": _all,
}


def pattern_mask(pattern: Pattern, at: Surface) -> Array:
    """Where the pattern's material shows: bool (N,). A kind that does not exist is a ValueError."""
    if pattern.kind not in KINDS:
        raise ValueError(f"pattern kind must be one of {sorted(KINDS)}, found {pattern.kind!r}")
    return KINDS[pattern.kind](at, pattern)
