"""People with queries of known truth."""

from __future__ import annotations

import numpy as np

from mscmreid.statistics import PeopleValues


def made_up_queries(seed: int, num_people: int = 12, num_draws: int = 3, queries: int = 5) -> dict[str, np.ndarray]:
    """Random per-query values, some queries without a match."""
    rng = np.random.default_rng(seed)
    pid = np.repeat(np.arange(num_people) * 7, rng.integers(1, queries + 1, num_people))
    shape = (num_draws, len(pid))
    first_rank = rng.integers(0, 30, shape)
    ap, inp = rng.uniform(0, 100, shape), rng.uniform(0, 100, shape)
    ap[first_rank == 0] = inp[first_rank == 0] = np.nan
    return dict(pid=pid, first_rank=first_rank, ap=ap, inp=inp)


def people_of_ap(ap: np.ndarray, pid: np.ndarray) -> PeopleValues:
    """Values of queries (T, Q) whose every measure is made of ``ap``: rank 1 where it is above 50."""
    return PeopleValues.of_queries(pid, np.where(ap > 50, 1, 9), ap, ap)
