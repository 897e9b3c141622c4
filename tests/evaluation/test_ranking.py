"""The ranking core against an obvious twin, the published numbers, and its promises about ties, memory and errors."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipes import ranking_case
from slow_ranking import rank_slowly

from mscmreid.evaluation import (
    ExclusionRule,
    Selection,
    match_ranks,
    rank_distances,
    rank_features,
    rank_selections,
    ranking,
)

DATA = Path(__file__).parents[1] / "data"
SYSU = ExclusionRule(camera_pairs=((3, 2),))
LLCM = ExclusionRule(same_id_same_camera=True)
RULES = [ExclusionRule(), SYSU, LLCM, ExclusionRule(same_camera=True), ExclusionRule(((1, 2), (3, 2)), False, True)]


@st.composite
def ranking_problems(draw):
    num_queries, num_gallery = draw(st.integers(1, 9)), draw(st.integers(1, 14))
    num_ids, num_cams, levels = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.sampled_from([1, 3, 1000]))
    rs = np.random.RandomState(draw(st.integers(0, 2**31 - 1)))
    gallery_pids = rs.randint(0, num_ids, num_gallery)
    if draw(st.booleans()):
        gallery_pids = np.sort(gallery_pids)
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64]))
    distance = rs.randint(0, levels, (num_queries, num_gallery)).astype(dtype)  # few levels: many ties
    cams = rs.randint(1, num_cams + 1, num_queries), rs.randint(1, num_cams + 1, num_gallery)
    return distance, rs.randint(0, num_ids, num_queries), gallery_pids, *cams


@pytest.mark.parametrize(("sort_from", "few_rows"), [(0, 0), (256, 0), (256, 8)])
@settings(max_examples=300, deadline=None)
@given(problem=ranking_problems(), rule=st.sampled_from(RULES), identity=st.booleans(), chunk=st.integers(1, 9))
def test_equals_the_slow_twin(sort_from, few_rows, problem, rule, identity, chunk):
    distance, q_pids, g_pids, q_cams, g_cams = problem
    expected = rank_slowly(distance, q_pids, g_pids, q_cams, g_cams, rule, identity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(match_ranks, "SORT_FROM", sort_from)
        patch.setattr(match_ranks, "FEW_ROWS", few_rows)
        patch.setattr(match_ranks, "TURNED_ROWS", 4)
        patch.setattr(ranking, "WORK_BYTES", 0)
        arguments = dict(rule=rule, identity_cmc=identity, memory_bytes=chunk * 2000)  # one to all queries at a time
        if not any(expected):
            with pytest.raises(ValueError, match="none of the"):
                rank_distances(distance, q_pids, g_pids, q_cams, g_cams, **arguments)
            return
        result = rank_distances(distance, q_pids, g_pids, q_cams, g_cams, **arguments)
    assert result.first_rank.tolist() == [value[0] if value else 0 for value in expected]
    used = [value for value in expected if value]
    np.testing.assert_allclose(result.ap[result.has_match], [100 * v[1] for v in used], rtol=1e-12)
    np.testing.assert_allclose(result.inp[result.has_match], [100 * v[2] for v in used], rtol=1e-12)
    assert np.isnan(result.ap[~result.has_match]).all()
    assert (result.num_queries, result.num_left_out) == (len(used), len(expected) - len(used))
    assert result.mAP == pytest.approx(np.mean([100 * v[1] for v in used]))
    for k in (1, 3, 20):
        assert result.rank(k) == pytest.approx(100 * np.mean([v[0] <= k for v in used]))


def golden_cases():
    cases = json.loads((DATA / "metrics.json").read_text())
    return [(case, kind) for case, content in cases.items() for kind in content["results"]]


@pytest.mark.parametrize("source", ["distances", "features"])
@pytest.mark.parametrize(("case", "kind"), golden_cases())
def test_published_evaluation_code_gives_these_numbers(case, kind, source):
    content = json.loads((DATA / "metrics.json").read_text())[case]
    expected = content["results"][kind]
    query, gallery, q_pids, g_pids, q_cams, g_cams = ranking_case(*content["args"])
    if kind == "eval_llcm_same_cams":
        q_cams = np.array([1, 2, 4])[np.random.RandomState(9).randint(0, 3, len(q_pids))]
        g_cams = np.array([1, 2, 3, 4])[np.random.RandomState(10).randint(0, 4, len(g_pids))]
    rule = {"eval_sysu": SYSU, "eval_regdb": ExclusionRule()}.get(kind, LLCM)
    options = dict(rule=rule, identity_cmc=kind != "eval_regdb")
    if source == "distances":
        result = rank_distances(-(query @ gallery.T), q_pids, g_pids, q_cams, g_cams, **options)
    else:
        result = rank_features(query, gallery, q_pids, g_pids, q_cams, g_cams, **options)
    found = [*(result.rank(k) for k in (1, 5, 10, 20)), result.mAP, result.mINP]
    np.testing.assert_allclose(found, 100 * np.array([*expected["cmc"], expected["mAP"], expected["mINP"]]), atol=1e-4)


def random_features(seed, num_queries=70, num_gallery=900, num_ids=40, dim=24):
    rs = np.random.RandomState(seed)
    prototypes = rs.normal(size=(num_ids, dim))
    q_pids, g_pids = rs.randint(0, num_ids, num_queries), rs.randint(0, num_ids, num_gallery)
    query = prototypes[q_pids] + rs.normal(size=(num_queries, dim))
    gallery = prototypes[g_pids] + rs.normal(size=(num_gallery, dim))
    cams = rs.randint(1, 4, num_queries), rs.randint(1, 4, num_gallery)
    return query.astype(np.float32), gallery.astype(np.float32), q_pids, g_pids, *cams


def same(first, second):
    for name in ("query_index", "first_rank", "ap", "inp"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("identity", [False, True])
def test_query_order_and_untied_gallery_order_do_not_matter(identity):
    query, gallery, q_pids, g_pids, q_cams, g_cams = random_features(1)
    options = dict(rule=LLCM, identity_cmc=identity)
    plain = rank_features(query, gallery, q_pids, g_pids, q_cams, g_cams, **options)
    q, g = np.random.RandomState(2).permutation(len(query)), np.random.RandomState(3).permutation(len(gallery))
    mixed = rank_features(query[q], gallery[g], q_pids[q], g_pids[g], q_cams[q], g_cams[g], **options)
    np.testing.assert_array_equal(plain.first_rank[q], mixed.first_rank)
    np.testing.assert_array_equal(plain.ap[q], mixed.ap)


def test_perfect_ranking_is_100_and_the_curve_never_falls():
    rs = np.random.RandomState(0)
    q_pids, g_pids = rs.randint(0, 8, 50), np.r_[np.arange(8), rs.randint(0, 8, 30)]
    result = rank_distances((q_pids[:, None] != g_pids).astype(float), q_pids, g_pids)
    assert (result.rank(1), result.mAP, result.mINP) == (100, 100, 100)
    noisy = rank_distances(rs.rand(50, 38), q_pids, g_pids, identity_cmc=True)
    assert (np.diff(noisy.cmc) >= 0).all() and len(noisy.cmc) == 20
    assert noisy.rank(8) == noisy.rank(20) == 100  # eight ids: the curve stays where it is


@pytest.mark.parametrize("identity", [False, True])
def test_equal_gallery_rows_tie_exactly_wherever_they_stand(identity):
    query, gallery, q_pids, g_pids, q_cams, g_cams = random_features(4, num_gallery=1100, dim=130)
    twins = np.r_[gallery, gallery[::-1]]  # every row again, far away and in another tile
    pids, cams = np.r_[g_pids, g_pids[::-1] + 1], np.r_[g_cams, g_cams[::-1]]
    result = rank_features(query, twins, q_pids, pids, q_cams, cams, identity_cmc=identity)
    exact = -(query @ gallery.T).astype(np.float64)
    expected = rank_slowly(np.c_[exact, exact[:, ::-1]], q_pids, pids, q_cams, cams, ExclusionRule(), identity)
    assert result.first_rank.tolist() == [value[0] for value in expected]
    np.testing.assert_allclose(result.ap, [100 * value[1] for value in expected], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_bound_changes_nothing(dtype, tmp_path):
    query, gallery, q_pids, g_pids, q_cams, g_cams = random_features(5, num_queries=300)
    np.save(tmp_path / "gallery.npy", gallery.astype(dtype))
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    options = dict(rule=SYSU, identity_cmc=True)
    small = rank_features(query, mapped, q_pids, g_pids, q_cams, g_cams, memory_bytes=2_500_000, **options)
    same(small, rank_features(query, mapped, q_pids, g_pids, q_cams, g_cams, **options))


@pytest.mark.parametrize("grouped", [True, False])
def test_memory_stays_under_the_bound(grouped):
    num_ids = 2_000 if grouped else 10_000  # ids of many and of few gallery rows take different ways
    query, gallery, q_pids, g_pids, q_cams, g_cams = random_features(6, 500, 20_000, num_ids, dim=16)
    if grouped:
        g_pids = np.sort(g_pids)
    bound = 20 << 20
    tracemalloc.start()
    rank_features(query, gallery, q_pids, g_pids, q_cams, g_cams, rule=SYSU, identity_cmc=True, memory_bytes=bound)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < bound


@pytest.mark.parametrize("num_ids", [12, 400])  # many and few gallery rows of an id
def test_shared_products_give_what_single_rankings_give(num_ids):
    query, gallery, q_pids, g_pids, q_cams, g_cams = random_features(8, num_ids=num_ids)
    features, pids, cams = np.r_[query, gallery], np.r_[q_pids, g_pids], np.r_[q_cams, g_cams]
    rs = np.random.RandomState(9)
    selections = [
        Selection(rs.permutation(70)[: 70 - 7 * t], 70 + rs.permutation(900)[:200], RULES[t % 5], t % 2 == 0, t)
        for t in range(6)
    ]
    selections.append(Selection(np.arange(70, 300), np.arange(300, 970)))
    for chosen, result in zip(selections, rank_selections(features, pids, cams, selections), strict=True):
        q, g = chosen.query, chosen.gallery
        single = rank_features(
            features[q], features[g], pids[q], pids[g], cams[q], cams[g], rule=chosen.rule,
            identity_cmc=chosen.identity_cmc,
        )  # fmt: skip
        same(result, single)


def test_count_true_counts_long_rows():
    mask = np.random.RandomState(0).rand(3, 5000) < 0.9
    mask[1] = True
    assert match_ranks.count_true(mask).tolist() == mask.sum(axis=1).tolist()
    assert match_ranks.count_down(np.ascontiguousarray(mask.T)).tolist() == mask.sum(axis=1).tolist()


class TestErrors:
    def test_not_finite_feature_names_its_image(self):
        query, gallery, q_pids, g_pids, *_ = random_features(10)
        paths = [f"cam3/{i:04d}.jpg" for i in range(len(gallery))]
        for bad in (np.nan, np.inf, -np.inf):
            broken = gallery.copy()
            broken[17, 3] = bad
            with pytest.raises(ValueError, match=r"gallery features must be finite.*row 17 \(cam3/0017.jpg\)"):
                rank_features(query, broken, q_pids, g_pids, gallery_paths=paths)

    def test_not_finite_distance_names_its_query(self):
        distance = np.zeros((2, 3))
        distance[1, 2] = np.nan
        with pytest.raises(ValueError, match=r"query 1 \(b.jpg\)"):
            rank_distances(distance, [1, 2], [1, 2, 2], query_paths=["a.jpg", "b.jpg"])

    @pytest.mark.parametrize(("queries", "rows", "name"), [(0, 3, "query"), (3, 0, "gallery")])
    def test_empty_set(self, queries, rows, name):
        with pytest.raises(ValueError, match=f"the {name} set is empty"):
            rank_distances(np.zeros((queries, rows)), np.zeros(queries), np.zeros(rows))

    def test_no_match_at_all(self):
        with pytest.raises(ValueError, match="none of the 2 queries has a match in the gallery of 3 rows"):
            rank_distances(np.zeros((2, 3)), [1, 2], [3, 4, 5])

    def test_shapes_and_cameras(self):
        with pytest.raises(ValueError, match=r"\(queries, gallery\) = \(2, 3\), found \(3, 2\)"):
            rank_distances(np.zeros((3, 2)), [1, 2], [3, 4, 5])
        with pytest.raises(ValueError, match="needs query_cams"):
            rank_distances(np.zeros((2, 3)), [1, 2], [1, 2, 3], rule=SYSU)
        with pytest.raises(ValueError, match=r"gallery_cams must have shape \(3,\)"):
            rank_distances(np.zeros((2, 3)), [1, 2], [1, 2, 3], [1, 1], [1, 1], rule=SYSU)
        with pytest.raises(ValueError, match="one width, found 4"):
            rank_features(np.zeros((2, 4)), np.zeros((3, 5)), [1, 2], [1, 2, 3])

    def test_memory_bound_too_small(self):
        with pytest.raises(ValueError, match="memory bound is too small"):
            rank_distances(np.zeros((2, 3)), [1, 2], [1, 2, 3], memory_bytes=1000)

    def test_repeated_query(self):
        with pytest.raises(ValueError, match="each query row once"):
            rank_selections(np.eye(3), np.ones(3), None, [Selection(np.array([0, 0]), np.array([1]))])
