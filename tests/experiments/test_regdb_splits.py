"""RegDB's splits in one command: trained, cut off, resumed, averaged; and what is refused."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from ports import free_port

from mscmreid.apis import load_config, train
from mscmreid.apis import test as run_test
from mscmreid.engine.hooks.reproducible_hook import ReproducibleHook
from mscmreid.engine.runner.checkpoint import read_checkpoint
from mscmreid.evaluation import Result, load_results, over_splits, side_by_side, split_table, terminal_table
from mscmreid.evaluation.results import MEASURES
from mscmreid.experiments.regdb_splits import regdb_splits
from mscmreid.synthetic import Options, make_plan, write_dataset

ROOT = Path(__file__).resolve().parents[2]
_counter = itertools.count()


class Killed(BaseException):
    """Stands for a signal: nothing in the run may catch it."""


@pytest.fixture(autouse=True)
def no_environment_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """MMEngine asks compilers for their versions at every start, which takes longer than these runs."""
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training and four test people in each of the ten splits."""
    root = tmp_path_factory.mktemp("data") / "RegDB"
    write_dataset(make_plan(Options("regdb", num_ids=8, images_per_camera=3, size=(32, 16))), root)
    return root


def options(data: Path, **more) -> dict:
    """Options of a run of seconds; '__' for the dots."""
    return {
        "data_root": str(data),
        "experiment_name": f"toy{next(_counter)}",  # two runs of one second would share their log otherwise
        "image_size": (32, 16),
        "model.backbone.depth": 18,
        "model.backbone.base_channels": 4,
        "model.backbone.init_cfg": None,
        "model.head.num_classes": 4,
        "train_dataloader.batch_sampler.num_ids": 2,
        "train_dataloader.batch_sampler.num_instances": 2,
        "train_dataloader.batch_sampler.num_batches": 2,
        "train_cfg.max_epochs": 3,
        "optim_wrapper.dtype": "float32",
        "optim_wrapper.optimizer.lr": 0.01,  # of more, two iterations from random weights may never recover
        "param_scheduler": [dict(type="MultiStepLR", milestones=[1], by_epoch=True)],
        "visualizer.vis_backends": [dict(type="LocalVisBackend")],
        "log_level": "ERROR",
        **{f"{part}_dataloader.num_workers": 0 for part in ("train", "val", "test")},
        **{f"{part}_dataloader.dataset.check_counts": False for part in ("train", "val", "test")},
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def config(data: Path, **more) -> Config:
    return load_config(ROOT / "configs" / "mscm_regdb.py", options(data, **more))


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder of the splits 1 and 2, done in one go."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmengine.runner.runner.collect_env", dict)
        regdb_splits(config(data), splits=(1, 2), work_dir=str(folder))
    return folder


def test_every_split_is_trained_tested_in_both_directions_and_averaged(straight):
    results = load_results(straight / "regdb_splits.json")
    assert [(r.direction, r.feature) for r in results] == [
        (direction, feature)
        for direction in ("visible-to-infrared", "infrared-to-visible")
        for feature in ("feat_bn", "feat_pool")
    ]
    by_split = [load_results(straight / f"split_{split}" / "results.json") for split in (1, 2)]
    for row, result in enumerate(results):
        assert (result.split, result.splits, result.num_queries) == ("1,2", [1, 2], [12, 12])
        for measure in MEASURES:
            values = [rows[row].mean[measure] for rows in by_split]
            assert result.values[measure] == values
            assert result.mean[measure] == pytest.approx(sum(values) / 2)
            assert result.std[measure] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert all(rows[0].split == str(split) and rows[0].splits is None for split, rows in enumerate(by_split, 1))


def test_the_table_has_every_split_and_says_that_splits_are_missing(straight):
    text = (straight / "regdb_splits.txt").read_text()
    for result in load_results(straight / "regdb_splits.json"):
        assert terminal_table([result]).splitlines()[-1].split()[:2] == [result.direction, result.feature]
        assert split_table(result) in text
    assert "RegDB splits 1,2 |" in text and "2 splits" in text
    assert "Only 2 of the 10 splits" in text


