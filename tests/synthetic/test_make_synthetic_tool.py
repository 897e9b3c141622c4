"""tools/make_synthetic.py from the command line's side."""

import importlib.util
import json
from pathlib import Path

import pytest

from mscmreid.synthetic import read_plan

TOOL = Path(__file__).parents[2] / "tools" / "make_synthetic.py"
SMALL = ["--ids", "8", "--images-per-camera", "2", "--size", "32x16", "--workers", "0"]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_synthetic", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_draws_reports_and_says_what_is_next(tool, tmp_path, capsys):
    out, sheet = tmp_path / "set", tmp_path / "pictures" / "sheet.png"
    assert tool.main([str(out), *SMALL, "--report", "--contact-sheet", str(sheet)]) == 0
    printed = capsys.readouterr().out
    assert "layout of sysu, seed 0" in printed
    assert "chance" in printed
    assert "gray pixels" in printed
    assert f"next: train on it with the data root set to {out}" in printed
    assert sheet.is_file()
    table = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.split()[0] in ("test", "all")}
    assert table["test"][0] == "2"
    assert int(table["all"][1]) + int(table["all"][2]) == len(list(out.rglob("*.jpg")))


def test_an_old_set_can_be_reported_on_without_drawing(tool, tmp_path, capsys):
    out = tmp_path / "set"
    assert tool.main([str(out), *SMALL, "--layout", "regdb"]) == 0
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert tool.main([str(out), "--no-draw", "--report"]) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    assert "RegDB, infrared to visible" in capsys.readouterr().out


def test_regdb_has_ten_images_of_everybody_by_default(tool, tmp_path):
    assert (
        tool.main([str(tmp_path / "set"), "--layout", "regdb", "--ids", "4", "--size", "32x16", "--workers", "0"]) == 0
    )
    assert len(list((tmp_path / "set" / "Thermal" / "1").iterdir())) == 10


def test_counts_and_lists_come_from_files(tool, tmp_path):
    counts = {f"cam{c}": {"0003": 1, "0010": 2} for c in range(1, 7)}
    (tmp_path / "counts.json").write_text(json.dumps(counts))
    for name, ids in (("train", "3"), ("val", ""), ("test", "10")):
        (tmp_path / f"{name}_id.txt").write_text(ids + "\n")
    files = ["--counts", str(tmp_path / "counts.json"), "--id-lists", str(tmp_path)]
    assert tool.main([str(tmp_path / "set"), *files, "--size", "32x16", "--workers", "0"]) == 0
    plan = read_plan(tmp_path / "set")
    assert plan.split == dict(train=[3], val=[], test=[10])
    assert len(plan.frames) == 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "64"], "must look like 128x64"),
        (["--ids", "2"], "at least 4 people"),
        (["--counts", "absent.json"], "absent.json"),
        (["--id-lists", "absent"], "which does not exist"),
        (["--no-draw"], "synthetic.json not found"),
    ],
)
def test_mistakes_end_with_a_message_and_status_1(tool, tmp_path, capsys, arguments, message):
    assert tool.main([str(tmp_path / "set"), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_counts_of_another_shape_are_named(tool, tmp_path, capsys):
    for text, message in (('{"cam1": {"1": 2}}', "cameras cam1 to cam6"), ("[1, 2]", "must look like")):
        (tmp_path / "counts.json").write_text(text)
        assert tool.main([str(tmp_path / "set"), "--counts", str(tmp_path / "counts.json")]) == 1
        assert message in capsys.readouterr().err


def test_an_existing_folder_is_refused(tool, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("text")
    assert tool.main([str(tmp_path), *SMALL]) == 1
    assert "not a synthetic data set" in capsys.readouterr().err
