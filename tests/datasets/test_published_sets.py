"""SYSU-MM01, RegDB and LLCM from their folder layouts."""

import hashlib
import logging
import shutil

import layouts
import numpy as np
import pytest

from mscmreid.datasets import LLCM, SYSUMM01, RegDB
from mscmreid.registry import DATASETS

OPTIONS = dict(cache=False, check_counts=False)


@pytest.fixture
def sysu(tmp_path):
    return layouts.make_sysu(tmp_path / "SYSU-MM01")


@pytest.fixture
def regdb(tmp_path):
    return layouts.make_regdb(tmp_path / "RegDB")


@pytest.fixture
def llcm(tmp_path):
    return layouts.make_llcm(tmp_path / "LLCM")


def sha256(paths):
    return hashlib.sha256("\n".join(paths).encode()).hexdigest()


class TestSYSU:
    def test_splits_hold_their_people(self, sysu):
        people = {split: set(SYSUMM01(str(sysu), split=split, **OPTIONS).rows()["pid"]) for split in SYSUMM01.SPLITS}
        assert people == {"trainval": {1, 2, 4, 7}, "train": {1, 2, 4}, "val": {7}, "test": {3, 10}}

    def test_rows_are_ordered_by_id_camera_and_name(self, sysu):
        rows = SYSUMM01(str(sysu), split="test", **OPTIONS).rows()
        expected = [f"cam{cam}/{pid:04d}/{frame:04d}.jpg" for pid in (3, 10) for cam in range(1, 7) for frame in (1, 2)]
        assert rows["path"] == expected

    def test_modality_follows_the_camera(self, sysu):
        rows = SYSUMM01(str(sysu), split="trainval", **OPTIONS).rows()
        infrared = np.isin(rows["cam_id"], (3, 6))
        assert ((rows["modality"] == "infrared") == infrared).all()
        assert infrared.any() and not infrared.all()

    def test_labels_count_up_in_the_order_of_ids_in_training_only(self, sysu):
        training = SYSUMM01(str(sysu), split="trainval", **OPTIONS)
        assert training.metainfo["num_classes"] == 4
        rows = training.rows()
        assert dict(zip(rows["pid"].tolist(), rows["label"].tolist(), strict=True)) == {1: 0, 2: 1, 4: 2, 7: 3}
        testing = SYSUMM01(str(sysu), split="test", **OPTIONS)
        assert "label" not in testing.rows() and "num_classes" not in testing.metainfo

    def test_row_and_metainfo_keep_the_contract(self, sysu):
        dataset = SYSUMM01(str(sysu), split="train", **OPTIONS)
        info = dataset.get_data_info(0)
        assert info["img_path"] == str(sysu / "cam1/0001/0001.jpg")
        assert (info["pid"], info["cam_id"], info["modality"], info["label"]) == (1, 1, "visible", 0)
        assert dataset.metainfo == dict(
            dataset_name="SYSU-MM01",
            split="train",
            subset="train",
            data_root=str(sysu),
            resize="Lanczos",
            num_classes=3,
            people={"SYSU-MM01": [1, 2, 4]},
        )

    def test_subset_restricts_rows(self, sysu):
        dataset = SYSUMM01(str(sysu), split="test", **OPTIONS)
        before = dataset.rows()
        dataset.get_subset_(np.array([5, 2, 9]))
        after = dataset.rows()
        assert after["path"] == [before["path"][index] for index in (5, 2, 9)]
        assert after["pid"].tolist() == before["pid"][[5, 2, 9]].tolist()

    def test_a_person_without_a_camera_is_no_error(self, sysu):
        rows = SYSUMM01(str(sysu), split="train", **OPTIONS).rows()
        assert set(rows["cam_id"][rows["pid"] == layouts.OUTDOOR_ONLY]) == {3, 4, 5, 6}

    @pytest.mark.parametrize("missing", ["cam3", "exp/val_id.txt"])
    def test_the_first_missing_thing_is_named(self, sysu, missing):
        path = sysu / missing
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with pytest.raises(FileNotFoundError, match=f"looked for '{path}'"):
            SYSUMM01(str(sysu), split="trainval", **OPTIONS)

    def test_a_listed_person_without_images_is_named(self, sysu):
        for cam in range(1, 7):
            shutil.rmtree(sysu / f"cam{cam}" / "0010")
        with pytest.raises(FileNotFoundError, match=r"person 10 .* looked for 'cam1/0010'"):
            SYSUMM01(str(sysu), split="test", cache=False)
        assert set(SYSUMM01(str(sysu), split="test", **OPTIONS).rows()["pid"]) == {3}

    def test_a_damaged_id_list_is_named(self, sysu):
        (sysu / "exp/test_id.txt").write_text("3,x,10\n")
        with pytest.raises(ValueError, match=r"test_id\.txt' should hold ids .*'x'"):
            SYSUMM01(str(sysu), split="test", **OPTIONS)

    def test_an_unknown_split_is_refused(self, sysu):
        with pytest.raises(ValueError, match="found split='query'"):
            SYSUMM01(str(sysu), split="query")

    def test_an_unknown_option_is_refused(self, sysu):
        with pytest.raises(TypeError, match="caches"):
            SYSUMM01(str(sysu), caches=True)


