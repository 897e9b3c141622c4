"""Several trainings of a system: what is the seed's, what the people's, what the gallery draw's.

A difference between two systems that were trained several times is judged by the hierarchical bootstrap: the trainings
of each system are drawn anew, and so are the people (the same in all of them). Few trainings say little about how far
trainings differ, so the interval is Student's, with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mscmreid.statistics.intervals import LEVEL, Interval
from mscmreid.statistics.paired import Difference, check_paired, mean_gains
from mscmreid.statistics.people import MEASURES, PeopleValues
from mscmreid.statistics.resampling import RESAMPLES, Chance, mean_of, resample_people, widened
from mscmreid.statistics.student import student_quantile, student_tail


@dataclass(frozen=True)
class Spread:
    """How far one training's number may move, in points: standard deviations of its parts.

    Attributes:
        seeds: with another seed, the same people and draws.
        people: with other people.
        draws: with other gallery draws.
        mixed: what belongs to no one of them, such as a seed that is good with some people.
    """

    seeds: float
    people: float
    draws: float
    mixed: float

    @property
    def total(self) -> float:
        """All of them together."""
        return math.sqrt(self.seeds**2 + self.people**2 + self.draws**2 + self.mixed**2)

    @property
    def shares(self) -> dict[str, float]:
        """Part -> its share of the variance, in percent."""
        parts = dict(seeds=self.seeds, people=self.people, draws=self.draws, mixed=self.mixed)
        return {name: 100 * value**2 / self.total**2 if self.total else 0.0 for name, value in parts.items()}


def spread_of(runs: Sequence[PeopleValues]) -> dict[str, Spread]:
    """Measure -> spread of one training's number, from several trainings tested on the same queries and draws.

    Variance components of a crossed design (seeds x draws x people) by the method of moments, none below 0.

    Raises:
        ValueError: fewer than two trainings, or not the same people, queries and draws.
    """
    _check_runs(runs)
    parts = np.stack([run.parts for run in runs])  # (S, T, P, M)
    _, num_draws, num_people, _ = parts.shape
    found = {}
    for number, name in enumerate(MEASURES):
        of = variance_components(parts[..., number])
        mixed = of["sp"] / num_people + of["st"] / num_draws + (of["tp"] + of["stp"]) / (num_people * num_draws)
        found[name] = Spread(
            math.sqrt(of["s"]), math.sqrt(of["p"] / num_people), math.sqrt(of["t"] / num_draws), math.sqrt(mixed)
        )
    return found


def variance_components(values: np.ndarray) -> dict[str, float]:
    """Variances of all effects in a table (S, T, P) of one value a cell: 's', 't', 'p', 'st', 'sp', 'tp', 'stp'.

    Mean squares equal their expectations: that of a set U of factors is the sum over all sets V that hold U of the
    variance of V times the sizes of the factors outside V. A factor of size 1 has no effects.
    """
    sizes = dict(zip("stp", values.shape, strict=True))
    names = ["".join(name) for k in range(1, 4) for name in itertools.combinations("stp", k)]
    means = {"": values.mean()}
    for name in names:
        means[name] = values.mean(axis=tuple(i for i, f in enumerate("stp") if f not in name), keepdims=True)
    variances: dict[str, float] = {}
    for name in reversed(names):
        if any(sizes[factor] == 1 for factor in name):
            variances[name] = 0.0
            continue
        subsets = [u for u in ["", *names] if set(u) <= set(name)]
        effect = sum((-1) ** (len(name) - len(u)) * means[u] for u in subsets)
        repeats = math.prod(size for factor, size in sizes.items() if factor not in name)
        freedom = math.prod(sizes[factor] - 1 for factor in name)
        square = repeats * float((effect**2).sum()) / freedom
        above = [v for v in variances if set(name) < set(v)]
        inner = sum(variances[v] * math.prod(s for f, s in sizes.items() if f not in v) for v in above)
        variances[name] = (square - inner) / repeats
    return {name: max(0.0, variances[name]) for name in names}


def seed_intervals(
    runs: Sequence[PeopleValues], *, level: float = LEVEL, num_resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Measure -> interval of the mean over trainings, seeds and people drawn anew (``by_draw`` is empty).

    Raises:
        ValueError: as :func:`spread_of`.
    """
    _check_runs(runs)
    samples = _resample(runs, num_resamples, seed, 3)
    estimate = _mean(runs)
    of_seeds, of_people = _variances(runs), _people_variance(np.stack([run.parts for run in runs]).mean(axis=(0, 1)))
    found = {}
    for i, name in enumerate(MEASURES):
        freedom = _freedom([(of_seeds[i], len(runs) - 1), (of_people[i], runs[0].num_people - 1)])
        reach = student_quantile((1 + level) / 2, freedom) * float(np.std(samples[:, i], ddof=1))
        found[name] = Interval(float(estimate[i]), float(estimate[i]) - reach, float(estimate[i]) + reach, ())
    return found


