"""RegDB's splits as runs: trained, cut off, resumed, averaged; and what is refused."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.config import Config
from tool_modules import load_tool

from mscmreid.apis import load_config, train
from mscmreid.apis import test as run_test
from mscmreid.engine.hooks.reproducible_hook import ReproducibleHook
from mscmreid.engine.runner.checkpoint import read_checkpoint
from mscmreid.evaluation import Result, load_results, over_splits, side_by_side, split_table, terminal_table
from mscmreid.evaluation.results import MEASURES
from mscmreid.experiments.runs import Plan, Record, do_run, is_finished
from mscmreid.experiments.table import collect_rows, write_splits
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
        "experiment_name": f"toy{next(_counter)}",
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
def toy(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config as a file."""
    path = tmp_path_factory.mktemp("config") / "toy_regdb.py"
    config(data).dump(path)
    return path


def do(plan: Plan) -> list[str]:
    """What is not finished, by the tools' own code in this process; the commands that were run."""
    commands = []

    def call(command: Sequence[str], log: Path) -> int:
        script = Path(command[1])
        commands.append(f"{script.stem} {next(o for o in command if o.startswith('split_id='))}")
        try:
            # two runs of one second would share their log otherwise
            with mock.patch.object(sys, "argv", [*command[1:], f"experiment_name=toy{next(_counter)}"]):
                load_tool(script.stem).main()
        except (ValueError, FileNotFoundError) as error:
            log.write_text(f"error: {error}")
            return 1
        return 0

    failures = [do_run(run, ROOT / "tools", call) for run in plan.runs() if not is_finished(run)]
    if any(failures):
        raise ValueError("; ".join(filter(None, failures)))
    return commands


def summary(plan: Plan) -> tuple[list[Result], str]:
    """The results over the splits, and the text beside them."""
    (text,) = write_splits(plan.runs())
    return load_results(text.with_suffix(".json")), text.read_text()