class TestDataRoot:
    def test_comes_from_the_environment(self, sysu, monkeypatch):
        monkeypatch.setenv("MSCMREID_DATA", str(sysu.parent))
        assert SYSUMM01(split="test", **OPTIONS).metainfo["data_root"] == str(sysu)

    def test_comes_from_the_folder_data_without_it(self, sysu, monkeypatch):
        monkeypatch.delenv("MSCMREID_DATA", raising=False)
        sysu.parent.joinpath("data").mkdir()
        sysu.rename(sysu.parent / "data" / "SYSU-MM01")
        monkeypatch.chdir(sysu.parent)
        assert len(SYSUMM01(split="test", **OPTIONS)) == 24

    def test_given_one_goes_first(self, sysu, monkeypatch):
        monkeypatch.setenv("MSCMREID_DATA", "/nowhere")
        assert len(SYSUMM01(str(sysu), split="test", **OPTIONS)) == 24

    def test_a_missing_folder_is_named_with_its_origin(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MSCMREID_DATA", str(tmp_path))
        with pytest.raises(FileNotFoundError, match=rf"looked for the folder '{tmp_path}/LLCM' \(from MSCMREID_DATA"):
            LLCM()
        for given in (dict(), dict(name="drawn people")):
            name = given.get("name", "RegDB")
            with pytest.raises(FileNotFoundError, match=f"^{name} is missing: data_root='/nowhere' is '/nowhere'"):
                RegDB(data_root="/nowhere", **given)


class TestRegDB:
    def test_a_split_has_the_people_of_its_lists(self, regdb):
        people = {
            (split_id, split): set(RegDB(data_root=str(regdb), split_id=split_id, split=split, **OPTIONS).rows()["pid"])
            for split_id in (1, 2)
            for split in ("train", "test")
        }
        assert people == {(1, "train"): {5, 88}, (1, "test"): {7, 12}, (2, "train"): {7, 12}, (2, "test"): {5, 88}}

    def test_rows(self, regdb):
        dataset = RegDB(data_root=str(regdb), split="train", split_id=1, **OPTIONS)
        rows = dataset.rows()
        assert rows["path"][0] == "Visible/5/male_back_v_00000_5.bmp"
        assert rows["pid"].tolist() == [5] * 6 + [88] * 6
        assert rows["label"].tolist() == [0] * 6 + [1] * 6
        assert rows["modality"].tolist() == (["visible"] * 3 + ["infrared"] * 3) * 2
        assert dataset.metainfo["split"] == "1" and dataset.metainfo["subset"] == "train"

    def test_a_missing_image_is_named(self, regdb):
        path = regdb / "Thermal/5/male_back_t_00001_5.bmp"
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"1 images .* looked for '{path}'"):
            RegDB(data_root=str(regdb), split="train", split_id=1, **OPTIONS)
        assert len(RegDB(data_root=str(regdb), split="test", split_id=1, **OPTIONS)) == 12

    def test_a_damaged_list_line_is_named(self, regdb):
        (regdb / "idx/train_visible_1.txt").write_text("Visible/5/a.bmp 0\n\nVisible/5/b.bmp\n")
        with pytest.raises(ValueError, match=r"train_visible_1\.txt', line 3: expected 'path label'"):
            RegDB(data_root=str(regdb), split="train", split_id=1, **OPTIONS)

    @pytest.mark.parametrize("split_id", [0, 11, "one"])
    def test_an_unknown_split_number_is_refused(self, split_id):
        with pytest.raises(ValueError, match="splits 1 to 10"):
            RegDB(split_id=split_id)


class TestLLCM:
    def test_training_rows(self, llcm):
        rows = LLCM(str(llcm), split="train", **OPTIONS).rows()
        assert rows["pid"].tolist() == [2] * 8 + [250] * 8
        assert rows["cam_id"].tolist() == [2, 2, 3, 3, 5, 5, 6, 6] * 2
        assert rows["path"][2] == "vis/0002/0002_c03_s18_f10_vis.jpg"
        assert set(rows["label"]) == {0, 1}

    def test_test_images_lie_in_camera_folders(self, llcm):
        rows = LLCM(str(llcm), split="test", **OPTIONS).rows()
        assert rows["pid"].tolist() == [0] * 8 + [891] * 8
        assert rows["path"][0] == "test_nir/cam2/0000/0000_c02_s18_f10_nir.jpg"
        assert rows["path"][2] == "test_vis/cam3/0000/0000_c03_s18_f10_vis.jpg"

    def test_a_missing_image_is_named(self, llcm):
        path = llcm / "test_vis/cam5/0891/0891_c05_s18_f9_vis.jpg"
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"looked for '{path}'"):
            LLCM(str(llcm), split="test", **OPTIONS)

    def test_a_name_without_a_camera_is_named(self, llcm):
        (llcm / "idx/train_vis.txt").write_text("vis/0002/portrait.jpg 0\n")
        with pytest.raises(ValueError, match=r"train_vis\.txt': expected .* found 'vis/0002/portrait\.jpg'"):
            LLCM(str(llcm), split="train", **OPTIONS)


