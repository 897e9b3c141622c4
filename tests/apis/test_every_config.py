"""Every config builds, trains two steps and evaluates under its own protocols, at toy size."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from toy_training import ALL_CONFIGS, evaluate_model, toy_config, train_steps

from mscmreid.apis import test as run_test
from mscmreid.apis import train

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datasets"))
from layouts import make_llcm, make_regdb, make_sysu, write_image

run_test.__test__ = False  # pytest would take the function for a test


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few people in each layout."""
    root = tmp_path_factory.mktemp("data")
    return {
        "SYSUMM01": make_sysu(root / "SYSU-MM01", train=(1, 2), val=(7, 8)),
        "RegDB": make_regdb(root / "RegDB"),
        "LLCM": make_llcm(root / "LLCM"),
        "own": make_own(root / "own"),
        "all": root,
    }


def make_own(root: Path) -> Path:
    """Two people for training and two for testing, in folders."""
    for split, pids in (("train", (1, 2)), ("test", (3, 4))):
        for modality, camera in (("visible", 1), ("infrared", 2)):
            for pid in pids:
                for frame in range(2):
                    path = root / split / modality / f"cam{camera}" / f"{pid:04d}" / f"{frame}.png"
                    write_image(path, seed=10 * pid + camera + frame)
    return root


def folder_of(name: str, folders: dict[str, Path]) -> Path:
    if name.startswith("cross/"):
        return folders["all"]
    kinds = (("regdb", "RegDB"), ("llcm", "LLCM"), ("own", "own"))
    return folders[next((kind for part, kind in kinds if f"_{part}" in name), "SYSUMM01")]


@pytest.mark.parametrize("name", ALL_CONFIGS)
def test_config_trains_two_steps_and_evaluates(name, folders):
    cfg = toy_config(name, folder_of(name, folders))
    steps = train_steps(cfg)
    names = {"loss", "acc", *(f"loss_{n}" for n, loss in cfg.model.head.losses.items() if loss)}
    assert all(set(log) == names and torch.isfinite(log["loss"]) for log in steps.logs)
    assert steps.without_gradient() == []

    metrics, _ = evaluate_model(cfg, steps.model, "val")
    assert 0 <= metrics[cfg.default_hooks.checkpoint.save_best] <= 100
    metrics, results = evaluate_model(cfg, steps.model, "test")
    assert len({(r.protocol, r.mode, r.direction) for r in results}) == len(cfg.test_evaluator.protocols)
    assert {r.feature for r in results} >= set(cfg.test_evaluator.features)
    assert all(r.flip == bool(cfg.model.get("inference")) for r in results)
    assert all(0 <= value <= 100 for r in results for values in r.values.values() for value in values)


def test_the_system_with_branches_goes_through_the_runner(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)  # it asks compilers for their versions
    options = {
        "train_cfg.max_epochs": 1,
        "train_cfg.val_begin": 1,
        "train_cfg.val_interval": 1,
        "train_dataloader.batch_sampler.num_batches": 2,
        "param_scheduler": [dict(type="ConstantLR", factor=1.0)],
        "log_level": "WARNING",
        "work_dir": str(tmp_path),
    }
    cfg = toy_config("deen_synthetic.py", folders["SYSUMM01"], options)
    runner = train(cfg.copy())
    assert runner.iter == 2
    results = run_test(cfg, tmp_path / "epoch_1.pth")
    assert {(r.mode, r.feature) for r in results} == {
        (mode, feature) for mode in ("all-search", "indoor-search") for feature in ("sum", "feat_bn", "feat_pool")
    }
    assert all(r.flip for r in results)
