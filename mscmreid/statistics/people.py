"""Per-query values put together by person: all that intervals and tests need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MEASURES = ("R1", "R5", "R10", "R20", "mAP", "mINP")
RANKS = (1, 5, 10, 20)


@dataclass(frozen=True)
class PeopleValues:
    """What the queries of each person reach in each gallery draw. A measure is the mean over its queries.

    Attributes:
        people: (P,) ids, ascending: those with a query that has a match in some draw.
        counts: (T, P) float64, whole: queries with a match.
        sums: (T, P, M) float64: the sum over them of each of :data:`MEASURES`, in percent, on a grid on which sums over
            P people are exact.
    """

    people: np.ndarray
    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def of_queries(cls, pid: np.ndarray, first_rank: np.ndarray, ap: np.ndarray, inp: np.ndarray) -> PeopleValues:
        """Put queries together.

        Args:
            pid: (Q,) person of each query.
            first_rank: (T, Q) rank of its first match in each gallery draw, 0 where it has none.
            ap, inp: (T, Q) in percent; not read where there is no match.
        """
        people, person = np.unique(pid, return_inverse=True)
        person = person.reshape(-1)
        size = len(people)
        counts = np.zeros((len(first_rank), size))
        sums = np.zeros((len(first_rank), size, len(MEASURES)))
        for draw, ranks in enumerate(first_rank):
            used = np.flatnonzero(ranks > 0)
            columns = [100.0 * (ranks[used] <= rank) for rank in RANKS] + [ap[draw][used], inp[draw][used]]
            counts[draw] = np.bincount(person[used], minlength=size)
            for number, column in enumerate(columns):
                sums[draw, :, number] = np.bincount(person[used], weights=column, minlength=size)
        asked = counts.any(axis=0)
        return cls(people[asked], counts[:, asked], on_grid(sums[:, asked]))

    @property
    def num_people(self) -> int:
        """People that the measures are over."""
        return len(self.people)

    @property
    def by_draw(self) -> np.ndarray:
        """(T, M) every measure in every gallery draw."""
        return self.sums.sum(axis=1) / self.counts.sum(axis=1)[:, None]

    @property
    def estimate(self) -> np.ndarray:
        """(M,) every measure, the mean over the draws."""
        by_draw = self.by_draw
        return np.array([sum(column) / len(column) for column in by_draw.T.tolist()])

    @property
    def parts(self) -> np.ndarray:
        """(T, P, M) what each person adds: their mean over P is :attr:`by_draw`, and to first order a person more or
        less changes it as it changes that mean."""
        by_draw = self.by_draw[:, None]
        queries = self.counts.sum(axis=1)[:, None, None]
        return by_draw + self.num_people * (self.sums - by_draw * self.counts[:, :, None]) / queries


def over_draws(values: list[PeopleValues]) -> PeopleValues:
    """Values of several tests (splits of a data set) as draws of one; a person may be in some of them only."""
    people = np.unique(np.concatenate([value.people for value in values]))
    counts, sums = [], []
    for value in values:
        places = np.searchsorted(people, value.people)
        wide_counts = np.zeros((len(value.counts), len(people)))
        wide_sums = np.zeros((len(value.counts), len(people), len(MEASURES)))
        wide_counts[:, places], wide_sums[:, places] = value.counts, value.sums
        counts.append(wide_counts)
        sums.append(wide_sums)
    return PeopleValues(people, np.concatenate(counts), on_grid(np.concatenate(sums)))


def on_grid(values: np.ndarray) -> np.ndarray:
    """(T, P, ...) rounded to whole multiples of a power of two, such that P of the largest are below 2^53 of them."""
    largest = float(np.abs(values).max(initial=0.0)) * max(1, values.shape[1])
    exponent = int(np.frexp(largest)[1]) - 53
    return np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent)
