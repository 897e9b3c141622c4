"""Engines: the exact ones give the list of a plain sort, the same in all; the others find most of it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from toy_galleries import MadeUpEncoder, snapshot_of

from mscmreid.evaluation.similarity import similarities
from mscmreid.retrieval.engines import ENGINES, ExactEngine, exact, make_engine
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.gallery import Gallery
from mscmreid.retrieval.recall import recall, recall_on_sample

SERVER = os.environ.get("MSCMREID_MILVUS")
"""Address of a Milvus server to test with, such as http://127.0.0.1:19530."""
FILTERS = [
    {},
    dict(camera=["a", "c"]),
    dict(exclude_camera=["a"], modality="infrared"),
    dict(since=40, until=300),
    dict(until=100, exclude_row=[3, 8]),
    dict(camera=["nowhere"]),
]


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def rows_with_ties(num, dim=24, seed=0):
    """Unit rows of which many are equal or nearly so; paths in another order."""
    rng = np.random.default_rng(seed)
    rows = unit(rng.normal(size=(num, dim)))
    rows[1::3] = rows[::3][: len(rows[1::3])]
    near = rows[2::5]
    near[:, 0] = np.nextafter(near[:, 0], np.float32(1))
    return rows


def made_up(num=500, dtype=np.float32, **more):
    rng = np.random.default_rng(1)
    paths = [f"/g/{i:05d}.jpg" for i in rng.permutation(num)]
    cameras = [["a", "b", "c", None][i % 4] for i in range(num)]
    times = [float("nan") if i % 7 == 0 else float(i) for i in range(num)]
    removed = range(5, num, 11)
    return snapshot_of(rows_with_ties(num).astype(dtype), 4, paths, cameras, times, removed, **more)


def plain_lists(snapshot, queries, top, where):
    """The slow twin: all exact similarities, sorted by score and path."""
    columns = snapshot.columns
    features = snapshot.features(np.arange(len(snapshot)))
    lists = []
    for query in queries:
        scores = similarities(query[None], np.zeros(1, int), features)[0]
        rows = [
            (-float(scores[i]), columns.path[i], i)
            for i in range(len(snapshot))
            if snapshot.alive[i] and where.mask(columns)[i]
        ]
        lists.append([(i, -score) for score, _, i in sorted(rows)[:top]])
    return lists


def as_lists(positions, scores):
    return [
        [(int(p), float(s)) for p, s in zip(row, values, strict=True) if p >= 0]
        for row, values in zip(positions, scores, strict=True)
    ]


