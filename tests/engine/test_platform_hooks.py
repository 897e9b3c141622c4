"""What MMEngine's users bring along: its hooks, and scripts that build a runner from a config file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS as ROOT_RUNNERS
from mmengine.runner import Runner
from toy_runs import logged_scalars

from mscmreid.apis import train
from mscmreid.engine import ReIDRunner
from mscmreid.engine.runner.checkpoint import read_checkpoint
from mscmreid.registry import RUNNERS

ROOT = Path(__file__).resolve().parents[2]
ONE = dict(
    train_cfg__max_epochs=1,
    train_cfg__val_begin=1,
    train_dataloader__batch_sampler__num_batches=2,
    param_scheduler=[dict(type="ConstantLR", factor=1.0)],
)


class BeforeFirstBatch(Hook):
    """No batch may come."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        raise AssertionError("the first batch was trained on")


def test_mmengines_own_hooks_in_the_place_of_ours_and_beside_them(toy_config, tmp_path):
    cfg = toy_config(**ONE, log_level="INFO")
    cfg.default_hooks = dict(
        runtime_info=dict(type="RuntimeInfoHook"),
        timer=dict(type="IterTimerHook"),
        sampler_seed=dict(type="DistSamplerSeedHook"),
        logger=dict(type="LoggerHook", interval=1),
        param_scheduler=dict(type="ParamSchedulerHook"),
        checkpoint=dict(type="CheckpointHook", interval=1, save_best="reid/R1", rule="greater", max_keep_ckpts=2),
    )
    trace = tmp_path / "trace.json"
    cfg.custom_hooks = [
        dict(type="ReproducibleHook"),
        dict(type="SyncBuffersHook"),
        dict(type="EmptyCacheHook", after_iter=True),
        dict(type="EMAHook", momentum=0.1),
        dict(type="ProfilerHook", by_epoch=False, profile_times=2, json_trace_path=str(trace), priority="VERY_LOW"),
    ]
    runner = train(cfg)
    folder = tmp_path / "run"
    assert {p.name for p in folder.glob("*.pth")} == {"epoch_1.pth", "best_reid_R1_epoch_1.pth"}
    content = read_checkpoint(folder / "epoch_1.pth")
    assert content["meta"]["epoch"] == 1 and {"ema_state_dict", "optimizer"} <= set(content)
    assert {("train", 1), ("train", 2), ("val", 1)} <= set(logged_scalars(folder))
    assert trace.stat().st_size > 1000
    assert {type(h).__name__ for h in runner.hooks} >= {
        "CheckpointHook",
        "EMAHook",
        "SyncBuffersHook",
        "EmptyCacheHook",
    }


def test_early_stopping_ends_a_training_with_its_checkpoint(toy_config, tmp_path):
    cfg = toy_config(**{**ONE, "train_cfg__max_epochs": 6})
    stop = dict(type="EarlyStoppingHook", monitor="reid/R1", rule="greater", patience=1, min_delta=1000)
    cfg.custom_hooks = [*cfg.custom_hooks, stop]
    runner = train(cfg)
    assert 1 < runner.epoch < 6 and (tmp_path / "run" / f"epoch_{runner.epoch}.pth").is_file()


def test_a_checkpoint_of_mmengines_hook_by_iterations_is_gone_on_from(toy_config, tmp_path):
    options = {**ONE, "train_cfg__by_epoch": False, "train_cfg__max_iters": 3, "train_cfg__val_begin": 9}
    cfg = toy_config(**options)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", by_epoch=False, interval=1)
    train(cfg)
    meta = read_checkpoint(tmp_path / "run" / "iter_3.pth")["meta"]
    assert (meta["epoch"], meta["iter"], meta["batches"]) == (1, 3, 1)
    cfg = toy_config(**{**options, "train_cfg__max_iters": 4})
    assert train(cfg, resume=str(tmp_path / "run" / "iter_3.pth")).iter == 4