def compare_seeds(
    first: Sequence[PeopleValues],
    second: Sequence[PeopleValues],
    *,
    level: float = LEVEL,
    num_resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """Measure -> the difference of two systems' means over their trainings, seeds and people drawn anew.

    Args:
        first, second: two trainings or more each, all tested on the same queries and draws; seeds of the two are not
            paired.
        level, num_resamples, seed: as in :func:`mscmreid.statistics.compare_people`.

    Raises:
        ValueError: as :func:`spread_of`.
    """
    _check_runs(first)
    _check_runs(second)
    check_paired(first[0], second[0])
    samples = _resample(first, num_resamples, seed, 3) - _resample(second, num_resamples, seed, 4)
    one, other = _mean(first), _mean(second)
    parts = [np.stack([run.parts for run in runs]).mean(axis=(0, 1)) for runs in (first, second)]
    of_people = _people_variance(parts[0] - parts[1])
    seeds_first, seeds_second = _variances(first), _variances(second)
    gains = np.mean([mean_gains(a, b) for a in first for b in second], axis=0)
    num_people = first[0].num_people
    found = {}
    for i, name in enumerate(MEASURES):
        error = float(np.std(samples[:, i], ddof=1))
        difference = float(one[i] - other[i])
        of = [(seeds_first[i], len(first) - 1), (seeds_second[i], len(second) - 1), (of_people[i], num_people - 1)]
        freedom = _freedom(of)
        reach = student_quantile((1 + level) / 2, freedom) * error
        if error:
            p = 2 * student_tail(abs(difference) / error, freedom)
        else:
            p = 0.0 if difference else 1.0
        found[name] = Difference(
            name,
            float(one[i]),
            float(other[i]),
            difference,
            difference - reach,
            difference + reach,
            p,
            None,
            int((gains[:, i] > 0).sum()),
            int((gains[:, i] < 0).sum()),
            num_people,
            "seeds and people",
            error,
        )
    return found


def _resample(runs: Sequence[PeopleValues], num_resamples: int, seed: int, stream: int) -> np.ndarray:
    """(R, M) mean over trainings, with people and then trainings drawn anew, both widened for their number."""
    num_people = runs[0].num_people
    people = mean_of(resample_people(runs, num_resamples, seed), 2)  # (R, S, M)
    estimate = np.stack([run.estimate for run in runs])
    if num_people > 1:
        people = estimate + math.sqrt(num_people / (num_people - 1)) * (people - estimate)
    weights = widened(Chance(seed, stream).counts(num_resamples, len(runs)))
    return mean_of(people, 1, weights)


def _mean(runs: Sequence[PeopleValues]) -> np.ndarray:
    """(M,) mean over trainings."""
    return mean_of(np.stack([run.estimate for run in runs])[None], 1)[0]


def _variances(runs: Sequence[PeopleValues]) -> np.ndarray:
    """(M,) variance of the mean over trainings, from how far they differ."""
    return np.var([run.estimate for run in runs], axis=0, ddof=1) / len(runs)


def _people_variance(parts: np.ndarray) -> np.ndarray:
    """(M,) variance of the mean over people (P, M), from how far they differ."""
    return np.var(parts, axis=0, ddof=1) / len(parts) if len(parts) > 1 else np.zeros(parts.shape[1])


def _freedom(parts: Sequence[tuple[float, int]]) -> float:
    """Satterthwaite's degrees of freedom of a sum of variances, each with its own."""
    squares = sum(variance**2 / freedom for variance, freedom in parts if variance > 0 and freedom > 0)
    return sum(variance for variance, _ in parts) ** 2 / squares if squares else 1.0


def _check_runs(runs: Sequence[PeopleValues]) -> None:
    if len(runs) < 2:
        raise ValueError(f"a spread over seeds needs two trainings or more, found {len(runs)}")
    for run in runs[1:]:
        check_paired(runs[0], run)
