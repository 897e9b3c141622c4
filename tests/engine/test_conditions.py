"""Tests under bad conditions: the same numbers as from one whole pass, resumed where they were cut off."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmengine.dataset import Compose
from PIL import Image
from tool_modules import load_tool

from mscmreid.apis import conditions as conditions_module
from mscmreid.apis import test_conditions as run_conditions
from mscmreid.apis.test import prepare_test, ranking_metric
from mscmreid.corruptions import corrupt
from mscmreid.datasets import SYSUMM01, LoadImage, corrupted_rows
from mscmreid.datasets.corrupted import LoadCorruptedImage
from mscmreid.evaluation import load_results
from mscmreid.evaluation.conditions import family_table, severity_table, summarize

run_conditions.__test__ = False  # pytest would take the function for a test
NAMES = ["gaussian_noise", "fog", "dead_pixels"]


class PixelFeatures:
    """In the place of the network: an image's pixels, which no batch and no machine changes."""

    def test_step(self, batch):
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
            values = image.double().flatten() - 100
            for name in ("feat_bn", "feat_pool"):
                sample.set_field((values / values.square().sum().sqrt()).float(), name)
                values = values.square()
        return batch["data_samples"]


@pytest.fixture(autouse=True)
def pixels_for_features(monkeypatch):
    monkeypatch.setattr("mscmreid.engine.runner.loops.ReIDTestLoop.inference_model", lambda self: PixelFeatures())


def test_rows_are_corrupted_before_they_are_resized(sysu_folder):
    dataset = SYSUMM01(str(sysu_folder), "test", (32, 16), check_counts=False)
    clean = [dataset[i]["inputs"] for i in range(len(dataset))]
    changed = corrupted_rows(dataset, "fog", 2, ["visible"])
    rows = dataset.rows()
    visible = np.flatnonzero(rows["modality"] == "visible")
    assert changed.rows()["path"] == [rows["path"][row] for row in visible]
    for position in (0, len(changed) - 1):
        path = changed.rows()["path"][position]
        image = corrupt(np.asarray(Image.open(sysu_folder / path).convert("RGB")), "fog", 2, path)
        expected = np.asarray(Image.fromarray(image).resize((16, 32), Image.Resampling.LANCZOS))
        item = changed[position]
        assert (item["inputs"].numpy() == expected.transpose(2, 0, 1)).all()
        assert item["data_samples"].sample_idx == position
    assert all((dataset[i]["inputs"] == clean[i]).all() for i in range(len(dataset)))
    with pytest.raises(ValueError, match="no infrared image to corrupt"):
        corrupted_rows(changed, "fog", 2, ["infrared"])


class _CorruptSome:
    """One pass over all rows, each by itself."""

    def __init__(self, name, severity, modalities):
        self.corrupted, self.clean = LoadCorruptedImage(name, severity), LoadImage()
        self.modalities = modalities

    def __call__(self, row):
        return (self.corrupted if row["modality"] in self.modalities else self.clean)(row)


@pytest.mark.parametrize(
    ("name", "variant", "modalities"),
    [
        ("gaussian_noise", "visible", ["visible"]),
        ("fog", "both", ["visible", "infrared"]),
        ("dead_pixels", "visible", ["infrared"]),
    ],
)
def test_numbers_are_those_of_one_whole_pass(toy_config, name, variant, modalities):
    results = run_conditions(toy_config(), "untrained", [name], [4], variant)
    clean, corrupted = results[:4], results[4:]
    assert [r.condition for r in clean] == [None] * 4
    assert {r.condition["modality"] for r in corrupted} == {"both" if len(modalities) == 2 else modalities[0]}
    assert f"with {name} 4 on" in corrupted[0].setting

    runner = prepare_test(toy_config(experiment_name=f"whole_{name}"), "untrained")
    runner.test_loop.dataloader.dataset.pipeline = Compose([_CorruptSome(name, 4, modalities)])
    runner.test()
    whole = ranking_metric(runner).last_results
    assert [r.values for r in corrupted] == [r.values for r in whole]
    assert [r.values for r in corrupted] != [r.values for r in clean]


def test_a_test_goes_on_where_it_was_cut_off(toy_config, tmp_path, monkeypatch, capfd):
    work = tmp_path / "run"
    done, run = [], conditions_module._run

    def dies_at_the_third(runner, condition):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(condition.name)
        return run(runner, condition)

    monkeypatch.setattr(conditions_module, "_run", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_conditions(toy_config(), "untrained", NAMES, [1, 5])
    assert sorted(p.stem for p in (work / "conditions_untrained").iterdir()) == sorted(done)
    monkeypatch.setattr(
        conditions_module, "_run", lambda runner, condition: (done.append(condition.name), run(runner, condition))[1]
    )
    results = run_conditions(toy_config(experiment_name="again"), "untrained", NAMES, [1, 5])
    assert len(done) == len(set(done)) == 6 and len(results) == 4 * 7
    assert load_results(work / "conditions_untrained.json") == results
    assert Image.open(work / "conditions_untrained.png").size[0] > 500

    # results of other options are no results of this run
    run_conditions(toy_config(experiment_name="flip"), "untrained", ["fog"], [1], flip=True)
    assert done[6:] == ["fog_1_visible"]
    assert "made anew" in "".join(p.read_text() for p in work.glob("*/*.log"))


def test_the_tool_prints_tables_beside_clean_numbers(toy_config, tmp_path, monkeypatch):
    cfg = toy_config(log_level="INFO")
    cfg.dump(tmp_path / "config.py")
    options = ["--corruptions", "fog", "noise", "--severities", "2", "--corrupt", "both", "--out-json"]
    load_tool("test").main([str(tmp_path / "config.py"), "untrained", *options, str(tmp_path / "r.json")])
    content = json.loads((tmp_path / "r.json").read_text())
    assert len(content["results"]) == 4 * 6 and set(content["summary"][0]["families"]) == {"noise", "weather"}
    text = "".join(p.read_text() for p in (tmp_path / "run").glob("*/*.log"))
    assert "fog 2: mAP" in text and "corrupted, mean" in text and "mAP at severity  clean     2  mean" in text


def test_severities_without_corruptions_are_a_mistake(capsys):
    with pytest.raises(SystemExit):
        load_tool("test").parse_args(["c.py", "x.pth", "--severities", "1"])
    assert "go with --corruptions" in capsys.readouterr().err


def test_means_are_over_corruptions_and_severities(toy_config):
    results = run_conditions(toy_config(), "untrained", NAMES, [2, 4])
    clean, corrupted = results[:4], results[4:]
    summary = summarize(clean, corrupted)[1]
    members = [r for r in corrupted if r.mode == clean[1].mode and r.feature == clean[1].feature]
    of = {name: np.mean([r.mean["mAP"] for r in members if r.condition["corruption"] == name]) for name in NAMES}
    assert {name: values["mAP"] for name, values in summary["corruptions"].items()} == pytest.approx(of)
    assert summary["families"]["weather"]["mAP"] == pytest.approx(of["fog"])
    # the protocol's mean is over the corruptions of visible images; infrared's own stand beside it
    assert summary["mean"]["mAP"] == pytest.approx((of["fog"] + of["gaussian_noise"]) / 2)
    assert f"{summary['mean']['mAP']:.1f}" in family_table([summary])
    assert severity_table(summary).splitlines()[1].split() == ["mAP", "at", "severity", "clean", "2", "4", "mean"]
    with pytest.raises(ValueError, match="no result under a bad condition"):
        summarize(clean, [])
