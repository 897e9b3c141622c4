"""What is written: the folder layouts and lists of the real sets, the same bytes for the same options."""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from mscmreid.experiments.baselines import comparison_table, synthetic_comparisons
from mscmreid.synthetic import (
    Options,
    contact_sheet,
    make_plan,
    read_plan,
    split_people,
    write_dataset,
)
from mscmreid.synthetic.plan import sysu_permutations

SMALL = dict(num_ids=8, images_per_camera=2, size=(32, 16))


def files_under(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(Path(root).rglob("*")) if p.is_file()}


def write(root, layout, workers=0, **options):
    plan = make_plan(Options(layout, **{**SMALL, **options}))
    return plan, write_dataset(plan, root, workers)


@pytest.mark.parametrize("layout", ["sysu", "regdb", "llcm"])
def test_the_same_options_give_the_same_bytes(tmp_path, layout):
    write(tmp_path / "one", layout)
    write(tmp_path / "two", layout)
    write(tmp_path / "other", layout, seed=1)
    one, two, other = (files_under(tmp_path / n) for n in ("one", "two", "other"))
    one.pop("exp/rand_perm_cam.mat", None), two.pop("exp/rand_perm_cam.mat", None)  # its header has the time
    assert one == two
    assert all(other.get(path) != data for path, data in one.items() if path.endswith((".jpg", ".bmp")))


def test_the_number_of_workers_does_not_matter(tmp_path):
    write(tmp_path / "none", "llcm")
    write(tmp_path / "two", "llcm", workers=2)
    assert files_under(tmp_path / "none") == files_under(tmp_path / "two")


def test_sysu_layout(tmp_path):
    plan, _ = write(tmp_path / "set", "sysu", absent=1.0)
    root = tmp_path / "set"
    images = sorted(str(p.relative_to(root)) for p in root.rglob("*.jpg"))
    assert images == sorted(f.path for f in plan.frames)
    assert all(re.fullmatch(r"cam[1-6]/\d{4}/\d{4}\.jpg", path) for path in images)
    per_person = Counter(path.split("/")[1] for path in images)
    assert set(per_person.values()) == {10}  # everybody is missing in one camera of six
    assert all({p.name for p in (root / f"cam{cam}").iterdir()} == set(per_person) for cam in (3, 6))
    lists = {n: (root / "exp" / f"{n}_id.txt").read_text() for n in ("train", "val", "test", "available")}
    ids = {n: [int(p) for p in text.split(",")] for n, text in lists.items()}
    assert sorted(ids["train"] + ids["val"] + ids["test"]) == ids["available"] == list(range(1, 9))
    assert {Image.open(root / path).size for path in images} == {(16, 32)}


def test_sysu_infrared_files_are_gray_and_visible_ones_are_not(tmp_path):
    plan, _ = write(tmp_path / "set", "sysu")
    for frame in plan.frames:
        pixels = np.asarray(Image.open(tmp_path / "set" / frame.path).convert("RGB")).astype(int)
        spread = np.ptp(pixels, axis=2)
        assert (spread.max() <= 1) == (frame.modality == "infrared")


def test_permutations_have_the_shape_of_the_real_file(tmp_path):
    io = pytest.importorskip("scipy.io", reason="scipy writes and reads rand_perm_cam.mat")
    plan, notes = write(tmp_path / "set", "sysu", absent=1.0)
    assert notes == []
    stored = io.loadmat(tmp_path / "set" / "exp" / "rand_perm_cam.mat")["rand_perm_cam"]
    assert stored.shape == (6, 1)
    num = Counter((f.cam_id, f.pid) for f in plan.frames)
    made = sysu_permutations(plan)
    for cam in range(1, 7):
        assert stored[cam - 1, 0].shape == (8, 1)
        for pid in range(1, 9):
            rows = stored[cam - 1, 0][pid - 1, 0]
            assert rows.shape == (10, num[cam, pid])
            assert (np.sort(rows, 1) == np.arange(1, num[cam, pid] + 1)).all()
            assert (rows == made[cam - 1, 0][pid - 1, 0]).all()


def test_without_scipy_everything_else_is_written_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    _, notes = write(tmp_path / "set", "sysu", num_ids=4)
    assert len(notes) == 1
    assert "scipy is missing" in notes[0]
    assert sorted(p.name for p in (tmp_path / "set" / "exp").iterdir()) == [
        "available_id.txt",
        "test_id.txt",
        "train_id.txt",
        "val_id.txt",
    ]


