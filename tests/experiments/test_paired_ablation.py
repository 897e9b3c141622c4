"""The paired test of every line of an ablation against its base."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from mscmreid.evaluation import RegDBProtocol, SYSUProtocol, evaluate, save_results
from mscmreid.experiments.paired import choose_bases, paired_tables, systems_of
from mscmreid.experiments.runs import Plan, Record

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toy_people import toy_table


def finished_runs(tmp_path, noises, seeds=(0, 1), splits=(), protocol=None) -> list:
    """Runs with results of made-up features; a config's name -> the noise of its features."""
    for name in noises:
        (tmp_path / f"{name}.py").write_text(
            f"model = dict(name='{name}')\ntrain_dataloader = val_dataloader = test_dataloader = None\n"
        )
    configs = [tmp_path / f"{name}.py" for name in noises]
    runs = Plan(configs, tmp_path / "out", seeds, splits).runs()
    for run in runs:
        table = toy_table(num_ids=12, noise=noises[run.config.stem])
        rng = np.random.default_rng([run.seed, run.split or 0, *run.config.stem.encode()])
        for name, values in table.features.items():
            moved = values + 0.15 * rng.normal(size=values.shape)
            table.features[name] = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
        table.meta["split"] = str(run.split or "test")
        evaluations = evaluate(table, [protocol or SYSUProtocol(trials=3)], ["feat_bn", "feat_pool"])
        run.folder.mkdir(parents=True)
        Record(run).write()
        per_query = [evaluation.per_query(table) for evaluation in evaluations]
        save_results([evaluation.result for evaluation in evaluations], run.results, per_query)
    return runs


def test_bases_are_one_for_all_or_one_for_each():
    names = ["one", "two", "three"]
    assert choose_bases(names, ["two"]) == {"one": "two", "three": "two"}
    assert choose_bases(names, ["one", "three=two"]) == {"two": "one", "three": "two"}
    assert choose_bases(names, ["three=one"]) == {"three": "one"}
    for wrong in (["four"], ["one=four"], ["four=one"], ["one=one"]):
        with pytest.raises(ValueError, match="baseline must be one of"):
            choose_bases(names, wrong)
    with pytest.raises(ValueError, match="one baseline for all"):
        choose_bases(names, ["one", "two"])


def test_every_config_is_tested_against_its_base_over_seeds_and_people(tmp_path):
    runs = finished_runs(tmp_path, dict(base=3.0, same=3.0, good=0.6), seeds=(0, 1, 2))
    text = paired_tables(runs, choose_bases(["base", "same", "good"], ["base"]))
    rows = {tuple(line.split(" | ")[:2]): line for line in text.splitlines() if line.startswith("| ")}
    assert rows["| good - base", "mAP"].endswith("| better |")
    assert rows["| same - base", "mAP"].endswith("| not distinguishable |")
    assert "12 people, over seeds and people" in text and "| p (Holm) |" in text
    spread = next(line for line in text.splitlines() if line.startswith("| all-search single-shot agw | good | mAP |"))
    assert spread.endswith("| 3 |")


def test_one_seed_is_tested_over_people_and_the_text_says_what_that_leaves_out(tmp_path):
    runs = finished_runs(tmp_path, dict(base=3.0, good=0.6), seeds=(0,))
    text = paired_tables(runs, {"good": "base"})
    assert "over people" in text and "Of one training each" in text and "| p (Holm) |" not in text
    assert "What one training's number depends on" not in text


def test_what_cannot_be_compared_is_listed(tmp_path):
    runs = finished_runs(tmp_path, dict(base=3.0, good=0.6, old=1.0), seeds=(0, 1))
    shutil.rmtree(runs[2].folder)  # good has one seed left
    for run in runs[4:]:
        run.results.with_suffix(".queries.npz").unlink()
    systems, lacking = systems_of(runs)
    assert {system.name: len(system.runs) for system in systems} == dict(base=2, good=1)
    assert len(lacking) == 2
    text = paired_tables(runs, {"good": "base", "old": "base"})
    assert "- good - base: 1 and 2 trainings; two of each are needed" in text
    assert "- old - base: no test with per-query values of old" in text
    assert "old, seed 1: " in text and "| better |" not in text


def test_splits_are_tested_together(tmp_path, monkeypatch):
    monkeypatch.setattr(Plan, "_check", lambda self, paths: None)  # the toy configs have no RegDB
    protocol = RegDBProtocol("infrared-to-visible")
    runs = finished_runs(tmp_path, dict(base=3.0, good=0.6), seeds=(0,), splits=(1, 2, 3), protocol=protocol)
    monkeypatch.setattr("mscmreid.experiments.table.set_test_options", lambda *args: None)
    systems, lacking = systems_of(runs)
    assert not lacking and [len(system.runs) for system in systems] == [1, 1]
    tested = systems[0].runs[0][0]
    assert len(tested.queries) == 3 and tested.people.counts.shape == (3, 12)
    text = paired_tables(runs, {"good": "base"})
    assert f"{tested.result.mean['mAP']:.2f}" in text
    assert next(line for line in text.splitlines() if "good - base | mAP" in line).endswith("| better |")
