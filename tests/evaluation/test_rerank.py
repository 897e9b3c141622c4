"""k-reciprocal re-ranking against the formula written down with dense matrices and sets."""

import numpy as np
import pytest
from made_up import make_table

from mscmreid.evaluation import ReRanking, Selection, SYSUProtocol, rank_distances, rerank_selection


def rerank_plainly(features, num_queries, k1, k2, lambda_value):
    """Zhong et al. 2017, sections 3.2 to 3.5, on unit features [queries; gallery]; float64 throughout."""
    x = features.astype(np.float64)
    d = ((x[:, None] - x[None]) ** 2).sum(-1)
    d = d / d.max(axis=1, keepdims=True)
    n = len(d)
    ranked = [sorted(range(n), key=lambda j: row[j]) for row in d]

    def near(i, k):
        return ranked[i][:k]

    def reciprocal(i, k):
        return {j for j in near(i, k) if i in near(j, k)}

    v = np.zeros((n, n))
    for i in range(n):
        members = reciprocal(i, k1 + 1)
        joined = set(members)
        for j in members:
            others = reciprocal(j, round(k1 / 2) + 1)
            if len(others & members) > 2 / 3 * len(others):
                joined |= others
        for j in joined:
            v[i, j] = np.exp(-d[i, j])
        v[i] /= v[i].sum()
    v = np.array([v[near(i, k2)].mean(axis=0) for i in range(n)])
    smaller = np.minimum(v[:, None], v[None]).sum(-1)
    larger = np.maximum(v[:, None], v[None]).sum(-1)
    final = (1 - lambda_value) * (1 - smaller / larger) + lambda_value * d
    return final[:num_queries, num_queries:]


@pytest.mark.parametrize(
    ("num_queries", "num_gallery", "k1", "k2", "lambda_value"),
    [(8, 20, 5, 3, 0.3), (15, 40, 20, 6, 0.3), (3, 6, 20, 6, 0.3), (10, 30, 7, 1, 0.0), (1, 1, 20, 6, 0.5)],
)
def test_equals_the_plain_formula(num_queries, num_gallery, k1, k2, lambda_value):
    rs = np.random.RandomState(num_gallery)
    features = rs.normal(size=(5, 12))[rs.randint(0, 5, num_queries + num_gallery)]
    features = features + 0.7 * rs.normal(size=features.shape)
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    mixed = rs.permutation(len(features))
    query, gallery = mixed[:num_queries], mixed[num_queries:]
    expected = rerank_plainly(features[mixed], num_queries, k1, k2, lambda_value)
    for memory_bytes in (1, 1 << 30):
        reranking = ReRanking(features, query, gallery, k1, k2, lambda_value, memory_bytes)
        np.testing.assert_allclose(reranking.distances(np.arange(num_queries)), expected, atol=1e-5)
    np.testing.assert_allclose(reranking.distances(np.array([0])), expected[:1], atol=1e-5)


def test_selection_is_ranked_by_the_distances():
    table = make_table(noise=2.0)
    chosen = SYSUProtocol(trials=1).selections(table.columns)[0]
    matrix = table.matrix("feat_bn")
    found = rerank_selection(matrix, table.pid, table.cam_id, chosen)
    distances = ReRanking(matrix, chosen.query, chosen.gallery).distances(np.arange(len(chosen.query)))
    sides = [column[rows] for column in (table.pid, table.cam_id) for rows in (chosen.query, chosen.gallery)]
    expected = rank_distances(distances, *sides, rule=chosen.rule, identity_cmc=True)
    np.testing.assert_array_equal(found.ap, expected.ap)
    np.testing.assert_array_equal(found.first_rank, expected.first_rank)


def test_wrong_options():
    for options in (dict(k1=0), dict(k2=0), dict(lambda_value=1.5)):
        with pytest.raises(ValueError, match="k1, k2 >= 1 and lambda in"):
            ReRanking(np.eye(4), np.arange(2), np.arange(2, 4), **options)


def test_not_finite_features_are_named():
    features = np.eye(4)
    features[3, 0] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        rerank_selection(features, np.array([1, 2, 1, 2]), np.ones(4), Selection(np.arange(2), np.arange(2, 4)))
