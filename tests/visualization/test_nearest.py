"""Which queries are shown and what they find, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from toy_people import toy_table

from mscmreid.evaluation import LLCMProtocol, RankingResult, RegDBProtocol, SYSUProtocol, evaluate
from mscmreid.visualization.nearest import CHOICES, choose_queries, ignored_rows, nearest_rows


def slow_nearest(matrix, table, selection, query, top):
    """Gallery rows by similarity, one comparison at a time."""
    found = []
    for place, row in enumerate(selection.gallery):
        same_id, same_cam = table.pid[row] == table.pid[query], table.cam_id[row] == table.cam_id[query]
        pair = (int(table.cam_id[query]), int(table.cam_id[row]))
        rule = selection.rule
        if pair in rule.camera_pairs or (rule.same_camera and same_cam):
            continue
        if rule.same_id_same_camera and same_id and same_cam:
            continue
        found.append(
            (-float(np.dot(matrix[query].astype(np.float64), matrix[row].astype(np.float64))), place, int(row))
        )
    return [row for _, _, row in sorted(found)][:top]


@pytest.mark.parametrize(
    "protocol", [SYSUProtocol(trials=2), SYSUProtocol("indoor", 10, trials=1), LLCMProtocol(trials=1), RegDBProtocol()]
)
def test_the_nearest_rows_are_those_of_a_loop(protocol):
    table = toy_table()
    matrix = table.matrix("feat_bn")
    for selection in protocol.selections(table.columns):
        positions = [0, 3, len(selection.query) - 1]
        for position, nearest in zip(positions, nearest_rows(matrix, table, selection, positions, top=7), strict=True):
            assert nearest.query == selection.query[position]
            assert nearest.rows.tolist() == slow_nearest(matrix, table, selection, nearest.query, 7)
            assert (nearest.is_match == (table.pid[nearest.rows] == table.pid[nearest.query])).all()
            assert (np.diff(nearest.similarity) <= 0).all()


def test_equal_similarities_keep_the_gallery_order():
    table = toy_table()
    matrix = np.ones((len(table), 4), dtype=np.float32)
    selection = SYSUProtocol(trials=1).selections(table.columns)[0]
    nearest = nearest_rows(matrix, table, selection, [0], top=5)[0]
    visible = selection.gallery[~ignored_rows(table, selection, nearest.query)]
    assert nearest.rows.tolist() == visible[:5].tolist()


def test_what_is_shown_first_agrees_with_the_measured_rank():
    table = toy_table(noise=1.5)
    evaluation = evaluate(table, [SYSUProtocol(trials=1)], ["feat_bn"])[0]
    selection, ranking = evaluation.selections[0], evaluation.rankings[0]
    found = nearest_rows(table.matrix("feat_bn"), table, selection, range(len(selection.query)), top=1)
    assert np.mean([nearest.is_match[0] for nearest in found]) * 100 == pytest.approx(ranking.rank(1))


def ranking_of(first_rank, ap):
    ap = np.where(np.asarray(first_rank) > 0, np.asarray(ap, dtype=float), np.nan)
    return RankingResult(np.arange(len(ap)), np.asarray(first_rank), ap, ap, len(ap), 10)


PIDS = np.array([1, 1, 2, 2, 3, 3, 4])
RANKING = ranking_of([1, 1, 2, 9, 3, 1, 0], [90, 100, 50, 10, 30, 60, 0])


@pytest.mark.parametrize(
    ("how", "chosen"),
    [
        ("best", [1, 5, 2]),
        ("worst", [3, 4, 0]),
        ("hardest", [3, 4, 0]),
        ("first", [0, 2, 4]),
        ("spread", [1, 5, 2]),
    ],
)
def test_queries_are_chosen_one_a_person_and_only_with_a_match(how, chosen):
    assert choose_queries(RANKING, PIDS, how, 3) == chosen
    assert len(choose_queries(RANKING, PIDS, how, 50)) == 3  # person 4 has no match


@pytest.mark.parametrize("how", CHOICES)
def test_every_person_appears_once_at_most(how):
    rng = np.random.default_rng(1)
    pids = rng.integers(0, 12, 60)
    ranking = ranking_of(rng.integers(0, 9, 60), rng.uniform(0, 100, 60))
    chosen = choose_queries(ranking, pids, how, 5)
    assert len(set(pids[chosen])) == 5 and ranking.has_match[chosen].all()


def test_an_unknown_way_to_choose_is_refused():
    with pytest.raises(ValueError, match="spread, best, worst"):
        choose_queries(RANKING, PIDS, "nicest")
    with pytest.raises(ValueError, match="at least 1 query"):
        choose_queries(RANKING, PIDS, "best", 0)
    table = toy_table()
    with pytest.raises(ValueError, match="top must be at least 1"):
        nearest_rows(table.matrix("feat_bn"), table, RegDBProtocol().selections(table.columns)[0], [0], top=0)