def test_data_sets_are_built_by_name(sysu):
    dataset = DATASETS.build(dict(type="mscmreid.SYSUMM01", data_root=str(sysu), split="test", **OPTIONS))
    assert isinstance(dataset, SYSUMM01)


def test_a_stand_in_says_its_own_name(sysu):
    assert SYSUMM01(str(sysu), split="test", name="synthetic", **OPTIONS).metainfo["dataset_name"] == "synthetic"


@pytest.fixture
def messages(monkeypatch):
    """What the data sets log: (level, text)."""
    found = []
    monkeypatch.setattr(
        "mscmreid.datasets.base.log",
        lambda text, level=logging.INFO: found.append((level, text)),
    )
    return found


def test_the_statistics_table_is_logged_once(sysu, messages):
    SYSUMM01(str(sysu), split="test", **OPTIONS)
    tables = [text for level, text in messages if "cameras" in text]
    assert len(tables) == 1
    lines = [line.split() for line in tables[0].splitlines()]
    assert lines[1] == ["SYSU-MM01", "test", "ids", "images", "cameras"]
    assert lines[2] == ["visible", "2", "16", "1", "2", "4", "5"]
    assert lines[3] == ["infrared", "2", "8", "3", "6"]
    assert lines[4] == ["all", "2", "24", "1", "2", "3", "4", "5", "6"]


def test_other_counts_than_the_published_are_a_warning_that_can_be_silenced(sysu, messages):
    SYSUMM01(str(sysu), split="test", cache=False, check_counts=True)
    warnings = [text for level, text in messages if level == logging.WARNING]
    assert len(warnings) == 1
    assert "infrared: 2 ids, 8 images (published 96 and 3,803)" in warnings[0]
    messages.clear()
    SYSUMM01(str(sysu), split="test", cache=False, check_counts=False)
    assert not [text for level, text in messages if level == logging.WARNING]


def test_files_that_are_no_images_are_said_to_be_left_out(sysu, messages):
    (sysu / "cam1/0003/Thumbs.db").touch()
    dataset = SYSUMM01(str(sysu), split="test", **OPTIONS)
    assert len(dataset) == 24
    assert any("1 entries that are no images were left out, such as 'cam1/0003/Thumbs.db'" in t for _, t in messages)


class TestTrueSize:
    """The published lists and counts, with empty files for images."""

    def test_sysu_has_the_published_counts_and_queries(self, tmp_path, messages, golden, splits):
        root = str(layouts.touch_sysu(tmp_path / "SYSU-MM01", splits / "SYSU-MM01"))
        dataset = SYSUMM01(root, split="trainval", cache=False)
        rows = dataset.rows()
        assert dataset.metainfo["num_classes"] == 395
        assert [int((rows["modality"] == name).sum()) for name in ("visible", "infrared")] == [22258, 11909]
        assert SYSUMM01(root, split="train", cache=False).metainfo["num_classes"] == 296
        assert len(set(SYSUMM01(root, split="val", cache=False).rows()["pid"])) == 99
        test = SYSUMM01(root, split="test", cache=False).rows()
        queries = [path for path, name in zip(test["path"], test["modality"], strict=True) if name == "infrared"]
        published = golden("sysu_protocol.json")["query"]
        assert len(queries) == published["n"] == 3803
        assert sha256(queries) == published["sha256_of_joined_relpaths"]
        assert not [text for level, text in messages if level == logging.WARNING]

    @pytest.mark.parametrize("split_id", [1, 10])
    def test_regdb_has_the_published_counts(self, tmp_path, messages, splits, split_id):
        root = str(layouts.touch_listed(tmp_path / "RegDB", splits / "RegDB"))
        train = RegDB(data_root=root, split="train", split_id=split_id, cache=False)
        test = RegDB(data_root=root, split="test", split_id=split_id, cache=False)
        assert train.metainfo["num_classes"] == 206
        assert len(train) == len(test) == 4120
        assert not set(train.rows()["pid"]) & set(test.rows()["pid"])
        assert not [text for level, text in messages if level == logging.WARNING]

    def test_llcm_has_the_published_counts_and_queries(self, tmp_path, messages, golden, splits):
        root = str(layouts.touch_listed(tmp_path / "LLCM", splits / "LLCM", relocate=layouts.llcm_test_folder))
        assert LLCM(root, split="train", cache=False).metainfo["num_classes"] == 713
        rows = LLCM(root, split="test", cache=False).rows()
        queries = [path for path, name in zip(rows["path"], rows["modality"], strict=True) if name == "infrared"]
        published = golden("llcm_protocol.json")["ir_to_vis"]["query"]
        assert len(queries) == published["n"] == 7166
        assert sha256(queries) == published["sha"]
        assert set(rows["cam_id"][rows["modality"] == "visible"]) == set(range(1, 10))
        assert set(rows["cam_id"][rows["modality"] == "infrared"]) == {1, 2, 4, 5, 6, 7, 8, 9}
        assert not [text for level, text in messages if level == logging.WARNING]
