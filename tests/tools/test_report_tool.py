"""The report tool: from features, from results, without images."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tool_modules import load_tool
from toy_people import toy_table

from mscmreid.evaluation import SYSUProtocol, evaluate, save_results
from mscmreid.gate import DamagedFileError


@pytest.fixture(scope="module")
def tool():
    return load_tool("report")


@pytest.fixture
def features(tmp_path):
    toy_table(tmp_path).save(tmp_path / "F.npz")
    return str(tmp_path / "F.npz")


def test_a_report_of_features_has_pictures(tool, features, tmp_path, capsys):
    tool.main(
        [features, str(tmp_path / "out" / "R.html"), "--data-root", str(tmp_path), "--feature", "feat_bn", "feat_pool"]
    )
    html = (tmp_path / "out" / "R.html").read_text(encoding="utf-8")
    assert html.count('<article id="result') == 4 and html.count("data:image/jpeg") > 50  # two protocols, two features
    assert html.count('<article id="space') == 2 and html.count('id="sprite') == 1  # the pictures are there once
    assert "needs no other file" in capsys.readouterr().out


def test_no_images_needs_no_data_root(tool, tmp_path):
    toy_table().save(tmp_path / "F.npz")
    with pytest.raises(ValueError, match="--data-root DIR, or --no-images"):
        tool.main([str(tmp_path / "F.npz"), str(tmp_path / "R.html")])
    tool.main([str(tmp_path / "F.npz"), str(tmp_path / "R.html"), "--no-images", "--protocol", "all"])
    html = (tmp_path / "R.html").read_text(encoding="utf-8")
    assert html.count('<article id="result') == 1 and "<img" not in html


def test_a_report_of_a_results_file(tool, tmp_path):
    evaluations = evaluate(toy_table(), [SYSUProtocol(trials=2)], ["feat_bn", "feat_pool"])
    save_results([evaluation.result for evaluation in evaluations], tmp_path / "R.json")
    tool.main([str(tmp_path / "R.json"), str(tmp_path / "R.html")])
    assert (tmp_path / "R.html").read_text(encoding="utf-8").count("<article") == 2


def test_a_failed_report_leaves_the_old_one(tool, features, tmp_path):
    out = tmp_path / "R.html"
    out.write_text("old")
    with pytest.raises(FileNotFoundError):
        tool.main([features, str(out), "--data-root", str(tmp_path / "elsewhere")])
    assert out.read_text() == "old" and not list(tmp_path.glob(".R.html*"))


@pytest.mark.parametrize("how", ["upwards", "absolute", "link"])
def test_no_image_outside_the_named_folder_gets_into_a_report_or_a_picture(tool, how, tmp_path):
    """Nor one of the folder that the file names."""
    root, secret = tmp_path / "root", tmp_path / "secret.png"
    table = toy_table(root, frames=1)
    (root / table.path[0]).rename(secret)
    (root / "link.png").symlink_to(secret)
    table.path[0] = dict(upwards="../secret.png", absolute=str(secret), link="link.png")[how]
    table.meta["data_root"] = str(tmp_path)
    table.save(tmp_path / "F.npz")
    draw = load_tool("analysis_tools/draw_rankings")
    features = str(tmp_path / "F.npz")
    many = ["--queries", "99", "--top", "99"]
    for run in (
        lambda: tool.main([features, str(tmp_path / "R.html"), "--data-root", str(root), *many]),
        lambda: draw.main([features, str(tmp_path / "R.png"), "--data-root", str(root), *many]),
    ):
        with pytest.raises(DamagedFileError, match="only files below the data root"):
            run()
    with pytest.raises(ValueError, match=r"give --data-root DIR.* \(the file says they are in"):
        tool.main([features, str(tmp_path / "R.html")])
    assert not list(tmp_path.glob("R.*"))


def test_conditions_of_the_same_checkpoint_are_added(tool, features, tmp_path):
    table = toy_table()
    clean = [evaluation.result for evaluation in evaluate(table, [SYSUProtocol(), SYSUProtocol("indoor")], ["feat_bn"])]
    condition = dict(corruption="fog", family="weather", severity=1, modality="visible")
    save_results([*clean, *(replace(result, condition=condition) for result in clean)], tmp_path / "C.json")
    options = ["--data-root", str(tmp_path), "--conditions", str(tmp_path / "C.json"), "--embedding", "none"]
    tool.main([features, str(tmp_path / "R.html"), *options])
    html = (tmp_path / "R.html").read_text(encoding="utf-8")
    assert html.count('id="conditions-') == 2 and "<script" not in html
    tool.main([str(tmp_path / "C.json"), str(tmp_path / "R.html")])
    html = (tmp_path / "R.html").read_text(encoding="utf-8")
    assert html.count('<article id="result') == 2 and html.count('id="conditions-') == 2