@pytest.mark.parametrize("option", ["save_best", "monitor"])
@pytest.mark.parametrize("measure", ["reid/MAP", "reid/all/feat_bn/mAPx"])
def test_a_measure_that_is_not_measured_is_told_before_the_first_batch(toy_config, option, measure):
    cfg = toy_config(**ONE)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=BeforeFirstBatch)]
    if option == "save_best":
        cfg.default_hooks.checkpoint.save_best = measure
    else:
        cfg.custom_hooks.append(dict(type="EarlyStoppingHook", monitor=measure))
    near = "'reid/mAP'" if measure == "reid/MAP" else "'reid/all/feat_bn/mAP'"
    with pytest.raises(ValueError, match=f"{option} of .* is {measure!r}, .*did you mean {near}"):
        train(cfg)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(test_evaluator__protocols=[dict(type="SYSUProtocol", mode="out")]),
            "mode must be one of 'all', 'indoor'",
        ),
        (dict(test_evaluator__protocols=[dict(type="SYSUProtocol", lineage="official")]), "rand_perm_cam"),
        (dict(test_evaluator__protocols=[dict(type="RegDBProtocol", direction="x")]), "direction must be one of"),
        (dict(test_dataloader__dataset__data_root="/nowhere"), "/nowhere.*test_dataloader=None test_cfg=None"),
        (dict(test_dataloader__dataset__split="tset"), "found split='tset'"),
    ],
)
def test_what_the_test_needs_is_told_before_the_first_batch(toy_config, options, message):
    cfg = toy_config(**ONE, **options)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=BeforeFirstBatch)]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(cfg)


def test_scripts_build_a_runner_from_a_config_file(sysu_folder, toy_config, tmp_path):
    """As OpenMMLab's do: ``RUNNERS.build(Config.fromfile(FILE))``; ``data_root`` and the like are spread."""
    toy_config(**ONE).dump(tmp_path / "toy.py")
    raw = Config.fromfile(tmp_path / "toy.py")
    for part in ("train_dataloader", "val_dataloader", "test_dataloader"):
        del raw[part]["dataset"]["data_root"]  # as in the configs of this project
    for build in (ROOT_RUNNERS.build, RUNNERS.build, ReIDRunner.from_cfg):
        raw.experiment_name = f"script{build.__qualname__}{id(build)}"
        runner = build(raw.copy())
        assert isinstance(runner, ReIDRunner)
        assert runner.cfg.train_dataloader.dataset.data_root == str(sysu_folder)
    raw.train_dataloader.batch_sampler.num_idz = 3
    with pytest.raises(ValueError, match=r"batch_sampler\.num_idz.*did you mean 'num_ids'"):
        ROOT_RUNNERS.build(raw)


@pytest.mark.parametrize(("level", "on_screen"), [("INFO", False), ("DEBUG", True)])
def test_the_list_of_hooks_is_in_the_log_file_and_not_on_the_screen(toy_config, capfd, level, on_screen):
    runner = ReIDRunner.from_cfg(toy_config(**ONE, log_level=level))
    runner.logger.info("a line")
    (log,) = Path(runner.log_dir).glob("*.log")
    assert "before_train_iter:" in log.read_text()
    screen = "".join(capfd.readouterr())
    assert "a line" in screen and ("before_train_iter:" in screen) == on_screen


def test_a_script_with_mmengines_own_runner_is_told_which_one_to_take(toy_config):
    runner = Runner.from_cfg(toy_config(**ONE))
    with pytest.raises(ValueError, match=r"in the place of Runner\.from_cfg\(cfg\), mmengine\.registry\.RUNNERS"):
        runner.train()


def test_a_script_of_a_training_in_stages_is_told_what_to_call(toy_config):
    cfg = toy_config(**ONE)
    cfg.stages = dict(one=dict(), two=dict())
    with pytest.raises(ValueError, match=r"mscmreid\.apis\.train"):
        ReIDRunner.from_cfg(cfg)


PROFILED = """
import sys
from mscmreid.apis import load_config, test
from mscmreid.command_line import run_tool
import mmengine.runner.runner
mmengine.runner.runner.collect_env = dict  # it asks compilers for their versions
def main():
    test(load_config(sys.argv[1]), "untrained", work_dir=sys.argv[2])
    if len(sys.argv) > 3:
        raise ValueError(sys.argv[3])
run_tool(main)
"""


@pytest.mark.parametrize("breaks_off", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_test_with_the_profiler_hook_ends_with_its_own_status(toy_config, tmp_path, breaks_off):
    """torch's profiler, left on, crashes the interpreter when it ends: status 139 after the results were written."""
    cfg = toy_config(**ONE)
    trace = dict(type="log_trace", sort_by="self_cpu_time_total", row_limit=3)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type="ProfilerHook", on_trace_ready=trace)]
    if breaks_off:
        cfg.test_evaluator.protocols = [dict(type="SYSUProtocol", lineage="official")]  # after the features
    cfg.dump(tmp_path / "toy.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROFILED, str(tmp_path / "toy.py"), str(tmp_path / "test")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if breaks_off:
        assert done.returncode == 1 and "error: " in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "Self CPU time total" in done.stdout and (tmp_path / "test" / "test_untrained.json").is_file()
