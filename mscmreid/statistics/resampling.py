"""Chance that is the same on every machine, and people drawn anew.

Draws come from the bytes of a Mersenne Twister, which numpy has promised never to change. Sums over people are exact:
every summand is a whole multiple of one power of two and no sum reaches 2^53 of them, so a matrix product gives the
same bits in any order of addition (see :mod:`mscmreid.evaluation.similarity` for the same idea).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mscmreid.statistics.people import PeopleValues

RESAMPLES = 10_000
CHUNK_BYTES = 1 << 25


class Chance:
    """A stream of draws that its seed (one or several whole numbers, 0 or more) alone determines."""

    def __init__(self, *seed: int) -> None:
        self._random = np.random.RandomState(np.array(seed, dtype=np.uint32))

    def counts(self, num: int, size: int) -> np.ndarray:
        """(num, size) float64: how often each of ``size`` things is drawn in ``size`` draws with replacement."""
        words = np.frombuffer(self._random.bytes(4 * num * size), dtype="<u4").reshape(num, size)
        drawn = ((words.astype(np.uint64) * np.uint64(size)) >> np.uint64(32)).astype(np.int64)
        drawn += size * np.arange(num, dtype=np.int64)[:, None]
        return np.bincount(drawn.ravel(), minlength=num * size).reshape(num, size).astype(np.float64)

    def signs(self, num: int, size: int) -> np.ndarray:
        """(num, size) float64 of 1 and -1, equally likely."""
        words = np.frombuffer(self._random.bytes(4 * num * size), dtype="<u4").reshape(num, size)
        return 1.0 - 2.0 * (words >> np.uint32(31))


def chunks(num: int, row_values: int) -> Iterator[int]:
    """``num`` in parts, such that a part of rows of ``row_values`` float64 stays within a few ten megabytes."""
    most = max(1, CHUNK_BYTES // (8 * max(1, row_values)))
    for start in range(0, num, most):
        yield min(most, num - start)


def widened(counts: np.ndarray) -> np.ndarray:
    """(R, n) weights of mean 1 / n: those of a resample, moved away from 1 / n by sqrt(n / (n - 1)).

    A mean of n values drawn anew varies by (n - 1) / n of what it should; with few seeds that matters.
    """
    size = counts.shape[1]
    if size < 2:
        return np.ones_like(counts) / size
    return (1 + np.sqrt(size / (size - 1)) * (counts - 1)) / size


def resample_people(
    runs: Sequence[PeopleValues], num_resamples: int, seed: int, resample_draws: bool = False
) -> np.ndarray:
    """(R, S, T, M) measures of S runs in T gallery draws, with the people drawn anew, the same in all of them.

    Args:
        runs: of the same people, draws and queries.
        num_resamples: R.
        seed: of the draws.
        resample_draws: also draw the gallery draws anew; T is then 1, their mean.
    """
    num_draws, num_people, num_measures = runs[0].sums.shape
    sums = np.stack([run.sums for run in runs]).transpose(2, 0, 1, 3).reshape(num_people, -1)
    estimate = np.stack([run.by_draw for run in runs])
    people, draws = Chance(seed, 0), Chance(seed, 1)
    found = []
    for size in chunks(num_resamples, num_people + sums.shape[1]):
        counts = people.counts(size, num_people)
        totals = (counts @ sums).reshape(size, len(runs), num_draws, num_measures)
        asked = (counts @ runs[0].counts.T)[:, None, :, None]
        values = np.where(asked > 0, totals / np.maximum(asked, 1), estimate)
        if resample_draws and num_draws > 1:
            values = mean_of(values, 2, widened(draws.counts(size, num_draws)))[:, :, None]
        found.append(values)
    return np.concatenate(found)


def mean_of(values: np.ndarray, axis: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean along an axis, added in its order.

    Args:
        values: (R, ...).
        axis: of them.
        weights: (R, n), whose rows add up to 1; None: all the same.
    """
    size = values.shape[axis]
    moved = np.moveaxis(values, axis, 0)
    shape = (-1, *([1] * (moved.ndim - 2)))
    total = np.zeros(moved.shape[1:])
    for number in range(size):
        total += moved[number] if weights is None else weights[:, number].reshape(shape) * moved[number]
    return total / size if weights is None else total