def test_regdb_layout(tmp_path):
    plan, _ = write(tmp_path / "set", "regdb", images_per_camera=10)
    root = tmp_path / "set"
    assert len(plan.frames) == 8 * 20
    for number in range(1, 11):
        parts = {}
        for part in ("train", "test"):
            for modality, folder, mark in (("visible", "Visible", "v"), ("thermal", "Thermal", "t")):
                data = (root / "idx" / f"{part}_{modality}_{number}.txt").read_bytes()
                lines = data.decode().split("\r\n")[:-1]
                assert len(lines) == 40
                rows = [
                    re.fullmatch(rf"{folder}/(\d+)/(?:fe)?male_(?:front|back)_{mark}_\d{{5}}_(\d+)\.bmp (\d+)", x)
                    for x in lines
                ]
                assert all(row and row[1] == row[2] and (root / row[0].split()[0]).is_file() for row in rows)
                assert sorted({int(row[3]) for row in rows}) == [0, 1, 2, 3]
                parts[part, modality] = [(row[1], row[3]) for row in rows]
            assert parts[part, "visible"] == parts[part, "thermal"]
        people = [{pid for pid, _ in parts[part, "visible"]} for part in ("train", "test")]
        assert people[0].isdisjoint(people[1])
        assert len(people[0] | people[1]) == 8
    assert Image.open(root / plan.frames[0].path).format == "BMP"


def test_regdb_splits_differ(tmp_path):
    texts = make_plan(Options("regdb", num_ids=40)).texts
    assert len({texts[f"idx/train_visible_{n}.txt"] for n in range(1, 11)}) == 10


def test_llcm_layout(tmp_path):
    plan, _ = write(tmp_path / "set", "llcm", num_ids=20)
    root = tmp_path / "set"
    seen = set()
    for part in ("train", "test"):
        for kind in ("vis", "nir"):
            for line in (root / "idx" / f"{part}_{kind}.txt").read_text().splitlines():
                row = re.fullmatch(rf"{kind}/(\d{{4}})/(\d{{4}})_c(\d\d)_s\d{{6}}_f\d+_{kind}\.jpg \d+", line)
                assert row and row[1] == row[2]
                cam, path = int(row[3]), line.split()[0]
                assert cam != 3 or kind == "vis"
                where = f"test_{kind}/cam{cam}/{path[4:]}" if part == "test" else path
                assert (root / where).is_file()
                seen.add(where)
    assert seen == {f.path for f in plan.frames} == {str(p.relative_to(root)) for p in root.rglob("*.jpg")}
    test = [int(p) for p in (root / "idx" / "test_id.txt").read_text().split(",")]
    assert sorted(test) == plan.split["test"]


def test_every_llcm_query_has_a_match_in_another_camera():
    plan = make_plan(Options("llcm", num_ids=60))
    for pid, frames in plan.by_pid.items():
        for modality in ("visible", "infrared"):
            assert len({f.cam_id for f in frames if f.modality == modality}) >= 2, pid


def test_given_counts_and_lists_are_followed(tmp_path):
    counts = {cam: {2: 3, 5: 1, 9: 2, 11: 4} for cam in range(1, 7)}
    counts[4] = {9: 2}
    split = dict(train=[2], val=[5], test=[9])
    plan = make_plan(Options("sysu", size=(32, 16), counts=counts, split=split, distinct=2))
    write_dataset(plan, tmp_path / "set")
    found = Counter((int(p.parts[-3][3:]), int(p.parts[-2])) for p in (tmp_path / "set").rglob("*.jpg"))
    assert found == {(cam, pid): n for cam, ids in counts.items() for pid, n in ids.items()}
    frames = [(tmp_path / "set/cam1/0011" / f"000{k}.jpg").read_bytes() for k in (1, 2, 3, 4)]
    assert frames[0] == frames[2] != frames[1] == frames[3]
    assert (tmp_path / "set/exp/available_id.txt").read_text() == "2,5,9\n"
    with pytest.raises(ValueError, match=r"no frame in the counts: \[7\]"):
        make_plan(Options("sysu", counts=counts, split=dict(train=[2], val=[5], test=[7])))


