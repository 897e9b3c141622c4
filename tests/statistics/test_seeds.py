"""Several trainings: parts of the spread, and how often equal systems are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_people import people_of_ap

from mscmreid.statistics import MEASURES, compare_seeds, seed_intervals, spread_of
from mscmreid.statistics.seeds import variance_components

MAP = MEASURES.index("mAP")


def made_up_runs(rng, num_seeds, of_seed=2.0, of_person=15.0, of_draw=0.5, shift=0.0, people=None, num_people=40):
    """Trainings whose AP is 50 + seed + person + draw + noise; one query a person."""
    people = rng.normal(0, of_person, num_people) if people is None else people
    draws = rng.normal(0, of_draw, (3, 1))
    return [
        people_of_ap(
            50 + shift + rng.normal(0, of_seed) + people + draws + rng.normal(0, 4, (3, len(people))),
            np.arange(len(people)),
        )
        for _ in range(num_seeds)
    ]


def slow_two_way(values):
    """Seeds and people of a table (S, P) by the formulas of a textbook."""
    s, p = values.shape
    rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    ms_s = p * ((rows - mean) ** 2).sum() / (s - 1)
    ms_p = s * ((columns - mean) ** 2).sum() / (p - 1)
    rest = ((values - rows[:, None] - columns[None] + mean) ** 2).sum() / ((s - 1) * (p - 1))
    return dict(s=(ms_s - rest) / p, p=(ms_p - rest) / s, sp=rest)


def test_components_of_two_factors_as_in_a_textbook():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 3, (6, 1)) + rng.normal(0, 2, (1, 30)) + rng.normal(0, 1, (6, 30))
    found, expected = variance_components(values[:, None]), slow_two_way(values)
    assert {name: found[name] for name in ("s", "p", "sp")} == pytest.approx(expected)
    assert found["t"] == found["st"] == found["tp"] == found["stp"] == 0


def test_components_of_three_factors_come_back():
    rng = np.random.default_rng(1)
    total = dict.fromkeys(("s", "t", "p", "st", "sp", "tp", "stp"), 0.0)
    for _ in range(60):
        values = rng.normal(0, 3, (8, 1, 1)) + rng.normal(0, 2, (1, 6, 1)) + rng.normal(0, 4, (1, 1, 20))
        values = values + rng.normal(0, 1.5, (8, 1, 20)) + rng.normal(0, 1, (8, 6, 20))
        for name, value in variance_components(values).items():
            total[name] += value / 60
    assert total["s"] == pytest.approx(9, rel=0.25) and total["p"] == pytest.approx(16, rel=0.15)
    assert total["t"] == pytest.approx(4, rel=0.3) and total["sp"] == pytest.approx(2.25, rel=0.1)
    assert total["stp"] == pytest.approx(1, rel=0.05) and total["st"] < 0.1 and total["tp"] < 0.1


def test_the_spread_says_whose_it_is():
    rng = np.random.default_rng(0)
    by_seeds = spread_of(made_up_runs(rng, 8, of_seed=6.0, of_person=3.0))["mAP"]
    assert by_seeds.shares["seeds"] > 80 and by_seeds.seeds == pytest.approx(6, rel=0.6)
    by_people = spread_of(made_up_runs(rng, 8, of_seed=0.1, of_person=25.0))["mAP"]
    assert by_people.shares["people"] > 90 and by_people.people == pytest.approx(25 / 40**0.5, rel=0.4)
    assert sum(by_people.shares.values()) == pytest.approx(100)


def test_equal_systems_of_five_trainings_are_told_apart_in_one_of_twenty_comparisons():
    """400 pairs, seeds and people matter about as much: 3 to 7 % have p < 0.05."""
    rng = np.random.default_rng(0)
    below = held = 0
    for trial in range(400):
        people = rng.normal(0, 6, 40)
        first, second = (
            made_up_runs(rng, 5, of_seed=1.5, of_draw=0.0, people=people + rng.normal(0, 6, 40)) for _ in range(2)
        )
        found = compare_seeds(first, second, num_resamples=300, seed=trial)["mAP"]
        below += found.p < 0.05
        held += found.low <= 0 <= found.high
    assert 12 <= below <= 28
    assert held == 400 - below


def test_an_interval_over_seeds_and_people_holds_the_truth():
    rng = np.random.default_rng(3)
    held = 0
    for trial in range(400):
        runs = made_up_runs(rng, 4, of_seed=2.0, of_person=12.0, of_draw=0.0)
        found = seed_intervals(runs, num_resamples=300, seed=trial)["mAP"]
        held += found.low <= 50 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_a_real_difference_of_five_trainings_is_found():
    rng = np.random.default_rng(5)
    people = rng.normal(0, 15, 40)
    first, second = (made_up_runs(rng, 5, people=people, shift=shift) for shift in (8.0, 0.0))
    found = compare_seeds(first, second)["mAP"]
    assert found.low > 0 and found.p < 0.01 and found.over == "seeds and people" and found.p_bootstrap is None
    means = [np.mean([run.estimate[MAP] for run in runs]) for runs in (first, second)]
    assert found.difference == pytest.approx(means[0] - means[1])


def test_one_training_has_no_spread():
    runs = made_up_runs(np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match="two trainings or more, found 1"):
        spread_of(runs)
    with pytest.raises(ValueError, match="two trainings or more"):
        compare_seeds(runs, runs)
