"""Signals: one line that says what is kept, and the status; a preempted run goes on in mid-epoch to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_runs import KillHook
from torch import nn
from toy_runs import logged_scalars

from mscmreid import interruption
from mscmreid.apis import train
from mscmreid.engine import EpochStartHook
from mscmreid.engine.runner.checkpoint import find_checkpoints, read_checkpoint
from mscmreid.engine.runner.train_loops import random_state, restore_random_state
from mscmreid.interruption import Interrupted, Listener, kept_when_interrupted, listen
from mscmreid.launch import told
from mscmreid.models.necks.pooling import GeM

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_handlers():
    """The test begins without a listener, whatever tools ran before in this process; handlers as they were after it."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in interruption.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def start(code: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


SLEEP = """
import time
from mscmreid.command_line import run_tool
def main():
    print('ready', flush=True)
    {}
run_tool(main)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("where", ["work", "an import"])
def test_a_signal_is_one_line_and_its_status(number, status, where, tmp_path):
    code = "time.sleep(60)"
    if where == "an import":  # whose code swallows what is raised in it
        module = tmp_path / "slow_module.py"
        module.write_text("import time\ntry:\n    time.sleep(60)\nexcept BaseException:\n    time.sleep(60)\n")
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); print('ready', flush=True); import slow_module"
    process = start(SLEEP.format(code))
    for _ in range(2 if where == "an import" else 1):
        assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    word = "interrupted by SIGINT" if number == signal.SIGINT else "ended by SIGTERM"
    assert process.returncode == status and text.startswith(f"{word}: ") and text.count("\n") == 1


def test_what_is_kept_is_told_by_the_innermost_who_knows():
    inner, outer = (kept_when_interrupted(lambda text=text: text) for text in ("inner", "outer"))
    with pytest.raises(Interrupted) as stop, outer, inner:
        raise Interrupted(signal.SIGTERM)
    assert interruption.end_of(stop.value) == (143, "ended by SIGTERM: inner")
    with pytest.raises(Interrupted) as stop, kept_when_interrupted(lambda: "x"):
        raise KeyboardInterrupt
    assert interruption.end_of(stop.value) == (130, "interrupted by SIGINT: x")


def test_an_error_behind_a_signal_is_that_signal_and_one_without_is_an_error():
    with pytest.raises(RuntimeError), kept_when_interrupted(lambda: "x"):
        raise RuntimeError("a bug")
    listen().received = signal.SIGTERM
    with pytest.raises(Interrupted), kept_when_interrupted(lambda: "x"):
        raise RuntimeError("the partner has gone")


def test_a_listener_that_postpones_lets_sigterm_wait_however_often_it_comes_and_nothing_else():
    listener = Listener()
    listener.postpones = True
    for _ in range(2):  # a cluster tells every process, and its launcher tells them again
        listener(signal.SIGTERM, None)
        assert listener.received == signal.SIGTERM
    with pytest.raises(Interrupted):
        listener(signal.SIGINT, None)


def test_a_signal_that_comes_twice_is_one_stop_and_a_later_one_another(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(interruption.time, "monotonic", lambda: clock[0])
    listener = Listener()
    with pytest.raises(Interrupted):
        listener(signal.SIGINT, None)
    clock[0] += 0.1
    listener(signal.SIGTERM, None)  # while what is kept is being told
    clock[0] += interruption.SAME_STOP
    with pytest.raises(Interrupted):
        listener(signal.SIGINT, None)


def test_an_error_of_a_process_whose_partner_has_gone_waits_for_the_launchers_signal(monkeypatch):
    listener = listen()
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(interruption.time, "sleep", nap)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Interrupted) as stop, kept_when_interrupted(lambda: "x"):
        raise RuntimeError("Connection closed by peer")
    assert interruption.end_of(stop.value) == (143, "ended by SIGTERM: x") and len(naps) == 3
    listener.received = None
    with pytest.raises(RuntimeError, match="a bug"), kept_when_interrupted(lambda: "x"):
        raise RuntimeError("a bug")  # waited for once already
    assert len(naps) == 3


@pytest.mark.parametrize(
    ("statuses", "status", "line"),
    [
        ({0: 143, 1: 143}, 143, ""),
        ({0: 143, 1: -15}, 143, ""),
        ({0: 130, 1: 143}, 130, ""),
        ({0: 143, 1: 1}, 1, ""),
        ({0: 1, 1: -9}, 137, "error: process 1 was ended by SIGKILL (often because memory ran out)"),
        ({2: -11, 0: 143}, 139, "error: process 2 was ended by SIGSEGV, and the others with it"),
    ],
)
def test_a_run_of_several_processes_ends_with_the_status_of_the_one_that_failed(statuses, status, line):
    found = told(statuses)
    assert found[0] == status and found[1].startswith(line) and bool(found[1]) == bool(line)


class SignalHook(KillHook):
    """Sends SIGTERM to this process."""

    def end(self):
        os.kill(os.getpid(), signal.SIGTERM)


class NoisyGeM(GeM):
    """Draws from torch's global generator in training, as dropout does."""

    def __init__(self, p: float = 3.0) -> None:
        super().__init__(p)
        self.noise = nn.Dropout(0.2)

    def forward(self, x):
        return self.noise(super().forward(x))


