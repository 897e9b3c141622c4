"""Per-query values beside results files, and intervals in results."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from made_up import make_table

from mscmreid.evaluation import (
    FeatureTable,
    RegDBProtocol,
    SYSUProtocol,
    evaluate,
    load_per_query,
    load_results,
    save_results,
    terminal_table,
)
from mscmreid.statistics import MEASURES, intervals


@pytest.fixture(scope="module")
def table():
    return make_table(noise=1.5)


@pytest.fixture(scope="module")
def evaluations(table):
    protocols = [SYSUProtocol(trials=3), SYSUProtocol("indoor", trials=2), RegDBProtocol()]
    return evaluate(table, protocols, ["feat_bn", "feat_pool"], with_intervals=True)


def saved(evaluations, table, path):
    results = [evaluation.result for evaluation in evaluations]
    save_results(results, path, [evaluation.per_query(table) for evaluation in evaluations])
    return path


def test_they_hold_every_query_of_every_draw(evaluations, table):
    for evaluation in evaluations:
        values = evaluation.per_query(table)
        for draw, (ranking, selection) in enumerate(zip(evaluation.rankings, evaluation.selections, strict=True)):
            for place, row in enumerate(selection.query):
                at = values.path.index(table.path[row])
                assert values.pid[at] == table.pid[row]
                assert values.first_rank[draw, at] == ranking.first_rank[place]
                np.testing.assert_equal(values.ap[draw, at], ranking.ap[place])
                np.testing.assert_equal(values.inp[draw, at], ranking.inp[place])
        for measure, value in zip(MEASURES, values.people.estimate, strict=True):
            assert value == pytest.approx(evaluation.result.mean[measure], rel=1e-12)


def test_the_order_of_a_tables_rows_does_not_matter(evaluations, table):
    order = np.random.default_rng(0).permutation(len(table))
    columns = ([table.path[row] for row in order], table.pid[order], table.cam_id[order], table.modality[order])
    shuffled = FeatureTable(*columns, {name: values[order] for name, values in table.features.items()}, table.meta)
    other = evaluate(shuffled, [SYSUProtocol(trials=3)], ["feat_bn"])[0].per_query(shuffled)
    first = evaluations[0].per_query(table)
    assert first.difference_to(other) is None
    np.testing.assert_array_equal(first.ap, other.ap)


def test_what_is_read_back_is_what_was_written(evaluations, table, tmp_path):
    path = saved(evaluations, table, tmp_path / "deep" / "r.json")
    assert sorted(p.name for p in path.parent.iterdir()) == ["r.json", "r.queries.npz"]
    assert load_results(path) == [evaluation.result for evaluation in evaluations]
    for values, evaluation in zip(load_per_query(path), evaluations, strict=True):
        expected = evaluation.per_query(table)
        assert values.difference_to(expected) is None
        np.testing.assert_array_equal(values.ap, expected.ap)
        assert intervals(values.people, num_resamples=50) == intervals(expected.people, num_resamples=50)


def test_results_carry_the_interval_of_the_function(evaluations, table):
    for evaluation in evaluations:
        interval = evaluation.result.interval
        assert (interval["level"], interval["over"], interval["num_people"]) == (
            0.95,
            "people",
            len(np.unique(table.pid)),
        )
        expected = intervals(evaluation.per_query(table).people)
        for name, (low, high) in interval["bounds"].items():
            assert (low, high) == (expected[name].low, expected[name].high)
            assert low <= evaluation.result.mean[name] <= high
    without = evaluate(table, [SYSUProtocol(trials=1)])[0].result
    assert without.interval is None


def test_the_table_says_the_interval_and_over_whom(evaluations):
    result = evaluations[0].result
    lines = terminal_table([result]).splitlines()
    low, high = result.interval["bounds"]["mAP"]
    assert f"[{low:.1f}, {high:.1f}]" in lines[-2]
    assert lines[-1] == f"[ ]: 95 % interval over {result.interval['num_people']} people"
    assert "interval" not in terminal_table([replace(result, interval=None)])


def test_a_results_file_without_them_is_read_and_says_so_where_they_are_needed(evaluations, tmp_path):
    results = [evaluation.result for evaluation in evaluations]
    save_results(results, tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    for entry in content["results"]:
        del entry["interval"]  # as files of before were
    (tmp_path / "r.json").write_text(json.dumps(content))
    assert load_results(tmp_path / "r.json") == [replace(result, interval=None) for result in results]
    with pytest.raises(ValueError, match="no per-query values"):
        load_per_query(tmp_path / "r.json")


def test_values_of_another_test_or_none_are_refused(evaluations, table, tmp_path):
    first = saved(evaluations, table, tmp_path / "a.json")
    second = saved(evaluations[:2], table, tmp_path / "b.json")
    first.with_suffix(".queries.npz").write_bytes(second.with_suffix(".queries.npz").read_bytes())
    with pytest.raises(ValueError, match=r"a\.queries\.npz does not belong to .*a\.json"):
        load_per_query(first)
    second.with_suffix(".queries.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.queries\.npz, which is not there"):
        load_per_query(second)


def test_differences_of_queries_and_galleries_are_named(evaluations, table):
    values = evaluations[0].per_query(table)
    assert values.difference_to(values) is None
    assert "queries differ" in values.difference_to(replace(values, path=["elsewhere.jpg", *values.path[1:]]))
    pid = values.pid.copy()
    pid[0] += 1
    assert f"{values.path[0]} is person {values.pid[0]} in one" in values.difference_to(replace(values, pid=pid))
    galleries = [*values.galleries[:2], "0" * 16]
    assert "first in draw 2" in values.difference_to(replace(values, galleries=galleries))
    assert "first in draw 2" in values.difference_to(replace(values, galleries=values.galleries[:2]))
    none = replace(values, first_rank=np.zeros_like(values.first_rank))
    assert "do not have matches in both" in values.difference_to(none)


def test_a_perfect_system_is_read_back(table, tmp_path):
    perfect = make_table(noise=0.0)
    evaluation = evaluate(perfect, [RegDBProtocol()], ["feat_bn"], with_intervals=True)[0]
    path = saved([evaluation], perfect, tmp_path / "r.json")
    values = load_per_query(path)[0]
    assert (values.ap == 100).all() and evaluation.result.interval["bounds"]["mAP"] == [100, 100]


@pytest.mark.parametrize("bounds", [None, {"mAP": [1.0, 2.0]}, {name: [1.0] for name in MEASURES}])
def test_an_interval_of_another_form_is_refused(evaluations, tmp_path, bounds):
    save_results([evaluations[0].result], tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    content["results"][0]["interval"]["bounds"] = bounds
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="interval must have bounds"):
        load_results(tmp_path / "r.json")
