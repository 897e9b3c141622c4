"""Paired tests: by hand, beside scipy, and how often equal systems are told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_up_people import made_up_queries, people_of_ap

from mscmreid.statistics import PeopleValues, compare_people, holm
from mscmreid.statistics.paired import bootstrap_p, permutation_p


def slow_permutation_p(gains):
    """Every toss in a loop."""
    found = abs(sum(gains))
    tosses = list(itertools.product((1, -1), repeat=len(gains)))
    return sum(abs(sum(s * g for s, g in zip(toss, gains, strict=True))) >= found for toss in tosses) / len(tosses)


def test_few_people_are_tossed_in_every_way():
    for seed in range(5):
        gains = np.random.default_rng(seed).integers(-9, 10, 9).astype(float)
        assert permutation_p(gains[:, None])[0] == slow_permutation_p(gains.tolist())


def test_beside_scipy():
    stats = pytest.importorskip("scipy.stats")
    gains = np.random.default_rng(1).normal(0.5, 2.0, 40)
    options = dict(permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0))
    theirs = stats.permutation_test((gains, np.zeros(40)), lambda x, y, axis: np.mean(x - y, axis=axis), **options)
    ours = permutation_p(gains[:, None], 20_000)[0]
    assert ours == pytest.approx(theirs.pvalue, abs=4 * np.sqrt(2 * 0.25 / 20_000))
    assert 0.02 < ours < 0.5


def test_holm_as_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_difference_has_the_sign_of_the_better_system_and_an_interval_around_it():
    rng = np.random.default_rng(0)
    pid = np.repeat(np.arange(60), 5)
    second = rng.uniform(20, 60, (3, 300))
    first = second + rng.normal(6, 8, (3, 300))
    found = compare_people(people_of_ap(first, pid), people_of_ap(second, pid))["mAP"]
    assert found.difference == pytest.approx((first - second).mean())
    assert found.low < found.difference < found.high and found.low > 0
    assert found.p < 0.001 and found.p_bootstrap < 0.001 and found.num_better > 50
    back = compare_people(people_of_ap(second, pid), people_of_ap(first, pid))["mAP"]
    assert (back.difference, back.p, back.num_worse) == (-found.difference, found.p, found.num_better)


def test_a_system_cannot_be_told_from_itself():
    values = PeopleValues.of_queries(**made_up_queries(0))
    for found in compare_people(values, values, num_resamples=200).values():
        assert (found.difference, found.low, found.high, found.p, found.p_bootstrap) == (0, 0, 0, 1, 1)


def test_equal_systems_are_told_apart_in_one_of_twenty_comparisons():
    """1,000 pairs of equal systems on 40 people: 3 to 7 % have p < 0.05, in mAP and in Rank-1."""
    rng = np.random.default_rng(0)
    below = np.zeros(3)
    for trial in range(1000):
        pid = np.repeat(np.arange(40), rng.integers(1, 9, 40))
        hard = 50 + rng.normal(0, 20, 40)[pid] + rng.normal(0, 10, len(pid))
        both = [
            people_of_ap((hard + rng.normal(0, 8, 40)[pid] + rng.normal(0, 10, (2, len(pid)))).clip(0, 100), pid)
            for _ in range(2)
        ]
        found = compare_people(*both, num_resamples=500, seed=trial)
        below += [found["mAP"].p < 0.05, found["R1"].p < 0.05, found["mAP"].p_bootstrap < 0.05]
    assert (below[:2] >= 30).all() and (below[:2] <= 70).all()
    assert 30 <= below[2] <= 80  # the plain bootstrap is a little too sure


def test_other_people_or_queries_are_refused():
    queries = made_up_queries(0)
    values = PeopleValues.of_queries(**queries)
    others = PeopleValues.of_queries(**{**queries, "pid": queries["pid"] + 1})
    with pytest.raises(ValueError, match="the same people on both sides"):
        compare_people(values, others)
    alone = people_of_ap(np.array([[40.0, 60.0]]), np.array([5, 5]))
    with pytest.raises(ValueError, match="two people or more"):
        compare_people(alone, alone)
    fewer = {**queries, "first_rank": np.where(np.arange(len(queries["pid"])) == 0, 0, queries["first_rank"])}
    with pytest.raises(ValueError, match="same queries and gallery draws"):
        compare_people(values, PeopleValues.of_queries(**fewer))


def test_bootstrap_p_counts_the_smaller_side_twice():
    assert bootstrap_p(np.array([1.0, 2.0, 3.0, -1.0])) == pytest.approx(2 * 2 / 5)