@pytest.mark.parametrize("where", FILTERS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_exact_lists_are_those_of_a_plain_sort(where, dtype, monkeypatch):
    monkeypatch.setattr(exact, "BLOCK", 37)
    monkeypatch.setattr(exact, "QUERIES", 5)
    snapshot, condition = made_up(dtype=dtype), Filter.of(where)
    queries = np.concatenate([rows_with_ties(7, seed=5), np.asarray(snapshot.features(np.arange(4)), np.float32)])
    for top in (1, 10, 600):
        found = as_lists(*ExactEngine().find(snapshot, queries, top, condition))
        assert found == plain_lists(snapshot, queries, top, condition)


def test_thousands_of_equal_rows_are_ordered_by_path_in_bounded_memory():
    rows = np.tile(unit(np.ones((1, 8))), (6000, 1))
    paths = [f"/g/{i:05d}.jpg" for i in np.random.default_rng(0).permutation(6000)]
    snapshot = snapshot_of(rows, 3, paths)
    candidates = exact._Candidates(snapshot, rows[0], 5, 1e-6)
    for start, segment, part in snapshot.blocks(500):
        candidates.see(start + np.arange(part.stop - part.start), segment.read(part) @ rows[0])
        assert len(candidates.positions) <= 4 * 5 + 1024
    positions, _ = candidates.result()
    assert [snapshot.columns.path[int(p)] for p in positions] == [f"/g/{i:05d}.jpg" for i in range(5)]
    assert np.array_equal(positions, ExactEngine().find(snapshot, rows[:1], 5, Filter())[0][0])


@pytest.fixture
def gallery(tmp_path):
    """600 files of 150 people, a tenth of which come later, after another tenth was removed."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(600):
        (folder / f"{i:04d}.png").write_bytes(b"%d, %d" % (i // 4, i // 2))  # every image twice: ties
    gallery = Gallery.create(tmp_path / "gallery", MadeUpEncoder(dim=32))
    paths = sorted(folder.iterdir())

    def add(some, modality):
        options = dict(
            camera=[["a", "b", "c", 'd" or row > 0 or "'][int(p.stem) % 4] for p in some],
            time=[float(p.stem) if int(p.stem) % 7 else None for p in some],
        )
        gallery.add(some, modality, **options)

    add(paths[:270], "visible")
    add(paths[270:540], "infrared")
    return gallery, lambda: add(paths[540:], "visible")


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("faiss:flat", None),
        pytest.param("milvus:flat", None, marks=pytest.mark.slow),
        pytest.param("milvus:flat", SERVER, marks=pytest.mark.skipif(not SERVER, reason="MSCMREID_MILVUS names none")),
    ],
)
def test_other_exact_engines_give_the_same_lists_with_every_filter(name, server, gallery):
    pytest.importorskip("faiss" if name == "faiss:flat" else "pymilvus" if server else "milvus_lite")
    gallery, add_more = gallery
    engine = make_engine(name, gallery.path, uri=server)
    queries = np.concatenate([unit(np.random.default_rng(0).normal(size=(3, 32))), gallery.features([0, 77])])
    filters = [*FILTERS, dict(camera=['d" or row > 0 or "']), dict(modality="infrared", camera=["b"])]

    def compare():
        for where in filters:
            for top in (1, 10) if where else (1, 10, 300):
                wanted = gallery.search(features=queries, top=top, where=where)
                assert gallery.search(features=queries, top=top, where=where, engine=engine) == wanted

    compare()
    gallery.remove(rows=range(3, 60, 3))
    add_more()
    compare()
    again = make_engine(name, gallery.path, uri=server)  # as it was kept
    assert (
        again.find(gallery.snapshot, queries, 5, Filter())[0].tolist()
        == engine.find(gallery.snapshot, queries, 5, Filter())[0].tolist()
    )
    if hasattr(again, "close"):
        again.close()
        engine.close()


def people(num, seed):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(0).normal(size=(num // 20, 16))
    return unit(centers[rng.integers(0, len(centers), num)] + 0.3 * rng.normal(size=(num, 16)))


def test_approximate_indexes_find_most_and_order_it_like_the_exact_one(tmp_path):
    faiss = pytest.importorskip("mscmreid.retrieval.engines.faiss")
    pytest.importorskip("faiss")
    snapshot = snapshot_of(people(10_500, 1), 3, removed=range(0, 10_500, 50))
    queries = people(12_000, 2)[:20]
    wanted = ExactEngine().find(snapshot, queries, 10, Filter())
    for kind, least in (("ivfpq", 0.8), ("hnsw", 0.9)):
        engine = faiss.FaissEngine(tmp_path, kind, few=0)
        positions, scores = engine.find(snapshot, queries, 10, Filter())
        share = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(positions, wanted[0], strict=True)])
        assert share >= least, f"{kind}: {share}"
        assert snapshot.alive[positions].all() and (np.diff(scores, axis=1) <= 0).all()
        exact_scores = np.stack(
            [
                similarities(q[None], np.zeros(1, int), snapshot.features(p))[0]
                for q, p in zip(queries, positions, strict=True)
            ]
        )
        assert np.array_equal(exact_scores, scores)
        odd = Filter(modality="infrared")
        assert (engine.find(snapshot, queries, 10, odd)[0] % 2 == 1).all()
        few = faiss.FaissEngine(tmp_path, kind)
        assert np.array_equal(
            few.find(snapshot, queries, 10, odd)[0], ExactEngine().find(snapshot, queries, 10, odd)[0]
        )


def test_a_damaged_index_is_made_again(tmp_path):
    faiss = pytest.importorskip("mscmreid.retrieval.engines.faiss")
    pytest.importorskip("faiss")
    snapshot = snapshot_of(people(400, 1), 2)
    wanted = faiss.FaissEngine(tmp_path, "hnsw", few=0).find(snapshot, snapshot.features(np.arange(5)), 3, Filter())
    (index,) = tmp_path.glob("*.index")
    index.write_bytes(index.read_bytes()[:-10] + b"0123456789")
    found = faiss.FaissEngine(tmp_path, "hnsw", few=0).find(snapshot, snapshot.features(np.arange(5)), 3, Filter())
    assert np.array_equal(found[0], wanted[0])
    assert len(list(tmp_path.glob("*.index"))) == 1


def test_recall_is_the_share_of_the_exact_list(gallery):
    gallery, _ = gallery

    class Half:
        name, is_exact = "half", False

        def find(self, snapshot, queries, top, where):
            positions, scores = ExactEngine().find(snapshot, queries, top, where)
            return np.where(np.arange(top) % 2, positions, -1), scores

    features = gallery.features([0, 1, 2])
    assert recall(gallery, ExactEngine(), features) == 1 and recall(gallery, Half(), features) == 0.5
    assert "recall@10 0.500" in recall_on_sample(gallery, Half(), features)


def test_an_unknown_engine_and_a_missing_package_are_told(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="engine must be one of exact, faiss:flat"):
        make_engine("annoy", tmp_path)
    assert make_engine("exact", tmp_path).name == ENGINES[0]
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    for name in ("faiss", "milvus"):
        with pytest.raises(ImportError, match=rf"mscmreid\[{name}\]"):
            make_engine(name, tmp_path)
