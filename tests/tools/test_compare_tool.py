"""tools/analysis_tools/compare.py: two or more systems from files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mscmreid.evaluation import SYSUProtocol, evaluate, save_results

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tool_modules import load_tool
from toy_people import toy_table


@pytest.fixture(scope="module")
def tool():
    return load_tool("analysis_tools/compare")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Feature files: a good system, a bad one, three trainings each, and images."""
    folder = tmp_path_factory.mktemp("systems")
    toy_table(folder / "data", num_ids=12)
    for name, noise in (("good", 0.6), ("bad", 3.0)):
        for seed in range(3):
            table = toy_table(num_ids=12, noise=noise)
            rng = np.random.default_rng([seed, *name.encode()])
            for feature, values in table.features.items():
                moved = values + 0.1 * rng.normal(size=values.shape)
                table.features[feature] = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
            table.save(folder / f"{name}_{seed}.npz")
    return folder


def as_results(files, name, path):
    """A results file of a feature file."""
    from mscmreid.evaluation import FeatureTable

    table = FeatureTable.load(files / name)
    evaluations = evaluate(table, [SYSUProtocol(), SYSUProtocol("indoor")], ["feat_bn", "feat_pool"])
    save_results([e.result for e in evaluations], path, [e.per_query(table) for e in evaluations])
    return path


def test_two_feature_files_table_json_and_picture(tool, files, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture, out = tmp_path / "c.png", tmp_path / "c.json"
    options = ["--dataset", "sysu", "--data-root", str(files / "data"), "--queries", "4", "--top", "3"]
    both = [f"good={files}/good_0.npz", f"bad={files}/bad_0.npz"]
    tool.main([*both, *options, "--out", str(picture), "--out-json", str(out)])
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("good - bad") and " mAP " in line)
    assert line.endswith("  better") and "One training each" in printed
    content = json.loads(out.read_text())
    first = next(entry for entry in content["comparisons"] if entry["measure"] == "mAP")
    assert first["difference"] == pytest.approx(first["first_value"] - first["second_value"])
    assert first["low"] < first["difference"] < first["high"] and first["p"] < 0.05 and first["verdict"] == "better"
    assert first["over"] == "people" and content["spreads"] == []
    with Image.open(picture) as image:
        assert image.width > 1000 and image.height > 1000  # the charts, and four queries below them


def test_several_trainings_are_compared_over_seeds_and_people(tool, files, capsys):
    systems = ["--system", f"good={files}/good_*.npz", "--system", f"bad={files}/bad_*.npz"]
    tool.main([*systems, "--dataset", "sysu", "--protocol", "all", "--measures", "mAP"])
    printed = capsys.readouterr().out
    assert "intervals and p over seeds and people" in printed and "another seed" in printed
    assert "One training each" not in printed


def test_a_training_against_another_of_the_same_system_is_not_distinguishable(tool, files, capsys):
    tool.main([f"{files}/good_0.npz", f"{files}/good_1.npz", "--dataset", "sysu", "--protocol", "all"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("good_0 - good_1")]
    assert len(lines) == 3 and all(line.endswith("not distinguishable") for line in lines)


def test_results_files_and_folders_give_the_same_as_feature_files(tool, files, tmp_path, capsys):
    for name in ("good", "bad"):
        for seed in range(2):
            as_results(files, f"{name}_{seed}.npz", tmp_path / name / f"seed_{seed}" / "results_last.json")
    tool.main([str(tmp_path / "good"), str(tmp_path / "bad")])
    from_folders = capsys.readouterr().out
    assert "good - bad" in from_folders
    patterns = [f"{name}={files}/{name}_[01].npz" for name in ("good", "bad")]
    tool.main([*patterns, "--dataset", "sysu"])
    assert capsys.readouterr().out == from_folders
    one = tmp_path / "good" / "seed_0" / "results_last.json"
    tool.main([f"a={one}", f"b={tmp_path / 'bad' / 'seed_0'}"])
    assert "over people" in capsys.readouterr().out


def test_three_systems_are_corrected_for_their_number(tool, files, tmp_path, capsys):
    names = [f"{files}/{name}.npz" for name in ("good_0", "bad_0", "bad_1")]
    tool.main(
        [*names, "--dataset", "sysu", "--protocol", "all", "--measures", "mAP", "--out-json", str(tmp_path / "r.json")]
    )
    assert "p (Holm)" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())["comparisons"]
    assert [(c["first"], c["second"]) for c in found] == [("good_0", "bad_0"), ("good_0", "bad_1"), ("bad_0", "bad_1")]
    smallest = min(c["p"] for c in found)
    assert min(c["p_holm"] for c in found) == pytest.approx(3 * smallest)
    tool.main([*names, "--dataset", "sysu", "--against", "bad_0"])
    assert "good_0 - bad_1" not in capsys.readouterr().out


def test_what_differs_is_named(tool, files, tmp_path):
    good = f"{files}/good_0.npz"
    toy_table(num_ids=11).save(tmp_path / "fewer.npz")
    with pytest.raises(ValueError, match=r"not_standard .*44 of 3,803 queries"):
        tool.main([good, f"{tmp_path}/fewer.npz", "--dataset", "sysu"])
    table = toy_table(num_ids=12)
    table.path[table.path.index("cam3/0001/0002.png")] = "cam3/0001/0003.png"
    table.save(tmp_path / "renamed.npz")
    with pytest.raises(ValueError, match=r"their queries differ: 48 and 48, 2 images .*first: cam3/0001/0002\.png"):
        tool.main([good, f"{tmp_path}/renamed.npz", "--dataset", "sysu"])
    table = toy_table(num_ids=12)
    table.meta["split"] = "val"
    table.save(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"split \('test' in good_0, 'val' in other\)"):
        tool.main([good, f"{tmp_path}/other.npz", "--dataset", "sysu"])
    with pytest.raises(ValueError, match="needs two systems or more"):
        tool.main([good, "--dataset", "sysu"])
    with pytest.raises(FileNotFoundError, match="nothing is at"):
        tool.main([good, f"{tmp_path}/none_*.npz", "--dataset", "sysu"])
    with pytest.raises(ValueError, match="1 training"):
        tool.main([good, f"bad={files}/bad_*.npz", "--dataset", "sysu"])
    with pytest.raises(ValueError, match="--against must name one of"):
        tool.main([good, f"{files}/bad_0.npz", "--dataset", "sysu", "--against", "none"])
