"""Losses are read once per interval; the log line says what a person wants to know."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.logging import MessageHub
from torch.utils._python_dispatch import TorchDispatchMode

from mscmreid.engine.hooks.deferred_scalars_hook import DeferredScalarsHook
from mscmreid.engine.runner.log_processor import ReIDLogProcessor


def make_runner(name: str, hook, num_batches: int = 7) -> SimpleNamespace:
    group = SimpleNamespace(param_groups=[dict(lr=0.1), dict(lr=0.01), dict(lr=0.1)])
    return SimpleNamespace(
        message_hub=MessageHub.get_instance(name),
        hooks=[hook, LoggerHook(interval=3)],
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(), __len__=lambda: num_batches),
        optim_wrapper=SimpleNamespace(optimizer=group, get_lr=lambda: dict(lr=[0.1])),
        epoch=1,
        iter=0,
        max_epochs=5,
        max_iters=35,
    )


class Loader(list):
    dataset = SimpleNamespace()


def feed(hook, name: str, values) -> SimpleNamespace:
    runner = make_runner(name, hook)
    runner.train_dataloader = Loader(values)
    hook.before_train(runner)
    for i, value in enumerate(values):
        runner.iter = i
        hook.after_train_iter(runner, i, outputs=dict(loss=value, acc=2 * value))
    return runner


def test_deferred_values_are_those_of_mmengine_in_order():
    values = torch.arange(7.0) / 8
    deferred = feed(DeferredScalarsHook(), "deferred", values).message_hub.log_scalars
    direct = feed(RuntimeInfoHook(), "direct", values).message_hub.log_scalars
    for name in ("train/loss", "train/acc"):
        assert deferred[name].data[0].tolist() == direct[name].data[0].tolist()


class CountReads(TorchDispatchMode):
    """Counts the operators that make the host wait for the device."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        self.reads += "_local_scalar_dense" in name or "_to_copy" in name or "aten.copy_" in name
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_from_the_device_between_intervals():
    hook = DeferredScalarsHook()
    runner = make_runner("reads", hook)
    runner.train_dataloader = Loader(range(100))
    hook.before_train(runner)
    with CountReads() as count:
        for i in range(2):  # the interval is 3
            hook.after_train_iter(runner, i, outputs=dict(loss=torch.ones(())))
    assert count.reads == 0 and "train/loss" not in runner.message_hub.log_scalars
    hook.after_train_iter(runner, 2, outputs=dict(loss=torch.ones(())))
    assert len(runner.message_hub.log_scalars["train/loss"].data[0]) == 3


def test_histories_are_bounded():
    hub = feed(DeferredScalarsHook(history=4), "bounded", torch.ones(20)).message_hub
    assert len(hub.log_scalars["train/loss"].data[0]) <= 4 + 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(bad):
    with pytest.raises(FloatingPointError, match="train/loss"):
        feed(DeferredScalarsHook(), f"bad{bad}", torch.tensor([1.0, bad, 1.0]))
    feed(DeferredScalarsHook(stop_on_nan=False), f"allowed{bad}", torch.tensor([1.0, bad, 1.0]))


def test_the_line_of_an_interval():
    hook = DeferredScalarsHook()
    runner = make_runner("line", hook)
    runner.train_dataloader = Loader(range(7))
    runner.train_loop = SimpleNamespace(dataloader=runner.train_dataloader)
    runner._train_loop = runner.train_loop
    runner.model = SimpleNamespace()
    hub = runner.message_hub
    for name, value in dict(loss=3.5, loss_ce=3.0, loss_qct=0.5, acc=12.5, lr=0.1, time=0.25, data_time=0.01).items():
        hub.update_scalar(f"train/{name}", value)
    hub.update_info("eta", 3661)
    tag, line = ReIDLogProcessor(window_size=3).get_log_after_iter(runner, 2, "train")
    assert line.startswith("epoch 2/5 [3/7]  loss 3.5000 (ce 3.0000, qct 0.5000)  acc 12.5 %  lr 0.1/0.01  0.250 s/it")
    assert line.endswith("ETA 1:01:01") and "GiB" in line
    assert tag["train/loss"] == 3.5 and tag["memory"] > 0
