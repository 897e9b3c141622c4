"""Whole runs at toy size: train, validate, stop, resume, test."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from toy_runs import logged_scalars

from mscmreid.apis import init_model, test, train
from mscmreid.engine.runner.checkpoint import read_checkpoint
from mscmreid.registry import RUNNERS

run_test = test  # pytest would take the function for a test
del test


class Killed(BaseException):
    """Stands for a signal: nothing in the run may catch it."""


class KillHook(Hook):
    """Ends the run before an iteration, or in the validation after an epoch (or, as ``unit`` says, an 'iter')."""

    def __init__(self, iteration=None, validation_after=None, unit="epoch"):
        self.iteration, self.validation_after, self.unit = iteration, validation_after, unit

    def end(self):
        raise Killed

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            self.end()

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if getattr(runner, self.unit) == self.validation_after:
            self.end()


def run_and_kill(cfg, **when) -> None:
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=KillHook, **when)]
    with pytest.raises(Killed):
        train(cfg)


@pytest.fixture(scope="module")
def straight(tmp_path_factory, request):
    """Work folder of an uninterrupted run of 3 epochs (made by the first test that asks)."""
    return tmp_path_factory.mktemp("straight")


@pytest.fixture
def straight_run(straight, toy_config):
    if not list(straight.glob("epoch_3.pth")):
        train(toy_config(straight))
    return straight


def test_a_run_leaves_the_last_two_checkpoints_and_the_best(straight_run):
    names = sorted(p.name for p in straight_run.glob("*.pth"))
    assert names[1:] == ["epoch_2.pth", "epoch_3.pth"] and names[0].startswith("best_reid_R1_epoch_")
    content = read_checkpoint(straight_run / "epoch_3.pth")
    assert content["meta"]["epoch"] == 3 and content["meta"]["iter"] == 9
    assert content["meta"]["dataset_meta"]["num_classes"] == 6
    assert torch.load(straight_run / "epoch_3.pth", weights_only=True)  # no class of ours or of MMEngine's in it


def test_validation_starts_after_the_second_epoch_and_is_logged(straight_run):
    logged = logged_scalars(straight_run)
    assert {step for kind, step in logged if kind == "val"} == {2, 3}
    assert {"val/reid/R1", "val/reid/mAP"} <= set(logged["val", 3])
    assert {"train/loss", "train/loss_ce", "train/loss_qct", "train/acc", "train/lr"} <= set(logged["train", 2])


@pytest.mark.parametrize(
    "when",
    [dict(iteration=4), dict(iteration=8), dict(validation_after=3)],
    ids=["in the second epoch", "in the third", "in the last validation"],
)
def test_a_killed_and_resumed_run_equals_a_straight_one_bitwise(straight_run, toy_config, tmp_path, when):
    run_and_kill(toy_config(), **when)
    assert not (tmp_path / "run" / "epoch_3.pth").exists()
    train(toy_config(), resume="auto")
    whole = read_checkpoint(straight_run / "epoch_3.pth")
    resumed = read_checkpoint(tmp_path / "run" / "epoch_3.pth")
    assert all(torch.equal(v, resumed["state_dict"][k]) for k, v in whole["state_dict"].items())
    for old, new in zip(whole["optimizer"]["state"].values(), resumed["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(new[k])) for k, v in old.items())
    assert logged_scalars(tmp_path / "run") == logged_scalars(straight_run)
    best = [p.name for p in straight_run.glob("best_*")]
    assert [p.name for p in (tmp_path / "run").glob("best_*")] == best


@pytest.mark.slow
@pytest.mark.parametrize("amp, ema", [("bf16", False), ("none", True)], ids=["bf16", "moving average"])
def test_resuming_is_exact_with_other_options_too(toy_config, tmp_path, amp, ema):
    def config(name: str):
        cfg = toy_config(tmp_path / name)
        if ema:
            cfg.custom_hooks = [*cfg.custom_hooks, dict(type="EMAHook", momentum=0.1, update_buffers=True)]
        return cfg

    train(config("straight"), amp=amp)
    cfg = config("killed")
    cfg.optim_wrapper.dtype = dict(bf16="bfloat16", none="float32")[amp]
    run_and_kill(cfg, iteration=7)
    train(config("killed"), amp=amp, resume="auto")
    whole, resumed = (read_checkpoint(tmp_path / name / "epoch_3.pth") for name in ("straight", "killed"))
    for part in ("state_dict", *(["ema_state_dict"] if ema else [])):
        assert all(torch.equal(v, resumed[part][k]) for k, v in whole[part].items()), part
    assert logged_scalars(tmp_path / "killed") == logged_scalars(tmp_path / "straight")


@pytest.mark.slow
def test_compiling_changes_no_name_and_hardly_a_number(toy_config, tmp_path):
    states = []
    for name, options in (("plain", None), ("compiled", dict(backend="aot_eager"))):
        train(toy_config(tmp_path / name, train_cfg__max_epochs=1, compile=options))
        states.append(read_checkpoint(tmp_path / name / "epoch_1.pth")["state_dict"])
    assert list(states[0]) == list(states[1])
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-3), name


def test_another_seed_gives_another_run(straight_run, toy_config, tmp_path):
    train(toy_config(randomness=dict(seed=1), train_cfg__max_epochs=1))
    weights = read_checkpoint(tmp_path / "run" / "epoch_1.pth")["state_dict"]
    other = read_checkpoint(straight_run / "epoch_2.pth")["state_dict"]
    assert not torch.equal(weights["head.classifier.weight"], other["head.classifier.weight"])


def test_resume_passes_over_a_truncated_checkpoint(straight_run, toy_config, tmp_path, caplog):
    run_and_kill(toy_config(), iteration=8)
    last = tmp_path / "run" / "epoch_2.pth"
    last.write_bytes(last.read_bytes()[:-500])
    runner = train(toy_config(), resume="auto")
    log = next(Path(runner.log_dir).glob("*.log")).read_text()
    assert "passed over" in log and "epoch_2.pth" in log
    whole = read_checkpoint(straight_run / "epoch_3.pth")["state_dict"]
    resumed = read_checkpoint(tmp_path / "run" / "epoch_3.pth")["state_dict"]
    assert all(torch.equal(v, resumed[k]) for k, v in whole.items())


def test_resume_without_a_checkpoint_starts_and_says_so(toy_config):
    runner = train(toy_config(train_cfg__max_epochs=1), resume="auto")
    assert "starting from the beginning" in next(Path(runner.log_dir).glob("*.log")).read_text()
    assert runner.epoch == 1


def test_a_resumed_run_says_that_the_checkpoints_schedule_goes_on(straight_run, toy_config, tmp_path):
    cfg = toy_config(param_scheduler=[dict(type="MultiStepLR", milestones=[1], by_epoch=True)])
    runner = train(cfg, resume=str(straight_run / "epoch_2.pth"))
    log = next(Path(runner.log_dir).glob("*.log")).read_text()
    assert "schedule goes on" in log and "milestones" in log


def test_resume_from_weights_only_is_an_error(straight_run, toy_config):
    best = next(straight_run.glob("best_*.pth"))
    with pytest.raises(ValueError, match="weights only"):
        train(toy_config(), resume=str(best))


def test_a_checkpoint_of_another_model_is_refused_in_a_line_before_an_image_is_read(straight_run, toy_config, tmp_path):
    other = dict(model__backbone__base_channels=8, cache_dir=str(tmp_path / "cache"))
    checkpoint = straight_run / "epoch_3.pth"
    for run in (
        lambda: train(toy_config(load_from=str(checkpoint), **other)),
        lambda: run_test(toy_config(**other), checkpoint),
    ):
        with pytest.raises(ValueError, match=r"does not fit.*, and \d+ more.*made by the run toy\d+") as told:
            run()
        assert len(str(told.value).replace(str(checkpoint), "")) < 600 and not (tmp_path / "cache").exists()


def test_wrong_num_classes_stops_before_training(toy_config):
    with pytest.raises(ValueError, match="the data has 6, the config says 5"):
        train(toy_config(model__head__num_classes=5))


def test_bfloat16_training_runs_and_stays_finite(toy_config):
    runner = train(toy_config(train_cfg__max_epochs=1), amp="bf16")
    assert runner.optim_wrapper.precision == "bfloat16"
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())


def test_validation_extracts_queries_and_one_gallery_draw_only(toy_config):
    cfg = toy_config()
    assert len(RUNNERS.build(cfg).val_loop.dataloader.dataset) == 3 * 2 * 2 + 3 * 4  # of 36 images
    cfg.experiment_name += "_all"
    cfg.val_evaluator.out_features = "F.npz"  # features that are kept are kept of all
    assert len(RUNNERS.build(cfg).val_loop.dataloader.dataset) == 36


def test_a_test_run_writes_results_and_features_of_all_images(straight_run, toy_config, tmp_path):
    features = tmp_path / "F.npz"
    results = run_test(toy_config(), straight_run / "epoch_3.pth", out_features=str(features), flip=True)
    assert {(r.mode, r.feature) for r in results} == {
        (m, f) for m in ("all-search", "indoor-search") for f in ("feat_bn", "feat_pool")
    }
    assert all(r.flip and r.checkpoint_sha256 and len(r.values["R1"]) == 10 for r in results)
    assert json.loads((tmp_path / "run" / "test_epoch_3.json").read_text())
    from mscmreid.evaluation.features import FeatureTable

    table = FeatureTable.load(features)
    assert len(table) == 3 * 6 * 2 and {"feat_bn", "feat_bn_flip"} <= set(table.features)


def test_an_untrained_network_can_be_scored(toy_config):
    results = run_test(toy_config(), "untrained")
    assert results[0].checkpoint == "untrained"


def test_testing_stops_without_a_checkpoint_or_with_a_wrong_one(straight_run, toy_config):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        run_test(toy_config(), "none.pth")
    with pytest.raises(ValueError, match="trained on 6 identities, the config says num_classes=7"):
        run_test(toy_config(model__head__num_classes=7), straight_run / "epoch_3.pth")
    with pytest.raises(ValueError, match="unexpected"):
        run_test(toy_config(model__backbone__plugins__mimb=None), straight_run / "epoch_3.pth")


def test_init_model_loads_strictly_and_is_ready(straight_run, toy_config):
    model = init_model(toy_config(), straight_run / "epoch_3.pth", device="cpu")
    assert not model.training
    x = torch.randn(2, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    features = model.extract_features(x, "infrared")
    assert torch.allclose(features["feat_bn"].norm(dim=1), torch.ones(2))
    with pytest.raises(ValueError, match="num_classes=9"):
        init_model(toy_config(model__head__num_classes=9), straight_run / "epoch_3.pth", device="cpu")
