"""Names in messages: what somebody may have meant who wrote one that is not there, and not too many of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

NEAR = 0.6
"""Least likeness of two names, 0 to 1, from which on one may have been meant by the other."""
HOLDS = 0.9
"""Likeness of two names of which one holds the other, such as ``GeM`` and ``GemPool``."""
MARGIN = 0.15
"""How much less than the best name another one may be like it, and still be told."""

SHOWN = 20
"""Names or reasons that a message lists."""


def shortened(items: Sequence[object], most: int = SHOWN, between: str = "; ") -> str:
    """The first ``most`` of some names or reasons, and how many more there are."""
    more = [f"and {len(items) - most:,} more"] if len(items) > most else []
    return between.join([*map(str, items[:most]), *more])


def likeness(name: str, other: str) -> float:
    """How alike two names are, 0 to 1, whatever their case and underscores."""
    a, b = (text.lower().replace("_", "").replace("-", "") for text in (name, other))
    held = min(len(a), len(b)) >= 3 and (a in b or b in a)
    return max(SequenceMatcher(None, a, b).ratio(), HOLDS * held)


def near_names(name: str, names: Iterable[object], count: int = 3, least: float = NEAR) -> list[str]:
    """The most alike of ``names``, best first, at most ``count``; [] if none is like it."""
    found = sorted(((likeness(name, other), other) for other in {str(n) for n in names}), key=lambda f: (-f[0], f[1]))
    least = max(least, found[0][0] - MARGIN) if found else least
    return [other for value, other in found if value >= least][:count]


def did_you_mean(name: str, names: Iterable[object], least: float = NEAR) -> str:
    """``; did you mean 'x'?`` to put behind a message, or nothing."""
    near = near_names(name, names, least=least)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