def test_the_split_is_in_the_checkpoint(straight):
    for split in (1, 2):
        path = load_results(straight / f"split_{split}" / "results.json")[0].checkpoint
        assert Path(path).name.startswith("best_reid_R1_epoch_")
        assert read_checkpoint(path)["meta"]["dataset_meta"]["split"] == str(split)
        assert torch.load(path, weights_only=True)  # numbers, texts and tensors only: anyone can read it


def test_a_run_that_is_cut_off_goes_on_where_it_was(data, straight, tmp_path, monkeypatch):
    seed_and_go = ReproducibleHook.before_train_iter

    def kill_in_the_second_split(hook, runner, *args, **kwargs):
        if runner.work_dir.endswith("split_2") and runner.iter == 3:
            raise Killed
        seed_and_go(hook, runner, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ReproducibleHook, "before_train_iter", kill_in_the_second_split)
        with pytest.raises(Killed):
            regdb_splits(config(data), splits=(1, 2), work_dir=str(tmp_path))
    first = tmp_path / "split_1" / "results.json"
    written = first.stat().st_mtime_ns
    assert (tmp_path / "split_2" / "epoch_1.pth").exists() and not (tmp_path / "split_2" / "results.json").exists()
    assert not (tmp_path / "regdb_splits.json").exists()

    started = []
    monkeypatch.setattr(
        "mscmreid.experiments.regdb_splits.train", lambda *args, **kw: started.append(train(*args, **kw))
    )
    resumed = regdb_splits(config(data), splits=(1, 2), work_dir=str(tmp_path))
    assert len(started) == 1 and first.stat().st_mtime_ns == written
    states = [read_checkpoint(folder / "split_2" / "epoch_3.pth")["state_dict"] for folder in (tmp_path, straight)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert [r.values for r in resumed] == [r.values for r in load_results(straight / "regdb_splits.json")]


def test_a_run_cut_off_before_the_test_is_only_tested(data, straight, tmp_path):
    shutil.copytree(straight / "split_1", tmp_path / "split_1")
    (tmp_path / "split_1" / "results.json").unlink()
    regdb_splits(config(data), splits=(1,), work_dir=str(tmp_path), which="last")
    last = load_results(tmp_path / "split_1" / "results.json")[0]
    assert Path(last.checkpoint).name == "epoch_3.pth"


def test_checkpoints_are_tested_without_training(data, straight, tmp_path, monkeypatch):
    def no_training(*args, **kwargs):
        raise AssertionError("trained")

    monkeypatch.setattr("mscmreid.experiments.regdb_splits.train", no_training)
    for split in (1, 2):
        shutil.copy(next((straight / f"split_{split}").glob("best_*.pth")), tmp_path / f"own{split}.pth")
    pattern = str(tmp_path / "own{split}.pth")
    results = regdb_splits(config(data), (2, 1), checkpoints=pattern, work_dir=str(tmp_path / "run"))
    expected = load_results(straight / "regdb_splits.json")
    assert [r.values for r in results] == [r.values for r in expected]
    assert [r.checkpoint_sha256 for r in results] == [r.checkpoint_sha256 for r in expected]
    assert results[0].checkpoint == pattern
    again = regdb_splits(config(data), (1, 2), checkpoints=pattern, work_dir=str(tmp_path / "run"))
    assert [r.values for r in again] == [r.values for r in expected]

    shutil.copy(tmp_path / "own2.pth", tmp_path / "own1.pth")
    with pytest.raises(ValueError, match="made with another checkpoint"):
        regdb_splits(config(data), (1, 2), checkpoints=pattern, work_dir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"own1\.pth was trained on split 2 of RegDB, the config says split 1"):
        regdb_splits(config(data), (1,), checkpoints=pattern, work_dir=str(tmp_path / "other"))


def test_a_checkpoint_that_does_not_say_its_split_is_named(data, straight, tmp_path):
    content = read_checkpoint(next((straight / "split_1").glob("best_*.pth")))
    torch.save(dict(state_dict=content["state_dict"]), tmp_path / "plain1.pth")
    pattern = str(tmp_path / "plain{split}.pth")
    regdb_splits(config(data), (1,), checkpoints=pattern, work_dir=str(tmp_path))
    assert "splits [1] do not say which split" in (tmp_path / "regdb_splits.txt").read_text()


def test_results_of_another_config_are_refused(data, straight):
    with pytest.raises(ValueError, match="made with another config"):
        regdb_splits(config(data, train_cfg__max_epochs=2), (1, 2), work_dir=str(straight))
    with pytest.raises(ValueError, match="other options of the test"):
        regdb_splits(config(data), (1, 2), work_dir=str(straight), flip=True)


def test_testing_and_resuming_with_another_split_are_refused(data, straight, tmp_path):
    checkpoint = straight / "split_1" / "epoch_3.pth"
    with pytest.raises(ValueError, match=r"trained on split 1 of RegDB, the config says split 2.*split_id=1"):
        run_test(config(data, split_id=2), checkpoint, work_dir=str(tmp_path))
    with pytest.raises(ValueError, match="trained on split 1 of RegDB, the config says split 2"):
        train(config(data, split_id=2, train_cfg__max_epochs=4), work_dir=str(tmp_path), resume=str(checkpoint))


def test_validating_on_another_split_than_training_is_refused(data, tmp_path):
    cfg = config(data, val_dataloader__dataset__split_id=3)
    with pytest.raises(ValueError, match="trained on split 1 of RegDB, the config says split 3"):
        train(cfg, work_dir=str(tmp_path))


@pytest.mark.parametrize(
    "arguments, match",
    [
        (dict(splits=(0, 1)), "from 1 to 10"),
        (dict(splits=(2, 2)), "from 1 to 10"),
        (dict(splits=()), "from 1 to 10"),
        (dict(which="third"), "'best' or 'last'"),
        (dict(checkpoints="one.pth"), r"with \{split\} in it"),
    ],
)
def test_arguments_that_cannot_work_are_errors(data, tmp_path, arguments, match):
    with pytest.raises(ValueError, match=match):
        regdb_splits(config(data), work_dir=str(tmp_path), **arguments)


def test_a_missing_checkpoint_is_told_before_anything_is_run(data, straight, tmp_path):
    shutil.copy(next((straight / "split_1").glob("best_*.pth")), tmp_path / "own1.pth")
    with pytest.raises(FileNotFoundError, match=r"split 2: expected a checkpoint at .*own2\.pth"):
        regdb_splits(config(data), (1, 2), checkpoints=str(tmp_path / "own{split}.pth"), work_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_config_of_another_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be RegDB with a split_id"):
        regdb_splits(load_config(ROOT / "configs" / "mscm_sysu.py"), work_dir=str(tmp_path))


def made_up(split: int, seed: int = 0, **fields) -> list[Result]:
    """Results of a split: two directions with random values."""
    random = np.random.default_rng([split, seed])
    return [
        Result(
            dataset="RegDB",
            split=str(split),
            protocol="RegDB",
            feature="feat_bn",
            exclusion="nothing",
            cmc_kind="plain",
            trials=[0],
            values={name: [float(random.uniform(0, 100))] for name in MEASURES},
            cmc=[random.uniform(0, 100, 20).tolist()],
            num_queries=[2060],
            num_left_out=[0],
            num_gallery=[2060],
            direction=direction,
            checkpoint_sha256=f"{split:064d}",
            **fields,
        )
        for direction in ("visible-to-infrared", "infrared-to-visible")
    ]


def test_mean_and_deviation_over_ten_splits_are_those_of_a_plain_loop():
    tables = {split: made_up(split) for split in range(1, 11)}
    results = over_splits([tables[split] for split in (3, 1, 2, 10, 4, 5, 9, 8, 7, 6)], "runs/{split}.pth", "abc")
    for row, result in enumerate(results):
        assert (result.split, result.splits) == ("1-10", list(range(1, 11)))
        for name in MEASURES:
            values = [tables[split][row].values[name][0] for split in range(1, 11)]
            mean = sum(values) / 10
            assert result.mean[name] == pytest.approx(mean)
            assert result.std[name] == pytest.approx((sum((v - mean) ** 2 for v in values) / 9) ** 0.5)
        assert (result.checkpoint, result.config_hash) == ("runs/{split}.pth", "abc")
        assert Result.from_json(result.to_json()) == result
    lines = split_table(results[1]).splitlines()
    assert len(lines) == 14 and lines[5].split() == ["4", *(f"{tables[4][1].values[m][0]:.2f}" for m in MEASURES)]


def test_what_cannot_be_averaged_is_refused():
    first, second = made_up(1), made_up(2)
    with pytest.raises(ValueError, match="split 1 was given twice"):
        over_splits([first, made_up(1, seed=1)], "x")
    with pytest.raises(ValueError, match="was not tested as split 1"):
        over_splits([first, [replace(row, flip=True) for row in second]], "x")
    with pytest.raises(ValueError, match="was not tested as split 1"):
        over_splits([first, second[:1]], "x")
    with pytest.raises(ValueError, match="one numbered split"):
        over_splits([[replace(row, split="test") for row in first]], "x")
    with pytest.raises(ValueError, match="several trials"):
        over_splits([[replace(row, trials=[0, 1]) for row in first]], "x")
    with pytest.raises(ValueError, match="at least one split"):
        over_splits([], "x")
    with pytest.raises(ValueError, match="not a result over splits"):
        split_table(first[0])


def test_a_split_and_a_mean_over_splits_cannot_stand_in_one_column():
    mean = over_splits([made_up(split) for split in (1, 2, 3)], "x")
    with pytest.raises(ValueError, match="splits"):
        side_by_side([("one", made_up(1)), ("mean", mean)])
    assert "1-3" in terminal_table(mean)


@pytest.mark.slow
def test_the_command_line_does_all_ten_splits(data, tmp_path):
    config(data, train_cfg__max_epochs=1, train_cfg__val_begin=1).dump(tmp_path / "toy_regdb.py")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    toy = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable, "PORT": free_port()}
    environment = {**os.environ, **toy}

    def call(*arguments: str, folder: str = "run", processes: int = 1) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / "tools" / "regdb_splits.py")]
        if processes > 1:
            command = [str(ROOT / "tools" / "dist_launch.sh"), str(processes), "regdb_splits.py"]
        command += [str(tmp_path / "toy_regdb.py"), "--work-dir", str(tmp_path / folder), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    done = call()
    assert done.returncode == 0, done.stderr
    assert "RegDB splits 1-10" in done.stdout and "10 splits" in done.stdout and "Only" not in done.stdout
    assert [r.splits for r in load_results(tmp_path / "run" / "regdb_splits.json")] == [list(range(1, 11))] * 4
    shared = call("--splits", "1", "2", folder="shared", processes=2)
    assert shared.returncode == 0, shared.stderr
    assert shared.stdout.count("RegDB splits 1,2") == 1  # one of the two processes reports
    assert load_results(tmp_path / "shared" / "regdb_splits.json")[0].num_queries == [12, 12]
    refused = call("--cfg-options", "split_id=3")
    assert refused.returncode == 2 and "--splits" in refused.stderr
    wrong = call("--splits", "11")
    assert wrong.returncode == 1 and wrong.stderr.strip().splitlines()[-1].startswith("error: splits must be")
