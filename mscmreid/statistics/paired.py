"""Two systems on the same queries: is the difference more than chance among people.

The paired permutation test asks: if the two systems were equally good, which of them does better on a person would be
a coin's toss; how often do tosses make a difference as large as the one that was found? Signs are flipped by person.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mscmreid.statistics.intervals import LEVEL, ends
from mscmreid.statistics.people import MEASURES, PeopleValues, on_grid
from mscmreid.statistics.resampling import RESAMPLES, Chance, chunks, mean_of, resample_people

ALPHA = 0.05
"""Below this p a difference counts as distinguishable from chance."""


@dataclass(frozen=True)
class Difference:
    """One measure of system A minus that of system B.

    Attributes:
        measure: one of :data:`MEASURES`.
        first, second: of A and of B, in percent.
        difference: A - B, in points.
        low, high: interval of the difference.
        p: two-sided: how likely so large a difference is between equal systems.
        p_bootstrap: the same from the bootstrap of the difference (None over several seeds).
        num_better, num_worse: people whom A finds better, and worse, than B.
        num_people: of the test.
        over: what was drawn anew: 'people', or 'seeds and people'.
        standard_error: of the difference, over the same.
    """

    measure: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    p_bootstrap: float | None
    num_better: int
    num_worse: int
    num_people: int
    over: str
    standard_error: float


def compare_people(
    first: PeopleValues,
    second: PeopleValues,
    *,
    level: float = LEVEL,
    num_resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Measure -> the difference of two trained systems, over people; the gallery draws stay as they are.

    Args:
        first, second: of the same queries and draws.
        level: of the intervals.
        num_resamples: draws of the bootstrap and of the permutation test (all 2^P where that is fewer).
        seed: of the draws.

    Raises:
        ValueError: the two are not of the same people, queries and draws.
    """
    check_paired(first, second)
    gains = mean_gains(first, second)
    samples = resample_people([first, second], num_resamples, seed)
    moved = mean_of(samples[:, 0] - samples[:, 1], 1)
    low, high = ends(moved, first.num_people, level)
    one, other = first.estimate, second.estimate
    permuted = permutation_p(gains, num_resamples, seed)
    return {
        name: Difference(
            name,
            float(one[i]),
            float(other[i]),
            float(one[i] - other[i]),
            float(low[i]),
            float(high[i]),
            float(permuted[i]),
            bootstrap_p(moved[:, i]),
            int((gains[:, i] > 0).sum()),
            int((gains[:, i] < 0).sum()),
            first.num_people,
            "people",
            float(np.std(moved[:, i], ddof=1)) if first.num_people > 1 else math.nan,
        )
        for i, name in enumerate(MEASURES)
    }


def mean_gains(first: PeopleValues, second: PeopleValues) -> np.ndarray:
    """(P, M) what each person adds to the difference of the two, their sum; on a grid on which the sum is exact."""
    asked = first.counts.sum(axis=1)[:, None, None]
    gains = mean_of(((first.sums - second.sums) / asked)[None], 1)[0]
    return on_grid(gains[None])[0]


def permutation_p(gains: np.ndarray, num_resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """(M,) two-sided p of the sum of ``gains`` (P, M) when each row's sign is a coin's toss.

    All 2^P tosses where they are no more than ``num_resamples``; else as many random ones, and the toss that was found
    counts as one of them (so p is never 0).
    """
    gains = on_grid(gains[None])[0]
    found = np.abs(gains.sum(axis=0))
    num_people = len(gains)
    if num_people < 63 and 2**num_people <= num_resamples:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=num_people)))
        return (np.abs(signs @ gains) >= found).sum(axis=0) / len(signs)
    chance = Chance(seed, 2)
    as_large = np.zeros(gains.shape[1], dtype=np.int64)
    for size in chunks(num_resamples, num_people):
        as_large += (np.abs(chance.signs(size, num_people) @ gains) >= found).sum(axis=0)
    return (1 + as_large) / (1 + num_resamples)


def bootstrap_p(samples: np.ndarray) -> float:
    """Two-sided p of a difference (R,) with people drawn anew: twice the smaller share on one side of 0."""
    share = min(int((samples <= 0).sum()), int((samples >= 0).sum())) + 1
    return min(1.0, 2 * share / (len(samples) + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction of several p: the smallest times their number, the next times one less, never falling."""
    adjusted = [0.0] * len(p)
    highest = 0.0
    for place, number in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - place) * p[number]))
        adjusted[number] = highest
    return adjusted


def check_paired(first: PeopleValues, second: PeopleValues) -> None:
    """Raise a ValueError unless both are of the same people, two or more, draws and queries."""
    if min(first.num_people, second.num_people) < 2:
        raise ValueError("a test over people needs queries of two people or more")
    if not np.array_equal(first.people, second.people):
        odd = np.setxor1d(first.people, second.people)
        raise ValueError(f"a paired test needs the same people on both sides, found {len(odd)} on one only: {odd[:5]}")
    if not np.array_equal(first.counts, second.counts):
        raise ValueError(
            "a paired test needs the same queries and gallery draws on both sides, found other counts of queries"
        )
