"""The tools as a user starts them: other processes, signals, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ports import free_port
from test_interruption import assert_same_run

from mscmreid.engine.runner.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PORT": free_port()}


def config_file(toy_config, folder: Path, **options) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy.py"
    cfg = toy_config(folder, experiment_name=None, log_level="INFO", **options)
    path.write_text(cfg.pretty_text)
    return path


def call(environment, *command, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, **options)


def test_testing_without_the_checkpoint_fails_and_says_what_is_missing(environment, toy_config, tmp_path):
    config = config_file(toy_config, tmp_path / "run")
    done = call(environment, sys.executable, ROOT / "tools" / "test.py", config, "none.pth")
    assert done.returncode == 1
    assert done.stderr == "error: expected a checkpoint at none.pth, found no file\n"


@pytest.mark.slow
def test_a_plain_run_warns_of_nothing_with_workers_too(environment, toy_config, tmp_path):
    workers = {f"{part}_dataloader__num_workers": 2 for part in ("train", "val")}
    config = config_file(toy_config, tmp_path / "run", **workers)
    done = call(environment, sys.executable, "-W", "always", ROOT / "tools" / "train.py", config)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    lines = [line for line in text.splitlines() if "Warning:" in line or "- WARNING -" in line]
    ours = [line for line in lines if "site-packages" not in line or "mmengine" in line]
    assert not ours, "\n".join(ours)


@pytest.mark.slow
def test_a_run_killed_by_sigkill_goes_on_as_if_nothing_had_happened(environment, toy_config, tmp_path):
    for name in ("whole", "killed"):
        config = config_file(toy_config, tmp_path / name, train_cfg__max_epochs=6)
        command = [sys.executable, str(ROOT / "tools" / "train.py"), str(config), "--resume"]
        if name == "killed":
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not (tmp_path / name / "epoch_3.pth").exists():
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = call(environment, *command)
        assert done.returncode == 0, done.stderr
    whole, killed = (read_checkpoint(tmp_path / name / "epoch_6.pth") for name in ("whole", "killed"))
    assert all(torch.equal(v, killed["state_dict"][k]) for k, v in whole["state_dict"].items())
    assert whole["param_schedulers"] == killed["param_schedulers"]
    for name, entry in whole["message_hub"]["log_scalars"].items():
        if "time" not in name:
            assert torch.equal(entry["values"], killed["message_hub"]["log_scalars"][name]["values"]), name


SCHEDULE = [dict(type="MultiStepLR", milestones=[2], end=99, by_epoch=True)]
"""Without an end of its own a schedule ends with the run that it was made for."""


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory) -> Path:
    """Work folder of a run of two processes that was left alone (made by the first test that asks)."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole(environment, toy_config, whole_folder) -> Path:
    if not (whole_folder / "epoch_3.pth").exists():
        config = config_file(toy_config, whole_folder, param_scheduler=SCHEDULE)
        done = call(environment, ROOT / "tools" / "dist_train.sh", config, "2")
        assert done.returncode == 0, done.stderr
    return whole_folder


SIGNAL_HOOK = """
import os, signal, time
from mmengine.hooks import Hook
from mscmreid.interruption import current
from mscmreid.registry import HOOKS

@HOOKS.register_module()
class SignalOneHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 4 and runner.rank == 0:  # the launcher, which tells its processes
            os.kill(os.getppid(), signal.SIGTERM)
            while current().received is None:
                time.sleep(0.01)
        elif runner.iter == 7 and runner.rank == 1:  # one process alone
            os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_two_processes_that_are_preempted_go_on_to_the_same_bits(environment, toy_config, tmp_path, whole):
    (tmp_path / "signal_hook.py").write_text(SIGNAL_HOOK)
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    folder = tmp_path / "run"
    config = config_file(toy_config, folder, param_scheduler=SCHEDULE)
    with config.open("a") as file:
        file.write("custom_imports = dict(imports=['signal_hook'])\ncustom_hooks += [dict(type='SignalOneHook')]\n")
    for name in ("epoch_1_iter_2.pth", "epoch_2_iter_2.pth"):
        environment["PORT"] = free_port()
        done = call(environment, ROOT / "tools" / "dist_train.sh", config, "2", "--preemptible", "--resume")
        assert done.returncode == 143, done.stderr
        told = f"ended by SIGTERM: {folder / name} is kept, and --resume goes on from there to the same bits"
        assert [line for line in done.stderr.splitlines() if "SIGTERM" in line] == [told]
        assert "Traceback" not in done.stderr
        assert [path.name for path in folder.glob("*_iter_*")] == [name]
        assert (folder / "last_checkpoint").read_text() == str(folder / name)
    environment["PORT"] = free_port()
    done = call(environment, ROOT / "tools" / "dist_train.sh", config, "2", "--preemptible", "--resume")
    assert done.returncode == 0, done.stderr
    assert_same_run(whole, folder)


@pytest.mark.slow
def test_a_mistake_that_two_processes_find_is_told_once(environment, toy_config, tmp_path):
    config = config_file(toy_config, tmp_path / "run", model__head__num_classes=7)
    done = call(environment, ROOT / "tools" / "dist_train.sh", config, "2")
    assert done.returncode == 1 and done.stderr.count("number of training identities") == 1
    assert "Traceback" not in done.stderr and done.stderr.rstrip().splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_two_processes_train_resume_and_test_like_one(environment, toy_config, tmp_path, whole):
    def processes(number: int, tool: str, *arguments) -> None:
        environment["PORT"] = str(int(environment["PORT"]) + 1)
        done = call(environment, ROOT / "tools" / tool, *arguments[:1], *arguments[1:-1], str(number), *arguments[-1])
        assert done.returncode == 0, done.stderr

    config = config_file(toy_config, tmp_path / "run", train_cfg__max_epochs=2, param_scheduler=SCHEDULE)
    processes(2, "dist_train.sh", config, [])
    processes(2, "dist_train.sh", config, ["--resume", "--cfg-options", "train_cfg.max_epochs=3"])
    checkpoint = tmp_path / "run" / "epoch_3.pth"
    alone, resumed = (read_checkpoint(folder / "epoch_3.pth") for folder in (whole, tmp_path / "run"))
    assert resumed["meta"]["iter"] == 9
    assert all(torch.equal(v, resumed["state_dict"][k]) for k, v in alone["state_dict"].items())
    found = {}
    for number in (1, 2):
        out = tmp_path / f"{number}.json"
        processes(number, "dist_test.sh", config, checkpoint, ["--out-json", out])
        found[number] = [entry["values"] for entry in json.loads(out.read_text())["results"]]
    assert found[1] == found[2]