def test_the_standing_split_is_150_and_50_of_200_whatever_the_seed():
    split = split_people(range(1, 201))
    assert [len(split[n]) for n in ("train", "val", "test")] == [120, 30, 50]
    assert sorted(pid for ids in split.values() for pid in ids) == list(range(1, 201))
    assert split["test"] == list(range(4, 201, 4))
    assert make_plan(Options("sysu", seed=9)).split == split


def test_a_plan_can_be_read_back(tmp_path):
    counts = {cam: dict.fromkeys((1, 2, 3, 4), 1) for cam in range(1, 7)}
    for layout, extra in (("sysu", dict(counts=counts)), ("regdb", {}), ("llcm", {})):
        plan, _ = write(tmp_path / layout, layout, **extra)
        assert read_plan(tmp_path / layout) == plan


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "photo.jpg").write_bytes(b"mine")
    plan = make_plan(Options("sysu", **SMALL))
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="not a synthetic data set"):
            write_dataset(plan, tmp_path / "real", overwrite=overwrite)
    assert files_under(tmp_path) == {"real/photo.jpg": b"mine"}


def test_an_older_set_is_replaced_only_when_asked(tmp_path):
    write(tmp_path / "set", "sysu")
    plan = make_plan(Options("llcm", **SMALL))
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_dataset(plan, tmp_path / "set")
    write_dataset(plan, tmp_path / "set", overwrite=True)
    assert not (tmp_path / "set" / "exp").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    plan = make_plan(Options("sysu", **SMALL))
    monkeypatch.setattr("mscmreid.synthetic.painter.Painter.encode", lambda self, frame: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_dataset(plan, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_manifest_or_with_another_version_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"synthetic\.json not found"):
        read_plan(tmp_path)
    (tmp_path / "synthetic.json").write_text(json.dumps(dict(format_version=99)))
    with pytest.raises(ValueError, match="format_version 99"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(layout="market"), "layout must be one of"),
        (dict(layout="sysu", num_ids=3), "at least 4 people"),
        (dict(layout="sysu", images_per_camera=0), "images_per_camera must be at least 1"),
        (dict(layout="sysu", size=(8, 8)), "at least 16 x 16"),
        (dict(layout="sysu", absent=1.5), "between 0 and 1"),
        (dict(layout="llcm", counts={}), "layout 'sysu' only"),
        (dict(layout="regdb", split={}), "ten splits"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_pixels_do_not_give_identities_away(tmp_path):
    """40 held-out people in the default setting: 12 % is the bound that the set promises."""
    plan = make_plan(Options("sysu", num_ids=160, size=(64, 32)))
    held_out = [f for f in plan.frames if f.pid in set(plan.split["test"])]
    plan = type(plan)(plan.options, held_out, plan.texts, plan.split, plan.indoor)
    write_dataset(plan, tmp_path / "set")
    title, comparisons = synthetic_comparisons(tmp_path / "set", plan, size=(64, 32))
    assert "40 held-out people, 480 queries" in title
    scores = {comparison.name: np.mean(comparison.rank1) for comparison in comparisons}
    assert scores.pop("chance") == pytest.approx(2.5, abs=0.3)
    assert len(scores) == 4
    assert all(1 < score < 12 for score in scores.values()), scores
    assert len(comparison_table(title, comparisons).splitlines()) == 6


def test_chance_is_what_random_features_reach(tmp_path):
    plan, _ = write(tmp_path / "set", "sysu", num_ids=32)
    chance = np.mean(synthetic_comparisons(tmp_path / "set", plan, size=(16, 8))[1][0].rank1)
    test = [f for f in plan.frames if f.pid in set(plan.split["test"])]
    queries = [f for f in test if f.modality == "infrared"]
    random, hits = Random(0), []
    for _ in range(2000):
        query = random.choice(queries)
        gallery = {(f.pid, f.cam_id): f for f in test if f.modality == "visible" and (query.cam_id, f.cam_id) != (3, 2)}
        hits.append(random.choice(list(gallery.values())).pid == query.pid)
    assert chance == pytest.approx(100 * np.mean(hits), abs=2.5)


@pytest.mark.parametrize("layout", ["sysu", "regdb", "llcm"])
def test_a_contact_sheet_shows_the_held_out_people(tmp_path, layout):
    plan, _ = write(tmp_path / "set", layout)
    sheet = np.asarray(contact_sheet(tmp_path / "set", plan, num_people=2))
    assert sheet.std() > 20
    assert (sheet[-3:] == 255).all()
    assert (np.asarray(contact_sheet(tmp_path / "set", plan, num_people=2)) == sheet).all()
