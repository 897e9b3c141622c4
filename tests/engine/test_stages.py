"""Trainings in stages: what each starts from, frozen parts, and that a stopped one goes on exactly."""

import pytest
import torch
from mmengine.config import Config
from test_runs import Killed, KillHook
from toy_runs import logged_scalars

from mscmreid.apis import init_model, test, train
from mscmreid.apis.config import stage_config
from mscmreid.engine.runner.checkpoint import finished_stages, read_checkpoint, trained_checkpoint

run_test = test  # pytest would take the function for a test
del test


@pytest.fixture
def staged(toy_config, tmp_path):
    """A config of two stages, ``staged(folder, kill)``: ``kill`` is (stage, iteration)."""

    def make(folder, kill=None) -> Config:
        main = dict(
            start_from="best",
            frozen=["neck"],
            optim_wrapper=dict(optimizer=dict(_delete_=True, type="SGD", lr=0.01, momentum=0.9)),
            train_cfg=dict(max_epochs=2, val_begin=1),
            train_dataloader=dict(batch_sampler=dict(num_batches=2)),
            model=dict(
                data_preprocessor=dict(views=dict(visible_1=dict(ops=dict(gray=None)))),
                head=dict(losses=dict(qct=dict(margin=0.3))),
            ),
        )
        stages = dict(warm=dict(train_cfg=dict(max_epochs=3, val_begin=1)), main=main)
        cfg = toy_config(tmp_path / folder, stages=stages)
        if kill is not None:
            cfg.stages[kill[0]].custom_hooks = [*cfg.custom_hooks, dict(type=KillHook, iteration=kill[1])]
        return cfg

    return make


def test_a_stage_is_a_difference_to_the_config(staged):
    cfg = staged("run")
    warm, main = stage_config(cfg, "warm"), stage_config(cfg, "main")
    assert "stages" not in main and (warm.stage, main.stage) == ("warm", "main")
    assert main.model.head.losses.qct.margin == 0.3 != warm.model.head.losses.qct.margin
    assert main.optim_wrapper.optimizer == dict(type="SGD", lr=0.01, momentum=0.9) != warm.optim_wrapper.optimizer
    assert "start_from" not in main and cfg.stages.main.start_from == "best"
    with pytest.raises(ValueError, match=r"has the stages \['warm', 'main'\], found 'last'"):
        stage_config(cfg, "last")


def test_a_stage_starts_from_the_one_before_and_leaves_frozen_parts_alone(staged, tmp_path):
    runner = train(staged("run"))
    assert finished_stages(tmp_path / "run") == ["warm", "main"]
    warm, main = tmp_path / "run" / "warm", tmp_path / "run" / "main"
    best = trained_checkpoint(warm, "best")
    assert runner.cfg.load_from == str(best) and runner.epoch == 2 and runner.iter == 4
    assert trained_checkpoint(tmp_path / "run", "last") == main / "epoch_2.pth"
    before, after = (read_checkpoint(path) for path in (best, main / "epoch_2.pth"))
    assert (before["meta"]["stage"], after["meta"]["stage"]) == ("warm", "main")
    changed = {k.split(".")[0] for k, v in after["state_dict"].items() if not torch.equal(v, before["state_dict"][k])}
    assert changed == {"backbone", "head"}
    trained = sum(len(group["params"]) for group in after["optimizer"]["param_groups"])
    assert trained == sum(p.requires_grad for p in runner.model.parameters()) < len(list(runner.model.parameters()))
    assert not runner.model.neck.training and runner.model.head.training is False  # after the validation
    runner.model.train()
    assert not any(module.training for module in runner.model.neck.modules()) and runner.model.head.training

    results = run_test(staged("run"), main / "epoch_2.pth")
    assert results and init_model(staged("run"), best).cfg.stage == "warm"


@pytest.mark.parametrize("kill", [("warm", 4), ("main", 1), ("main", 3)])
def test_a_stopped_training_goes_on_in_its_stage_bitwise(staged, tmp_path, kill):
    train(staged("straight"))
    with pytest.raises(Killed):
        train(staged("run", kill))
    assert finished_stages(tmp_path / "run") == ([] if kill[0] == "warm" else ["warm"])
    train(staged("run"), resume="auto")
    for stage, epoch in (("warm", 3), ("main", 2)):
        straight, run = tmp_path / "straight" / stage, tmp_path / "run" / stage
        whole, resumed = (read_checkpoint(folder / f"epoch_{epoch}.pth") for folder in (straight, run))
        assert all(torch.equal(v, resumed["state_dict"][k]) for k, v in whole["state_dict"].items())
        for old, new in zip(whole["optimizer"]["state"].values(), resumed["optimizer"]["state"].values(), strict=True):
            assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(new[k])) for k, v in old.items())
        assert logged_scalars(run) == logged_scalars(straight)
        assert sorted(p.name for p in run.glob("*.pth")) == sorted(p.name for p in straight.glob("*.pth"))


def test_a_checkpoint_by_its_path_goes_on_in_its_stage(staged, tmp_path):
    with pytest.raises(Killed):
        train(staged("run", ("main", 3)))
    runner = train(staged("run"), resume=str(tmp_path / "run" / "main" / "epoch_1.pth"))
    assert runner.cfg.stage == "main" and runner.iter == 4
    with pytest.raises(ValueError, match="stage None, the config has"):
        path = tmp_path / "foreign.pth"
        torch.save(dict(meta={}, state_dict={}), path)
        train(staged("run"), resume=str(path))


def test_frozen_parts_are_named_where_they_are_not_there(toy_config):
    with pytest.raises(ValueError, match="no part named 'nack'"):
        train(toy_config(frozen=["nack"]))
    runner_cfg = toy_config(frozen=["head.classifier.weight"], train_cfg__max_epochs=1)
    assert not train(runner_cfg).model.head.classifier.weight.requires_grad
