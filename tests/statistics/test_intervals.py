"""Intervals over people: by hand, beside scipy, and how often they hold the truth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from made_up_people import made_up_queries, people_of_ap

import mscmreid.statistics
from mscmreid.statistics import MEASURES, PeopleValues, intervals
from mscmreid.statistics.intervals import ends
from mscmreid.statistics.people import over_draws
from mscmreid.statistics.resampling import Chance, mean_of, resample_people
from mscmreid.statistics.student import student_quantile, student_tail


def slow_measures(queries, counts=None):
    """Every measure by plain loops, a person counting ``counts[person]`` times."""
    by_draw = []
    for ranks, ap, inp in zip(queries["first_rank"], queries["ap"], queries["inp"], strict=True):
        rows = []
        for person, rank, a, i in zip(queries["pid"], ranks, ap, inp, strict=True):
            if rank:
                row = [100.0 * (rank <= k) for k in (1, 5, 10, 20)] + [a, i]
                rows += [row] * (1 if counts is None else int(counts[person]))
        by_draw.append(np.mean(rows, axis=0))
    return np.array(by_draw)


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_over_people_is_the_mean_over_queries(seed):
    queries = made_up_queries(seed)
    values = PeopleValues.of_queries(**queries)
    np.testing.assert_allclose(values.by_draw, slow_measures(queries), rtol=1e-12)
    np.testing.assert_allclose(values.estimate, slow_measures(queries).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(values.parts.mean(axis=1), values.by_draw, rtol=1e-12)


def test_a_resample_counts_every_query_of_a_person_as_often_as_the_person_was_drawn():
    queries = made_up_queries(3)
    values = PeopleValues.of_queries(**queries)
    samples = resample_people([values], 20, seed=5)[:, 0]
    counts = Chance(5, 0).counts(20, values.num_people)
    assert (counts.sum(axis=1) == values.num_people).all()
    for sample, drawn in zip(samples, counts, strict=True):
        by_person = dict(zip(values.people.tolist(), drawn, strict=True))
        np.testing.assert_allclose(sample, slow_measures(queries, by_person), rtol=1e-12)


def test_order_of_queries_and_parts_of_the_work_do_not_change_a_bit(monkeypatch):
    queries = made_up_queries(1, num_people=40)
    values = PeopleValues.of_queries(**queries)
    shuffle = np.random.default_rng(0).permutation(len(queries["pid"]))
    shuffled = {name: array[..., shuffle] for name, array in queries.items()}
    expected = intervals(values, num_resamples=500)
    for name, interval in intervals(PeopleValues.of_queries(**shuffled), num_resamples=500).items():
        assert interval.low == pytest.approx(expected[name].low, rel=1e-12)
    monkeypatch.setattr("mscmreid.statistics.resampling.CHUNK_BYTES", 8000)
    assert intervals(values, num_resamples=500) == expected
    reverse = values.sums[:, ::-1], values.counts[:, ::-1]  # another order of addition, exactly the same sums
    counts = Chance(0, 0).counts(300, values.num_people)
    np.testing.assert_array_equal(counts @ values.sums[0], counts[:, ::-1] @ reverse[0][0])
    np.testing.assert_array_equal(counts @ values.sums[0], np.einsum("rp,pm->rm", counts, values.sums[0]))


def test_the_same_draws_everywhere():
    assert Chance(3, 1).counts(2, 6).tolist() == [[3, 0, 0, 1, 1, 1], [1, 1, 2, 1, 0, 1]]
    assert Chance(3, 1).signs(1, 8).tolist() == [[-1, 1, 1, -1, -1, 1, -1, 1]]


def test_beside_scipy_where_every_person_has_one_query():
    bootstrap = pytest.importorskip("scipy.stats").bootstrap
    ap = np.random.default_rng(2).gamma(2.0, 20.0, 60).clip(0, 100)[None]
    values = people_of_ap(ap, np.arange(60))
    samples = mean_of(resample_people([values], 10_000, 0)[:, 0], 1)[:, MEASURES.index("mAP")]
    options = dict(n_resamples=10_000, method="percentile", confidence_level=0.95)
    theirs = bootstrap((ap[0],), np.mean, rng=np.random.default_rng(0), **options)
    error = theirs.standard_error
    assert np.std(samples, ddof=1) == pytest.approx(error, rel=0.03)
    assert np.quantile(samples, [0.025, 0.975]) == pytest.approx(list(theirs.confidence_interval), abs=0.12 * error)
    ours = intervals(values)["mAP"]  # expanded: further out, as Student's t and n / (n - 1) say
    wide = student_quantile(0.975, 59) * np.sqrt(60 / 59)
    level = 1 - 2 * NormalDist().cdf(-wide)
    theirs = bootstrap((ap[0],), np.mean, rng=np.random.default_rng(1), **{**options, "confidence_level": level})
    assert [ours.low, ours.high] == pytest.approx(list(theirs.confidence_interval), abs=0.12 * error)


@pytest.mark.parametrize("df", [1, 2, 4, 7.5, 49, 1000, 1e5])
def test_students_t_beside_scipy(df):
    t = pytest.importorskip("scipy.stats").t
    assert student_tail(0.0, df) == pytest.approx(0.5)
    for prob in (0.6, 0.95, 0.975, 0.9999):
        assert student_quantile(prob, df) == pytest.approx(t.ppf(prob, df), rel=1e-9)
        assert student_tail(t.ppf(prob, df), df) == pytest.approx(1 - prob, rel=1e-8)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """800 samples of 30 people with 1 to 12 queries each, alike within a person; the truth is 50."""
    rng = np.random.default_rng(0)
    held = cut_down = 0
    for trial in range(800):
        pid = np.repeat(np.arange(30), rng.integers(1, 13, 30))
        person = rng.normal(0, 12, 30)
        ap = (50 + person[pid] + rng.normal(0, 15, (2, len(pid)))).clip(0, 100)
        found = intervals(people_of_ap(ap, pid), num_resamples=400, seed=trial)["mAP"]
        held += found.low <= 50 <= found.high
        alone = intervals(people_of_ap(ap, np.arange(len(pid))), num_resamples=400, seed=trial)["mAP"]
        cut_down += alone.low <= 50 <= alone.high
    assert 0.93 <= held / 800 <= 0.97
    assert cut_down / 800 < 0.88  # queries taken for independent: far too sure


def test_each_draw_has_an_interval_and_other_draws_widen_that_of_the_mean():
    rng = np.random.default_rng(0)
    pid = np.repeat(np.arange(200), 4)
    ap = (50 + rng.normal(0, 8, (6, 1)) + rng.normal(0, 10, (6, 800))).clip(0, 100)
    values = people_of_ap(ap, pid)
    fixed = intervals(values, num_resamples=2000)["mAP"]
    both = intervals(values, num_resamples=2000, resample_draws=True)["mAP"]
    assert len(fixed.by_draw) == 6
    assert all(low < mean < high for (low, high), mean in zip(fixed.by_draw, ap.mean(axis=1), strict=True))
    assert both.high - both.low > 3 * (fixed.high - fixed.low)


def test_one_person_has_no_interval_and_a_level_is_a_share():
    found = intervals(people_of_ap(np.array([[40.0, 60.0]]), np.array([5, 5])), num_resamples=50)["mAP"]
    assert found.estimate == 50 and np.isnan(found.low) and np.isnan(found.high)
    with pytest.raises(ValueError, match="level of an interval"):
        ends(np.zeros((10, 1)), 5, level=95)


def test_splits_are_draws_in_which_some_people_are_missing():
    first, second = made_up_queries(1, num_draws=1), made_up_queries(2, num_draws=1)
    second["pid"] = second["pid"] + 35  # half of the people are in both
    together = over_draws([PeopleValues.of_queries(**first), PeopleValues.of_queries(**second)])
    assert together.num_people == len(np.union1d(first["pid"], second["pid"]))
    expected = np.concatenate([slow_measures(first), slow_measures(second)])
    np.testing.assert_allclose(together.by_draw, expected, rtol=1e-12)


def test_it_needs_numpy_alone():
    code = (
        "import sys\nfor name in ('torch', 'mmengine', 'scipy', 'sklearn'):\n    sys.modules[name] = None\n"
        "import mscmreid.statistics as s; print(s.RESAMPLES)"
    )
    root = Path(mscmreid.statistics.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and done.stdout.strip() == "10000", done.stderr
