"""PMT through the runner: both of its stages survive a kill, and what it started from stays known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from test_runs import run_and_kill
from toy_runs import logged_scalars, published_run
from toy_training import TINY_TRANSFORMER

from mscmreid.apis import test as run_test
from mscmreid.apis import train
from mscmreid.engine.runner.checkpoint import read_checkpoint
from mscmreid.evaluation import load_results
from mscmreid.fileio import sha256_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
from test_vit import in_timms_names, of_torchvision

run_test.__test__ = False  # pytest would take the function for a test


@pytest.fixture
def pmt_config(sysu_folder, tmp_path):
    """``pmt_config(name, **options)``: PMT at 32 x 16, an epoch of its first stage and two of its second."""

    def make(name: str, **options):
        stages = {"model.head.losses.intra.until_epoch": 1}
        stages |= {f"model.head.losses.{loss}.from_epoch": 1 for loss in ("triplet", "msel", "dcl")}
        stages["model.data_preprocessor.views.visible.ops.gray.until_epoch"] = 1
        stages["model.data_preprocessor.views.infrared.ops.distort.ops.blur.kernel"] = 5
        toy = {"model.backbone.init_cfg": None, "param_scheduler.0.warmup": 1, **TINY_TRANSFORMER, **stages}
        return published_run("pmt_sysu", sysu_folder, tmp_path / name, toy | options)

    return make


def test_a_run_killed_in_its_second_stage_and_resumed_equals_a_straight_one_bitwise(pmt_config, tmp_path):
    train(pmt_config("straight"))
    run_and_kill(pmt_config("killed"), iteration=6)
    train(pmt_config("killed"), resume="auto")
    whole, resumed = (read_checkpoint(tmp_path / name / "epoch_3.pth") for name in ("straight", "killed"))
    assert all(torch.equal(value, resumed["state_dict"][name]) for name, value in whole["state_dict"].items())
    for old, new in zip(whole["optimizer"]["state"].values(), resumed["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(new[k])) for k, v in old.items())
    logged = logged_scalars(tmp_path / "straight")
    assert logged_scalars(tmp_path / "killed") == logged
    for name in ("loss_msel", "loss_triplet"):
        assert [logged["train", step][f"train/{name}"] > 0 for step in range(1, 13)] == [False] * 4 + [True] * 8, name


def test_what_a_run_started_from_is_in_its_log_its_checkpoints_and_its_results(pmt_config, tmp_path):
    file = tmp_path / "tiny.pth"
    torch.save(in_timms_names(of_torchvision(side=32).state_dict()), file)
    options = {
        "model.backbone.init_cfg": dict(type="Pretrained", checkpoint=str(file)),
        "model.backbone.patch": 8,
        "model.backbone.stride": 6,
        "model.backbone.out_channels": 16,
        "train_cfg.max_epochs": 2,
        "train_cfg.val_begin": 2,
        "log_level": "INFO",
    }
    expected = f"{file} (SHA-256 {sha256_of(file)})"
    run_and_kill(pmt_config("run", **options), iteration=6)
    file.unlink()  # a resumed run needs it no more, and still knows
    train(pmt_config("run", **options), resume="auto")
    work_dir = tmp_path / "run"
    assert read_checkpoint(work_dir / "epoch_2.pth")["meta"]["initial_weights"] == expected
    logs = "".join(path.read_text() for path in work_dir.glob("*/*.log"))
    assert f"ImageNet weights from {file} (timm's names): all loaded" in logs
    run_test(pmt_config("run", **options), work_dir / "epoch_2.pth")
    assert {row.initial_weights for row in load_results(work_dir / "test_epoch_2.json")} == {expected}

    again = pmt_config("finetuned", **options | {"load_from": str(work_dir / "epoch_2.pth"), "train_cfg.max_epochs": 1})
    train(again)
    assert read_checkpoint(tmp_path / "finetuned" / "epoch_1.pth")["meta"]["initial_weights"] == expected


def test_a_run_from_scratch_says_so(pmt_config, tmp_path):
    train(pmt_config("run", **{"train_cfg.max_epochs": 1}))
    assert read_checkpoint(tmp_path / "run" / "epoch_1.pth")["meta"]["initial_weights"] == "random"
