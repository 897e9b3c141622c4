"""Confidence intervals by drawing people anew.

The queries of one person are photos of one walk past the cameras and rise and fall together, so people are drawn, with
all their queries, and not queries. What comes out says how far the number would move with other people of the same
kind asking; the gallery stays as it is.

The plain percentile interval of n people is too short by about sqrt((n - 1) / n), and takes a normal quantile where
Student's belongs; both are mended by taking percentiles further out (Hesterberg, "What Teachers Should Know About the
Bootstrap", The American Statistician 69(4), 2015, section 5.3, "expanded percentile intervals").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mscmreid.statistics.people import MEASURES, PeopleValues
from mscmreid.statistics.resampling import RESAMPLES, mean_of, resample_people
from mscmreid.statistics.student import student_quantile

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """One measure in percent and how far it can be trusted.

    Attributes:
        estimate: the measure, mean over the gallery draws.
        low, high: ends of the interval; NaN where there are fewer than two people.
        by_draw: (low, high) of each gallery draw alone.
    """

    estimate: float
    low: float
    high: float
    by_draw: tuple[tuple[float, float], ...]


def intervals(
    values: PeopleValues,
    *,
    level: float = LEVEL,
    num_resamples: int = RESAMPLES,
    seed: int = 0,
    resample_draws: bool = False,
) -> dict[str, Interval]:
    """Measure -> its interval over people.

    Args:
        values: what each person's queries reach.
        level: share of such intervals that hold the true value.
        num_resamples: how often people are drawn anew.
        seed: of the draws.
        resample_draws: draw the gallery draws anew, too: for a number over other galleries as well. Without it, the
            draws are the benchmark's own.
    """
    samples = resample_people([values], num_resamples, seed)[:, 0]
    mean = mean_of(samples, 1)
    if resample_draws:
        mean = resample_people([values], num_resamples, seed, resample_draws=True)[:, 0, 0]
    low, high = ends(mean, values.num_people, level)
    draw_low, draw_high = ends(samples, values.num_people, level)
    estimate = values.estimate
    return {
        name: Interval(
            float(estimate[i]),
            float(low[i]),
            float(high[i]),
            tuple(zip(draw_low[:, i].tolist(), draw_high[:, i].tolist(), strict=True)),
        )
        for i, name in enumerate(MEASURES)
    }


def ends(samples: np.ndarray, num_people: int, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of expanded percentile intervals.

    Args:
        samples: (R, ...) a measure with people drawn anew.
        num_people: how many they are; NaN below two.
        level: of the interval.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval must lie between 0 and 1, found {level}")
    if num_people < 2:
        nothing = np.full(samples.shape[1:], np.nan)
        return nothing, nothing
    wide = math.sqrt(num_people / (num_people - 1)) * student_quantile((1 + level) / 2, num_people - 1)
    place = int(NormalDist().cdf(-wide) * (len(samples) + 1))
    ordered = np.sort(samples, axis=0)
    return ordered[max(place - 1, 0)], ordered[min(len(samples) - place, len(samples) - 1)]