@pytest.fixture(scope="module")
def straight(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The splits 1 and 2, done in one go."""
    plan = Plan([toy], tmp_path_factory.mktemp("straight"), splits=(1, 2), which="best")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmengine.runner.runner.collect_env", dict)
        assert do(plan) == ["train split_id=1", "test split_id=1", "train split_id=2", "test split_id=2"]
    return plan


def test_every_split_is_trained_tested_in_both_directions_and_averaged(straight):
    results, _ = summary(straight)
    assert [(r.direction, r.feature) for r in results] == [
        (direction, feature)
        for direction in ("visible-to-infrared", "infrared-to-visible")
        for feature in ("feat_bn", "feat_pool")
    ]
    by_split = [load_results(run.results) for run in straight.runs()]
    for row, result in enumerate(results):
        assert (result.split, result.splits, result.num_queries) == ("1,2", [1, 2], [12, 12])
        for measure in MEASURES:
            values = [rows[row].mean[measure] for rows in by_split]
            assert result.values[measure] == values
            assert result.mean[measure] == pytest.approx(sum(values) / 2)
            assert result.std[measure] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert all(rows[0].split == str(split) and rows[0].splits is None for split, rows in enumerate(by_split, 1))


def test_the_table_has_every_split_and_says_that_splits_are_missing(straight):
    results, text = summary(straight)
    for result in results:
        assert terminal_table([result]).splitlines()[-1].split()[:2] == [result.direction, result.feature]
        assert split_table(result) in text
    assert "RegDB splits 1,2 |" in text and "2 splits" in text
    assert "Only 2 of the 10 splits" in text


def test_the_mean_over_the_splits_is_a_seed_s_value_in_the_table(straight):
    (row,) = collect_rows(straight.runs())
    results, _ = summary(straight)
    assert row.values("visible-to-infrared", "R1") == [results[0].mean["R1"]] and row.seeds == [0]
    assert len(Record(straight.runs()[0]).content["attempts"]) == 1 and row.seconds[0][1]
    with_a_third = replace(straight, splits=(1, 2, 3))
    assert collect_rows(with_a_third.runs())[0].seeds == [] and write_splits(with_a_third.runs()) == []


def test_the_split_is_in_the_checkpoint(straight):
    for run in straight.runs():
        path = load_results(run.results)[0].checkpoint
        assert Path(path).name.startswith("best_reid_R1_epoch_")
        assert read_checkpoint(path)["meta"]["dataset_meta"]["split"] == str(run.split)
        assert torch.load(path, weights_only=True)  # numbers, texts and tensors only: anyone can read it


def test_a_run_that_is_cut_off_goes_on_where_it_was(straight, tmp_path, monkeypatch):
    seed_and_go = ReproducibleHook.before_train_iter
    plan = replace(straight, work_dir=tmp_path)
    first, second = plan.runs()

    def kill_in_the_second_split(hook, runner, *args, **kwargs):
        if runner.work_dir.endswith("split_2") and runner.iter == 3:
            raise Killed
        seed_and_go(hook, runner, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ReproducibleHook, "before_train_iter", kill_in_the_second_split)
        with pytest.raises(Killed):
            do(plan)
    written = first.results.stat().st_mtime_ns
    assert (second.folder / "epoch_1.pth").exists() and not second.results.exists()
    assert write_splits(plan.runs()) == []

    assert do(plan) == ["train split_id=2", "test split_id=2"] and first.results.stat().st_mtime_ns == written
    states = [read_checkpoint(p.runs()[1].folder / "epoch_3.pth")["state_dict"] for p in (plan, straight)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert [r.values for r in summary(plan)[0]] == [r.values for r in summary(straight)[0]]


def test_a_run_cut_off_before_the_test_is_only_tested(straight, tmp_path):
    plan = replace(straight, work_dir=tmp_path, splits=(1,), which="last")
    shutil.copytree(straight.runs()[0].folder, plan.runs()[0].folder)
    assert do(plan) == ["test split_id=1"]
    assert Path(load_results(plan.runs()[0].results)[0].checkpoint).name == "epoch_3.pth"


def test_another_test_of_the_same_training_has_results_of_its_own(straight, tmp_path):
    plan = replace(straight, work_dir=tmp_path, splits=(1,), flip=True)
    shutil.copytree(straight.runs()[0].folder, plan.runs()[0].folder)
    assert do(plan) == ["test split_id=1"] and plan.runs()[0].results.name == "results_best_flip.json"
    assert all(result.flip for result in summary(plan)[0])
    assert do(replace(plan, flip=False)) == []


def test_checkpoints_are_tested_without_training(straight, tmp_path):
    for run in straight.runs():
        shutil.copy(next(run.folder.glob("best_*.pth")), tmp_path / f"own{run.split}.pth")
    plan = replace(straight, splits=(2, 1), checkpoints=str(tmp_path / "own{split}.pth"), work_dir=tmp_path / "run")
    assert do(plan) == ["test split_id=2", "test split_id=1"]
    results, expected = summary(plan)[0], summary(straight)[0]
    assert [r.values for r in results] == [r.values for r in expected]
    assert [r.checkpoint_sha256 for r in results] == [r.checkpoint_sha256 for r in expected]
    assert results[0].checkpoint == plan.checkpoints
    assert do(plan) == []

    shutil.copy(tmp_path / "own2.pth", tmp_path / "own1.pth")
    with pytest.raises(ValueError, match="made with another checkpoint"):
        do(plan)
    with pytest.raises(ValueError, match=r"own1\.pth was trained on split 2 of RegDB, the config says split 1"):
        do(replace(plan, work_dir=tmp_path / "other"))


def test_a_checkpoint_that_does_not_say_its_split_is_named(straight, tmp_path):
    content = read_checkpoint(next(straight.runs()[0].folder.glob("best_*.pth")))
    torch.save(dict(state_dict=content["state_dict"]), tmp_path / "plain1.pth")
    plan = replace(straight, splits=(1,), checkpoints=str(tmp_path / "plain{split}.pth"), work_dir=tmp_path)
    do(plan)
    assert "splits [1] do not say which split" in summary(plan)[1]


def test_runs_of_another_config_are_refused(straight):
    other = replace(straight, options=["train_cfg.max_epochs=2"], values={"train_cfg.max_epochs": 2})
    with pytest.raises(ValueError, match=r"holds a run of .* with other options"):
        do(other)


def test_testing_and_resuming_with_another_split_are_refused(data, straight, tmp_path):
    checkpoint = straight.runs()[0].folder / "epoch_3.pth"
    with pytest.raises(ValueError, match=r"trained on split 1 of RegDB, the config says split 2.*split_id=1"):
        run_test(config(data, split_id=2), checkpoint, work_dir=str(tmp_path))
    with pytest.raises(ValueError, match="trained on split 1 of RegDB, the config says split 2"):
        train(config(data, split_id=2, train_cfg__max_epochs=4), work_dir=str(tmp_path), resume=str(checkpoint))


def test_validating_on_another_split_than_training_is_refused(data, tmp_path):
    cfg = config(data, val_dataloader__dataset__split_id=3)
    with pytest.raises(ValueError, match="trained on split 1 of RegDB, the config says split 3"):
        train(cfg, work_dir=str(tmp_path))


@pytest.mark.parametrize(
    "changes, match",
    [
        (dict(splits=(0, 1)), "from 1 to 10"),
        (dict(splits=(2, 2)), "from 1 to 10"),
        (dict(which="third"), "'last', 'best'"),
        (dict(checkpoints="one.pth"), r"for each split, with \{split\} in it"),
        (dict(values={"train_dataloader.dataset.split_id": 3}), "choose with --seeds and --splits"),
        (dict(configs=[ROOT / "configs" / "mscm_sysu.py"]), "must be RegDB with a split_id"),
    ],
)
def test_plans_that_cannot_work_are_errors(toy, tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        Plan(**{**dict(configs=[toy], work_dir=tmp_path, splits=(1, 2)), **changes}).runs()


def test_a_missing_checkpoint_is_told_before_anything_is_run(straight, tmp_path):
    shutil.copy(next(straight.runs()[0].folder.glob("best_*.pth")), tmp_path / "own1.pth")
    with pytest.raises(FileNotFoundError, match=r"split 2: expected a checkpoint at .*own2\.pth"):
        replace(straight, checkpoints=str(tmp_path / "own{split}.pth"), work_dir=tmp_path / "run").runs()
    assert not (tmp_path / "run").exists()


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
def test_the_command_line_does_splits_and_goes_on_with_more(data, tmp_path):
    config(data, train_cfg__max_epochs=1, train_cfg__val_begin=1).dump(tmp_path / "toy_regdb.py")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def call(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / "tools" / "analysis_tools" / "ablate.py"), str(tmp_path / "toy_regdb.py")]
        command += ["--work-dir", str(tmp_path / "run"), "--which", "best", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    shared = call("--splits", "1", "2", "--processes", "2")
    assert shared.returncode == 0, shared.stdout + shared.stderr
    assert shared.stdout.count("RegDB splits 1,2") == 1
    done = call("--splits", "1", "2", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RegDB splits 1-3" in done.stdout and "3 splits" in done.stdout and "Only" in done.stdout
    assert done.stdout.count("not done again") == 2
    left = call("--splits", "--print-commands")  # all ten
    assert re.findall(r"--splits (\d+)", left.stdout) == [str(n) for n in range(4, 11)], left.stdout
    results = load_results(tmp_path / "run" / "toy_regdb" / "seed_0" / "splits_best.json")
    assert [(r.splits, r.num_queries[0]) for r in results] == [([1, 2, 3], 12)] * 4
    for arguments, message in ((("--splits", "11"), "splits must be"), (("--splits", "1"), "split_id is set for each")):
        wrong = call(*arguments, *(["--cfg-options", "split_id=3"] if "1" in arguments else []))
        assert wrong.returncode == 1 and message in wrong.stderr.strip().splitlines()[-1]
