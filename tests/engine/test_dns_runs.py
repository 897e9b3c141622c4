"""DNS through the runner: its teachers and its learning rate survive a kill, and both rules of an epoch's start."""

from __future__ import annotations

import pytest
import torch
from test_runs import run_and_kill
from toy_runs import logged_scalars, published_run

from mscmreid.apis import train
from mscmreid.engine.runner.checkpoint import read_checkpoint


@pytest.fixture
def dns_config(sysu_folder, tmp_path):
    """``dns_config(name, batch_rule)``: DNS at 32 x 16 with its own schedule, three epochs of four steps."""

    def make(name: str, batch_rule: str = "published"):
        options = {
            "model.backbone.depth": 18,
            "model.backbone.base_channels": 4,
            "model.backbone.init_cfg": None,
            "optim_wrapper.optimizer.lr": 0.01,
        }
        cfg = published_run("dns_sysu", sysu_folder, tmp_path / name, options)
        cfg.param_scheduler[0].update(points=[(0, 0.1), (1, 1.0), (None, 0.0)], batch_rule=batch_rule)
        return cfg

    return make


def rates(work_dir) -> list[float]:
    logged = logged_scalars(work_dir)
    return [value["train/base_lr"] for (kind, _), value in sorted(logged.items()) if kind == "train"]


def test_a_killed_and_resumed_run_equals_a_straight_one_bitwise_with_its_teachers(dns_config, tmp_path):
    train(dns_config("straight"))
    run_and_kill(dns_config("killed"), iteration=6)
    train(dns_config("killed"), resume="auto")
    whole, resumed = (read_checkpoint(tmp_path / name / "epoch_3.pth")["state_dict"] for name in ("straight", "killed"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    for modality in ("visible", "infrared"):
        teacher = whole[f"head.losses.dd.teacher_{modality}"]
        assert not torch.equal(teacher, whole[f"head.losses.dd.{modality}.weight"])
    assert logged_scalars(tmp_path / "killed") == logged_scalars(tmp_path / "straight")


def test_the_runner_uses_the_rule_of_the_config(dns_config, tmp_path):
    def line(epoch: float) -> float:
        return 0.1 + 0.9 * epoch if epoch <= 1 else (3 - epoch) / 2

    clean = [0.01 * line(i / 4) for i in range(12)]
    published = [0.01 * (line(e) + k / 3 * (line(e + 1) - line(e))) for e in range(3) for k in (2, 0, 1, 2)]
    for rule, expected in (("clean", clean), ("published", published)):
        train(dns_config(rule, rule))
        assert rates(tmp_path / rule) == pytest.approx(expected, abs=1e-6)
