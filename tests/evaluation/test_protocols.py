"""Protocols on small made-up rows, and on the true lists where they are at hand."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from made_up import llcm_columns, make_columns, make_table, sysu_columns

from mscmreid.evaluation import (
    GeneralProtocol,
    LLCMProtocol,
    MixedGalleryProtocol,
    RegDBProtocol,
    SYSUProtocol,
    evaluate,
    rank_distances,
)
from mscmreid.evaluation.presets import protocols_of
from mscmreid.evaluation.protocols import sysu

DATA = Path(__file__).parents[1] / "data"


def digest(columns, rows):
    return hashlib.sha256("\n".join(columns["path"][row] for row in rows).encode()).hexdigest()


class TestTrueLists:
    def test_sysu_agw_draws(self, splits):
        columns = sysu_columns(splits)
        golden = json.loads((DATA / "sysu_protocol.json").read_text())
        for mode in ("all", "indoor"):
            selections = SYSUProtocol(mode=mode).selections(columns)
            assert len(selections) == 10
            for chosen in selections:
                expected = golden["gallery"][f"{mode}_{chosen.trial}"]
                assert len(chosen.query) == golden["query"]["n"] == 3803
                assert digest(columns, chosen.query) == golden["query"]["sha256_of_joined_relpaths"]
                assert len(chosen.gallery) == expected["n"] == (301 if mode == "all" else 112)
                assert digest(columns, chosen.gallery) == expected["sha256_of_joined_relpaths"]

    def test_sysu_sizes(self, splits):
        columns = sysu_columns(splits)
        for mode, sizes in (("all", (301, 3010)), ("indoor", (112, 1120))):
            for shots, size in zip((1, 10), sizes, strict=True):
                for lineage in ("agw", "official"):
                    protocol = SYSUProtocol(mode, shots, lineage, trials=2)
                    first, second = protocol.selections(columns, splits / "SYSU-MM01")
                    assert len(first.gallery) == len(second.gallery) == size
                    assert len(np.unique(first.gallery)) == size
                    assert not np.array_equal(first.gallery, second.gallery)

    def test_indoor_search_leaves_queries_out(self, splits):
        columns = sysu_columns(splits)
        chosen = SYSUProtocol("indoor").selections(columns)[0]
        pid, cam = columns["pid"], columns["cam_id"]
        distance = np.random.RandomState(0).rand(len(chosen.query), len(chosen.gallery))
        sides = pid[chosen.query], pid[chosen.gallery], cam[chosen.query], cam[chosen.gallery]
        result = rank_distances(distance, *sides, rule=chosen.rule, identity_cmc=True)
        assert (result.num_queries, result.num_left_out) == (2208, 1595)

    def test_sysu_official_evaluation(self, splits):
        from recipes import official_features

        golden = json.loads((DATA / "sysu_official.json").read_text())["all_search_1_shot"]
        columns = sysu_columns(splits)
        pid, cam = columns["pid"], columns["cam_id"]
        frames = np.array([int(path[-8:-4]) for path in columns["path"]])
        features = np.zeros((len(pid), 64))
        for p, c in {(int(p), int(c)) for p, c in zip(pid, cam, strict=True)}:
            rows = np.flatnonzero((pid == p) & (cam == c))
            features[rows] = official_features(p, c, len(rows))[frames[rows] - 1]
        results = []
        for chosen in SYSUProtocol("all", lineage="official").selections(columns, splits / "SYSU-MM01"):
            query, gallery = features[chosen.query], features[chosen.gallery]
            distance = (query**2).sum(1)[:, None] + (gallery**2).sum(1) - 2 * query @ gallery.T
            sides = pid[chosen.query], pid[chosen.gallery], cam[chosen.query], cam[chosen.gallery]
            results.append(rank_distances(distance, *sides, rule=chosen.rule, identity_cmc=True))
        for k in (1, 5, 10, 20):
            assert np.mean([r.rank(k) for r in results]) == pytest.approx(100 * golden[f"rank{k}"], abs=1e-4)
        assert np.mean([r.mAP for r in results]) == pytest.approx(100 * golden["mAP"], abs=1e-4)
        assert results[0].rank(1) == pytest.approx(100 * golden["trial_1"]["rank1"], abs=1e-4)
        assert results[0].mAP == pytest.approx(100 * golden["trial_1"]["mAP"], abs=1e-4)

    def test_sysu_works_on_the_validation_ids(self, splits):
        columns = sysu_columns(splits, "val")
        chosen = SYSUProtocol("all", trials=1).selections(columns)[0]
        assert len(np.unique(columns["pid"][chosen.query])) == 99

    def test_llcm_draws(self, splits):
        columns = llcm_columns(splits)
        golden = json.loads((DATA / "llcm_protocol.json").read_text())["ir_to_vis"]
        for chosen in LLCMProtocol("infrared-to-visible").selections(columns):
            expected = golden["gallery"][str(chosen.trial)]
            assert len(chosen.query) == golden["query"]["n"] == 7166
            assert digest(columns, chosen.query) == golden["query"]["sha"]
            assert [columns["path"][row] for row in chosen.gallery[:3]] == expected["first"]
            assert len(chosen.gallery) == expected["n"] == 484
            assert digest(columns, chosen.gallery) == expected["sha256_of_joined_relpaths"]

    def test_llcm_conventions(self, splits):
        columns = llcm_columns(splits)
        paper = LLCMProtocol("visible-to-infrared", trials=1).selections(columns)[0]
        other = LLCMProtocol("visible-to-infrared", "deen-repo", trials=1).selections(columns)[0]
        assert (len(paper.query), len(paper.gallery)) == (8680, 619)
        assert (len(other.query), len(other.gallery)) == (619, 8680)
        assert np.array_equal(paper.gallery, other.query) and np.array_equal(paper.query, other.gallery)

    def test_regdb_sizes(self, splits):
        rows = []
        for name, modality in (("visible", "visible"), ("thermal", "infrared")):
            lines = (splits / "RegDB" / "idx" / f"test_{name}_3.txt").read_text().strip().split("\n")
            rows += [(line.split()[0], int(line.split()[0].split("/")[1]), 1, modality) for line in lines]
        columns = make_columns(rows)
        for direction in ("visible-to-infrared", "infrared-to-visible"):
            (chosen,) = RegDBProtocol(direction).selections(columns)
            assert len(chosen.query) == len(chosen.gallery) == 2060
            assert set(columns["modality"][chosen.query]) == {direction.split("-to-")[0]}
            assert not chosen.identity_cmc and not chosen.rule.needs_cameras


def small_sysu():
    return make_columns(
        [
            (f"cam{cam}/{pid:04d}/{frame:04d}.jpg", pid, cam, "infrared" if cam in (3, 6) else "visible")
            for cam in range(1, 7)
            for pid in (6, 10, 17)
            for frame in range(1, 5)
            if (cam, pid) != (2, 10)
        ]
    )


def paths(columns, rows):
    return [columns["path"][row] for row in rows]


def test_sysu_draws_and_rows_needed():
    columns = small_sysu()
    protocol = SYSUProtocol(trials=[0, 4])
    first, second = protocol.selections(columns)
    assert (first.trial, second.trial) == (0, 4)
    assert len(first.query) == 24 and paths(columns, first.query)[:2] == ["cam3/0006/0001.jpg", "cam3/0006/0002.jpg"]
    assert [path[:9] for path in paths(columns, first.gallery)][:5] == [
        "cam1/0006", "cam2/0006", "cam4/0006", "cam5/0006", "cam1/0010"
    ]  # fmt: skip
    assert len(first.gallery) == 11  # id 10 is not in camera 2
    needed = protocol.rows_needed(columns)
    assert set(needed) == {*first.query, *first.gallery, *second.gallery} and (np.diff(needed) > 0).all()
    assert len(SYSUProtocol("indoor", shots=10, trials=1).selections(columns)[0].gallery) == 20  # four frames each


def test_official_lineage_reads_its_file(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    columns = small_sysu()
    content = np.empty((6, 1), dtype=object)
    for cam in range(6):
        content[cam, 0] = np.empty((20, 1), dtype=object)
        for pid in range(20):
            content[cam, 0][pid, 0] = np.array([[4, 2, 3, 1], [1, 3, 2, 4]], dtype=np.uint8)
    (tmp_path / "exp").mkdir()
    savemat(tmp_path / "exp" / "rand_perm_cam.mat", {"rand_perm_cam": content})
    first, second = SYSUProtocol("indoor", lineage="official", trials=2).selections(columns, tmp_path)
    assert {path[-8:] for path in paths(columns, first.gallery)} == {"0004.jpg"}
    assert {path[-8:] for path in paths(columns, second.gallery)} == {"0001.jpg"}
    with pytest.raises(ValueError, match=r"trials 0\.\.1 of camera 1, id 6"):
        SYSUProtocol(lineage="official", trials=3).selections(columns, tmp_path)
    rows = [row for row in range(len(columns["path"])) if columns["path"][row] != "cam1/0006/0002.jpg"]
    fewer = {name: [column[row] for row in rows] for name, column in columns.items()}
    with pytest.raises(ValueError, match=r"permutes 4 frames of camera 1, id 6 .*the data has 3"):
        SYSUProtocol(lineage="official").selections(fewer, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"rand_perm_cam\.mat"):
        SYSUProtocol(lineage="official").selections(columns, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="give the data root"):
        SYSUProtocol(lineage="official").selections(columns)
    savemat(tmp_path / "other.mat", {"something": 1})
    with pytest.raises(ValueError, match=r"must hold the variable rand_perm_cam, found \['something'\]"):
        sysu.read_permutations(tmp_path / "other.mat")


def test_wrong_options_and_wrong_data_are_named():
    for make, message in (
        (lambda: SYSUProtocol("outdoor"), "mode must be one of 'all', 'indoor', found 'outdoor'"),
        (lambda: SYSUProtocol(shots=5), r"shots must be 1 \(single-shot\) or 10"),
        (lambda: SYSUProtocol(trials=0), "trials must be a positive number"),
        (lambda: SYSUProtocol(trials=[1, 1]), "different trial numbers"),
        (lambda: RegDBProtocol("both"), "direction must be one of"),
        (lambda: LLCMProtocol(convention="mine"), "convention must be one of 'paper', 'deen-repo'"),
        (lambda: GeneralProtocol(dict(camera=[1]), dict(role="gallery")), "query must be a dict with some of"),
        (lambda: GeneralProtocol(dict(role="query"), dict(role="gallery"), exclude="all"), "exclude must be one of"),
        (lambda: GeneralProtocol(dict(role="query"), dict(role="gallery"), trials=3), "without shots nothing is drawn"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    visible = {name: np.asarray(column)[:0] for name, column in small_sysu().items()}
    with pytest.raises(ValueError, match="no row fits SYSU-MM01's queries"):
        SYSUProtocol().selections(visible)
    with pytest.raises(ValueError, match=r"infrared: cameras \[3, 6\]; visible: cameras \[1, 2, 4, 5\]"):
        GeneralProtocol(dict(modality="infrared", cameras=[9]), dict(modality="visible")).selections(small_sysu())


def test_general_protocol_selects_by_modality_cameras_and_role():
    columns = small_sysu()
    columns["role"] = np.array(["query" if cam == 1 else "" for cam in columns["cam_id"]])
    protocol = GeneralProtocol(
        dict(role="query"), dict(modality="infrared", cameras=[3]), exclude="id-camera", camera_pairs=[[1, 3]],
        shots=2, trials=[5], identity_cmc=True, name="mine",
    )  # fmt: skip
    (chosen,) = protocol.selections(columns)
    assert set(columns["cam_id"][chosen.query]) == {1} and set(columns["cam_id"][chosen.gallery]) == {3}
    assert len(chosen.gallery) == 6 and chosen.trial == 5 and chosen.identity_cmc
    assert chosen.rule.describe() == "query camera 1 ignores gallery camera 3; same id and same camera ignored"
    assert protocol.fields()["mode"] == "query -> infrared cameras 3"
    everything = GeneralProtocol(dict(modality="infrared"), dict(modality="visible")).selections(columns)[0]
    assert len(everything.query) == 24 and len(everything.gallery) == 44
    with pytest.raises(ValueError, match="query and gallery at once"):
        GeneralProtocol(dict(cameras=[1, 3]), dict(modality="visible")).selections(columns)
    del columns["role"]
    with pytest.raises(ValueError, match="no role column"):
        GeneralProtocol(dict(role="query"), dict(modality="infrared")).selections(columns)


def test_a_mixed_galleries_parts_are_those_of_the_cross_modality_draws():
    table = make_table()
    mixed = MixedGalleryProtocol("infrared", trials=[0, 4], camera_pairs=[(3, 2)])
    usual = SYSUProtocol(trials=[0, 4])
    for chosen, known in zip(mixed.selections(table.columns), usual.selections(table.columns), strict=True):
        modality = table.modality[chosen.gallery]
        assert (chosen.gallery[modality == "visible"] == known.gallery).all()
        assert (chosen.query == known.query).all() and chosen.trial == known.trial
        infrared = chosen.gallery[modality == "infrared"]
        assert sorted(zip(table.pid[infrared], table.cam_id[infrared], strict=True)) == [
            (pid, cam) for pid in range(1, 13) for cam in (3, 6)
        ]
    assert (mixed.tag, mixed.fields()) == ("infrared-to-mixed", dict(direction="infrared-to-mixed", shots=1))
    both = MixedGalleryProtocol("both", shots=2, trials=1).selections(table.columns)[0]
    assert len(both.query) == len(table) and len(both.gallery) == 12 * 6 * 2


def test_in_a_mixed_gallery_no_query_finds_itself_or_its_camera():
    table = make_table(num_ids=5, noise=0.0)
    rng = np.random.default_rng(0)
    # everybody looks like themselves in one camera only: without the rule every query would be right
    features = rng.normal(size=(len(table), 8))
    alike = {key: rng.normal(size=8) for key in zip(table.pid.tolist(), table.cam_id.tolist(), strict=True)}
    features[:] = [alike[key] for key in zip(table.pid.tolist(), table.cam_id.tolist(), strict=True)]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    table.features = {"feat_bn": features.astype(np.float32)}
    result = evaluate(table, [MixedGalleryProtocol("both", shots=None)], ["feat_bn"])[0].result
    assert result.mean["R1"] < 60 and result.num_gallery == [len(table)]
    assert result.exclusion == "same id and same camera ignored" and result.protocol == "mixed gallery"


def test_a_mixed_gallery_tells_modality_from_person():
    table = make_table(num_ids=8, noise=0.6)
    offset = np.where(table.modality == "infrared", 1.0, -1.0)[:, None] * np.eye(16)[:1] * 2
    shifted = table.features["feat_bn"] + offset
    table.features["feat_bn"] = (shifted / np.linalg.norm(shifted, axis=1, keepdims=True)).astype(np.float32)
    cross = SYSUProtocol(trials=2)
    mixed = MixedGalleryProtocol("infrared", trials=2, camera_pairs=[(3, 2)])
    values = [e.result for e in evaluate(table, [cross, mixed], ["feat_bn"])]
    assert values[1].mean["mAP"] < values[0].mean["mAP"]  # strangers in the query's own modality come first
    assert values[0].num_queries == values[1].num_queries


def test_mixed_gallery_mistakes_are_told():
    for options, message in (
        (dict(query="thermal"), "query must be one of"),
        (dict(shots=0), "shots must be a positive number"),
        (dict(shots=None, trials=3), "without shots nothing is drawn"),
    ):
        with pytest.raises(ValueError, match=message):
            MixedGalleryProtocol(**options)
    table = make_table()
    table.modality[:] = "visible"
    with pytest.raises(ValueError, match="no row fits the infrared images"):
        MixedGalleryProtocol().selections(table.columns)


@pytest.mark.parametrize("dataset", ["sysu", "regdb", "llcm"])
def test_every_data_set_has_mixed_galleries(dataset):
    tags = ["infrared-to-mixed", "visible-to-mixed"]
    protocols = protocols_of(dataset, tags)
    assert [protocol.tag for protocol in protocols] == tags
    results = [e.result for e in evaluate(make_table(), protocols, ["feat_bn"])]
    assert [result.direction for result in results] == tags
    assert results[0].num_trials == (1 if dataset == "regdb" else 10)