OPTIONS = dict(
    train_dataloader__batch_sampler__num_batches=4,
    default_hooks__logger__interval=3,
    param_scheduler=[
        dict(type="LinearLR", start_factor=0.1, begin=0, end=9, by_epoch=False),
        dict(type="MultiStepLR", milestones=[2], by_epoch=True),
    ],
)


def noisy(cfg):
    cfg.model.neck.pool = dict(type=NoisyGeM)
    return cfg


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Work folder of an uninterrupted run (made by the first test that asks)."""
    return tmp_path_factory.mktemp("straight")


def assert_same_run(one: Path, other: Path, name: str = "epoch_3.pth") -> None:
    whole, resumed = read_checkpoint(one / name), read_checkpoint(other / name)
    assert all(torch.equal(v, resumed["state_dict"][k]) for k, v in whole["state_dict"].items())
    for old, new in zip(whole["optimizer"]["state"].values(), resumed["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(new[k])) for k, v in old.items())
    assert whole["param_schedulers"] == resumed["param_schedulers"]
    for key, entry in whole["message_hub"]["log_scalars"].items():
        if "time" not in key and "memory" not in key:
            assert torch.equal(entry["values"], resumed["message_hub"]["log_scalars"][key]["values"]), key
    assert logged_scalars(one) == logged_scalars(other)


@pytest.mark.parametrize(
    ("when", "name"),
    [
        (dict(iteration=5), "epoch_1_iter_2.pth"),
        # the epoch's last, before its validation
        pytest.param(dict(iteration=7), "epoch_1_iter_4.pth", marks=pytest.mark.slow),
        pytest.param(dict(validation_after=2), "epoch_2.pth", marks=pytest.mark.slow),
    ],
)
def test_a_preempted_run_goes_on_in_mid_epoch_to_the_same_bits(straight, toy_config, tmp_path, when, name):
    if not (straight / "epoch_3.pth").exists():
        train(noisy(toy_config(straight, **OPTIONS)))
    cfg = noisy(toy_config(**OPTIONS))
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=SignalHook, **when)]
    with pytest.raises(Interrupted, match="to the same bits") as stop:
        train(cfg, preemptible=True)
    folder = tmp_path / "run"
    assert interruption.end_of(stop.value)[0] == 143 and str(folder / name) in stop.value.kept
    assert find_checkpoints(folder)[0].name == name
    signal.getsignal(signal.SIGTERM).received = None  # another process goes on
    train(noisy(toy_config(**OPTIONS)), resume="auto", preemptible=True)
    assert_same_run(straight, folder)
    assert sorted(p.name for p in folder.glob("epoch_*")) == ["epoch_2.pth", "epoch_3.pth"]


def test_without_the_option_sigterm_ends_at_once_and_tells_the_last_checkpoint(toy_config, tmp_path):
    listen()
    cfg = toy_config(**OPTIONS)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=SignalHook, iteration=5)]
    with pytest.raises(Interrupted) as stop:
        train(cfg)
    assert stop.value.kept.startswith(f"{tmp_path / 'run' / 'epoch_1.pth'} is kept; the same command with --resume")


def test_gradients_that_are_being_summed_up_are_waited_for(toy_config, tmp_path):
    cfg = toy_config(**OPTIONS, optim_wrapper__accumulative_counts=2)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=SignalHook, iteration=0)]
    with pytest.raises(Interrupted, match="epoch_0_iter_2"):
        train(cfg, preemptible=True)


def test_a_run_with_an_epoch_start_hook_goes_back_to_its_last_epoch(toy_config, tmp_path):
    listen()
    cfg = toy_config(**OPTIONS)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=EpochStartHook), dict(type=SignalHook, iteration=5)]
    with pytest.raises(Interrupted, match=r"epoch_1\.pth is kept"):
        train(cfg, preemptible=True)


def test_generators_are_restored():
    state = random_state()
    first = torch.rand(3)
    restore_random_state(state)
    assert torch.equal(torch.rand(3), first)
