"""Training that counts iterations: checkpoints, best one, log and exact resume are those of training by epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from mmengine.hooks import Hook, SyncBuffersHook
from test_interruption import assert_same_run, noisy
from test_runs import run_and_kill
from toy_runs import logged_scalars

from mscmreid.apis import train
from mscmreid.engine.runner.checkpoint import find_checkpoints, read_checkpoint

OPTIONS = dict(
    train_cfg__by_epoch=False,
    train_cfg__max_iters=8,  # beside the base config's max_epochs
    train_cfg__val_begin=1,
    train_cfg__val_interval=4,
    train_dataloader__batch_sampler__num_batches=3,
    default_hooks__logger__interval=2,
    log_level="INFO",
    param_scheduler=[
        dict(type="LinearLR", start_factor=0.1, begin=0, end=6, by_epoch=False),
        dict(type="MultiStepLR", milestones=[2], by_epoch=True),
    ],
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Work folder of an uninterrupted run (made by the first test that asks)."""
    return tmp_path_factory.mktemp("straight")


@pytest.fixture
def straight_run(straight, toy_config):
    if not (straight / "iter_8.pth").exists():
        train(noisy(toy_config(straight, **OPTIONS)))
    return straight


def log_of(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*/*.log")))


def test_a_run_leaves_the_last_two_checkpoints_the_best_and_a_log_by_iterations(straight_run):
    names = sorted(path.name for path in straight_run.glob("*.pth"))
    assert names[1:] == ["iter_4.pth", "iter_8.pth"] and names[0].startswith("best_reid_R1_iter_")
    assert (straight_run / "last_checkpoint").read_text() == str(straight_run / "iter_8.pth")
    assert [path.name for path in find_checkpoints(straight_run)] == ["iter_8.pth", "iter_4.pth"]
    meta = read_checkpoint(straight_run / "iter_4.pth")["meta"]
    assert (meta["epoch"], meta["iter"], meta["batches"]) == (1, 4, 1)
    logged = logged_scalars(straight_run)
    assert {step for kind, step in logged if kind == "val"} == {4, 8}
    assert {step for kind, step in logged if kind == "train"} >= {2, 4, 6, 8}
    text = log_of(straight_run)
    assert "iteration 2/8  loss" in text and "val after iteration 4  reid/R1" in text
    assert "train_cfg.max_epochs does not count" in text


@pytest.mark.parametrize(
    "when",
    [dict(iteration=6), pytest.param(dict(validation_after=8), marks=pytest.mark.slow)],
    ids=["in the third epoch", "in the last validation"],
)
def test_a_killed_and_resumed_run_equals_a_straight_one_bitwise(straight_run, toy_config, tmp_path, when):
    run_and_kill(noisy(toy_config(**OPTIONS)), **when, unit="iter")
    assert not (tmp_path / "run" / "iter_8.pth").exists()
    train(noisy(toy_config(**OPTIONS)), resume="auto")
    assert_same_run(straight_run, tmp_path / "run", "iter_8.pth")
    best = [path.name for path in straight_run.glob("best_*")]
    assert [path.name for path in (tmp_path / "run").glob("best_*")] == best


def test_resuming_a_finished_run_says_so_and_what_to_do(straight_run, toy_config):
    runner = train(noisy(toy_config(straight_run, **OPTIONS)), resume="auto")
    text = next(Path(runner.log_dir).glob("*.log")).read_text()
    assert "nothing is left to train" in text and "--overwrite" in text and runner.iter == 8


def test_a_loop_of_mmengines_name_and_checkpoints_between_validations(toy_config, tmp_path):
    cfg = toy_config(**{**OPTIONS, "default_hooks__checkpoint__interval": 2})
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=5, val_begin=3, val_interval=3)
    cfg.default_hooks.checkpoint.by_epoch = False
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    train(cfg)
    names = {path.name for path in (tmp_path / "run").glob("iter_*.pth")}
    assert names == {"iter_2.pth", "iter_3.pth", "iter_4.pth", "iter_5.pth"}


def test_checkpoints_by_iterations_need_a_training_by_iterations(toy_config):
    with pytest.raises(ValueError, match=r"by_epoch=False goes with a training that counts iterations"):
        train(toy_config(default_hooks__checkpoint__by_epoch=False))


@pytest.mark.slow
def test_the_numbers_of_a_training_by_iterations_are_those_of_the_same_one_by_epochs(toy_config, tmp_path):
    """Where neither validates in the middle of an epoch."""
    schedule = dict(param_scheduler=OPTIONS["param_scheduler"], train_dataloader__batch_sampler__num_batches=3)
    train(toy_config(tmp_path / "epochs", train_cfg__max_epochs=2, train_cfg__val_begin=9, **schedule))
    iterations = dict(train_cfg__by_epoch=False, train_cfg__max_iters=6, train_cfg__val_begin=9)
    train(toy_config(tmp_path / "iterations", **iterations, **schedule))
    one, other = (read_checkpoint(tmp_path / n) for n in ("epochs/epoch_2.pth", "iterations/iter_6.pth"))
    assert all((value == other["state_dict"][name]).all() for name, value in one["state_dict"].items())
    for folder in ("epochs", "iterations"):
        (path,) = (tmp_path / folder).glob("*/vis_data/scalars.json")
        losses = [json.loads(line)["train/loss"] for line in path.read_text().splitlines() if "train/loss" in line]
        assert len(losses) >= 2


class LookHook(Hook):
    """Keeps whether batch-norm statistics are about to be averaged over the processes before a validation."""

    seen: ClassVar[list] = []  # a config, which is copied, cannot hold it

    def before_val(self, runner):
        self.seen.append([not hook.called_in_train for hook in runner.hooks if isinstance(hook, SyncBuffersHook)])

    def before_train(self, runner):
        for hook in runner.hooks:
            if isinstance(hook, SyncBuffersHook):
                hook.distributed = True  # with one process there is nothing to average


def test_statistics_are_averaged_before_a_validation_within_an_epoch(toy_config):
    LookHook.seen.clear()
    cfg = toy_config(**{**OPTIONS, "train_cfg__max_iters": 4})  # an epoch has three
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=LookHook)]
    train(cfg)
    assert LookHook.seen == [[True]]
