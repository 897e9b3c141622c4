"""Distances of pairs, against a loop over all of them."""

from __future__ import annotations

import numpy as np
import pytest
from toy_people import toy_table

from mscmreid.evaluation import LLCMProtocol, SYSUProtocol
from mscmreid.visualization.nearest import ignored_rows
from mscmreid.visualization.pairs import pair_distances


def slow_pairs(matrix, table, selection):
    """(same-person distances, other distances), one pair at a time."""
    kinds = ([], [])
    for query in selection.query:
        visible = selection.gallery[~ignored_rows(table, selection, query)]
        for row in visible:
            cosine = matrix[query] @ matrix[row] / np.linalg.norm(matrix[query]) / np.linalg.norm(matrix[row])
            kinds[int(table.pid[query] != table.pid[row])].append(1 - cosine)
    return np.array(kinds[0]), np.array(kinds[1])


@pytest.mark.parametrize("protocol", [SYSUProtocol(trials=1), LLCMProtocol(trials=1)])
@pytest.mark.parametrize("feature", ["feat_bn", "sum"])
def test_histograms_hold_every_pair_that_the_rule_allows(protocol, feature):
    table = toy_table(noise=1.5)
    matrix = table.matrix(feature)
    selection = protocol.selections(table.columns)[0]
    same, different = slow_pairs(matrix, table, selection)
    pairs = pair_distances(matrix, table, selection)
    assert pairs.same.sum() == len(same) and pairs.different.sum() == len(different)
    width = pairs.edges[1]
    assert pairs.mean(True) == pytest.approx(same.mean(), abs=width)
    assert pairs.mean(False) == pytest.approx(different.mean(), abs=width)
    nearer = (same[:, None] < different).mean() * 100
    assert pairs.area == pytest.approx(nearer, abs=0.5)
    limit = np.quantile(different, 0.05)
    assert pairs.found_at(0.05) == pytest.approx((same < limit).mean() * 100, abs=4)


def test_wider_bins_keep_the_shares():
    table = toy_table()
    pairs = pair_distances(table.matrix("feat_bn"), table, SYSUProtocol(trials=1).selections(table.columns)[0])
    for num_bins in (1, 7, 40, 5000):
        edges, same, different = pairs.coarse(num_bins)
        assert same.sum() == pytest.approx(1) and different.sum() == pytest.approx(1)
        assert len(edges) == len(same) + 1 and (np.diff(edges) > 0).all()


def test_of_many_queries_some_are_taken_and_counted():
    table = toy_table()
    selection = SYSUProtocol(trials=1).selections(table.columns)[0]
    pairs = pair_distances(table.matrix("feat_bn"), table, selection, max_queries=5)
    assert (pairs.num_queries, pairs.total_queries) == (5, len(selection.query))


def test_one_kind_of_pairs_alone_has_no_distances():
    table = toy_table(num_ids=1)
    selection = SYSUProtocol(trials=1).selections(table.columns)[0]
    assert pair_distances(table.matrix("feat_bn"), table, selection) is None
