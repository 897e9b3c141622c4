"""Kinds of errors, on rankings whose first places are written down by hand."""

from __future__ import annotations

import numpy as np
import pytest
from toy_people import toy_table

from mscmreid.evaluation import ExclusionRule, LLCMProtocol, Selection, SYSUProtocol, rank_selections
from mscmreid.evaluation.error_kinds import FirstPlaces, error_kinds, first_places


def by_name(errors):
    return {kind.name: kind for kind in errors.kinds}


def places(pairs, similarity=None, own_camera=0.0, cameras=(1, 2)):
    """First places of (query row, first row) pairs; the person of row r is r // 10, its camera 1 + r % 2."""
    query, first = np.array(pairs).T
    num = len(pairs)
    return FirstPlaces(
        query,
        first,
        np.array(similarity if similarity is not None else [0.5] * num, dtype=np.float32),
        query // 10 == first // 10,
        np.full(num, own_camera),
        np.full((num, len(cameras)), 1 / len(cameras)),
        np.array(cameras),
    )


PID, CAM = np.arange(100) // 10, 1 + np.arange(100) % 2


@pytest.mark.parametrize("protocol", [SYSUProtocol(trials=1), LLCMProtocol(trials=1)])
def test_first_places_are_those_of_the_ranking(protocol):
    table = toy_table(noise=1.5)
    selection = protocol.selections(table.columns)[0]
    matrix = table.matrix("feat_bn")
    found = first_places(matrix, table.pid, table.cam_id, selection)
    ranking = rank_selections(matrix, table.pid, table.cam_id, [selection])[0]
    assert found.query.tolist() == selection.query[ranking.query_index[ranking.has_match]].tolist()
    assert found.right.tolist() == (ranking.first_rank[ranking.has_match] == 1).tolist() and not found.right.all()
    for i, row in enumerate(found.query):  # the slow twin
        seen = [
            g
            for g in selection.gallery
            if not selection.rule.ignored(table.pid[row], table.cam_id[row], table.pid[[g]], table.cam_id[[g]])[0]
        ]
        scores = [np.float32(matrix[row].astype(float) @ matrix[g].astype(float)) for g in seen]
        assert found.first[i] == seen[int(np.argmax(scores))]
        others = [g for g in seen if table.pid[g] != table.pid[row]]
        assert found.own_camera[i] == pytest.approx(np.mean([table.cam_id[g] == table.cam_id[row] for g in others]))
        for camera, share in zip(found.cameras, found.sees[i], strict=True):
            assert share == pytest.approx(np.mean([table.cam_id[g] == camera for g in others]))


def test_the_same_other_person_needs_most_of_at_least_two_queries():
    pairs = [(10, 20), (11, 21), (12, 13)]  # 1 is taken for 2 in two of three queries
    pairs += [(30, 40), (31, 50)]  # 3 for 4, and for 5: one of two each is not most
    pairs += [(60, 70)]  # 6 has one query: nobody can say
    kind = by_name(error_kinds(places(pairs), PID, CAM))["the same other person"]
    assert (kind.num, kind.num_known, kind.chance) == (2, 4, None) and kind.share == 50


def test_own_camera_counts_where_it_may_be_seen():
    pairs = [(10, 20), (11, 20), (12, 31), (13, 14)]  # cameras 1-1, 2-1, 1-2; the last one is right
    kind = by_name(error_kinds(places(pairs, own_camera=0.25), PID, CAM))["own camera"]
    assert (kind.num, kind.num_known, kind.chance) == (1, 3, 25.0)
    assert "own camera" not in by_name(error_kinds(places(pairs, own_camera=0.0), PID, CAM))


def test_nobody_close_is_farther_than_nearly_all_right_answers():
    right = [(10 * (i % 10) + i // 10, 10 * (i % 10) + 9) for i in range(40)]
    similarity = [*np.linspace(0.40, 0.79, 40), 0.30, 0.41, 0.60]
    errors = error_kinds(places([*right, (5, 15), (6, 16), (7, 17)], similarity), PID, CAM)
    kind = by_name(errors)["nobody close"]
    assert errors.num_wrong == 3 and (kind.num, kind.num_known, kind.chance) == (2, 3, 5.0)
    assert f"{np.percentile(np.linspace(0.40, 0.79, 40), 5):.2f}" in kind.meaning
    few = error_kinds(places([*right[:19], (5, 15)]), PID, CAM)
    assert "nobody close" not in by_name(few)


def test_like_colours_are_the_nearest_of_all_others():
    colours = np.full((100, 2), np.nan)
    for person in range(9):  # person 9 has no visible image
        colours[10 * person + 8] = colours[10 * person + 9] = (person**2, 0)
    pairs = [(10, 0), (10 + 1, 20), (50, 41), (50 + 1, 61), (52, 90)]  # nearest of 1 is 0, of 5 is 4
    kind = by_name(error_kinds(places(pairs), PID, CAM, colours))["clothes of like colours"]
    assert (kind.num, kind.num_known) == (2, 4) and kind.chance == pytest.approx(100 / 8)
    assert "the 1 of 8 others" in kind.meaning
    assert "clothes of like colours" not in by_name(error_kinds(places(pairs), PID, CAM))


def test_by_chance_is_what_chance_gives():
    rng = np.random.default_rng(0)
    num_people = 60
    pid, colours = np.arange(num_people), rng.normal(size=(num_people, 6))
    query = rng.integers(num_people, size=4000)
    first = (query + rng.integers(1, num_people, size=4000)) % num_people  # anybody else
    similarity, right, own = np.zeros(4000, np.float32), np.zeros(4000, bool), np.zeros(4000)
    drawn = FirstPlaces(query, first, similarity, right, own, np.ones((4000, 1)), np.array([1]))
    kind = by_name(error_kinds(drawn, pid, np.ones(num_people, int), colours))["clothes of like colours"]
    assert kind.share == pytest.approx(kind.chance, abs=1.2) and kind.chance <= 5


def test_none_of_the_kinds_and_the_camera_that_draws():
    pairs = [(10, 20), (11, 30), (12, 41), (13, 50), (14, 15)]
    errors = error_kinds(places(pairs), PID, CAM)
    assert (errors.num_queries, errors.num_wrong, errors.num_none) == (5, 4, 4)
    assert errors.crowded == (1, 75.0, 50.0)
    all_right = error_kinds(places([(10, 11), (20, 21)]), PID, CAM)
    assert (all_right.num_wrong, all_right.kinds, all_right.crowded) == (0, [], None)


def test_queries_without_a_match_are_left_out():
    x = np.eye(4, dtype=np.float32)
    selection = Selection(np.array([0, 1]), np.array([2, 3]), ExclusionRule())
    found = first_places(x, np.array([1, 2, 1, 3]), np.array([1, 1, 2, 2]), selection)
    assert found.query.tolist() == [0] and found.first.tolist() == [2]  # a tie keeps the gallery's order
