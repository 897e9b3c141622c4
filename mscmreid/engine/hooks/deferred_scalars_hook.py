"""Logged values are read from the device once per interval."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from mscmreid.registry import HOOKS


@HOOKS.register_module()
class DeferredScalarsHook(RuntimeInfoHook):
    """MMEngine's RuntimeInfoHook, but losses stay on the device until they are logged.

    MMEngine's own reads every value in every iteration and so makes the host wait for the GPU each time; here all
    values of an interval come over in one transfer, averaged over the processes. Histories are bounded, because
    appending to them costs time that grows with their length.

    Args:
        history: how many past values of a scalar are kept (and written to checkpoints).
        stop_on_nan: end the run when a loss is not finite, instead of training on.
    """

    def __init__(self, history: int = 1000, stop_on_nan: bool = True) -> None:
        super().__init__()
        self.history = history
        self.stop_on_nan = stop_on_nan
        self.interval = 10
        self.waiting: list[tuple[str, Tensor]] = []

    def before_train(self, runner: Runner) -> None:
        """Take over the interval of the logger."""
        super().before_train(runner)
        self.waiting.clear()
        self.interval = min([h.interval for h in runner.hooks if isinstance(h, LoggerHook)], default=self.interval)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Mapping | None = None
    ) -> None:
        """Keep this iteration's values; at the end of an interval read them all."""
        scalars = dict(outputs or {})
        if getattr(runner.optim_wrapper, "grad_norm", None) is not None:
            scalars["grad_norm"] = runner.optim_wrapper.grad_norm
        self.waiting += [(f"train/{k}", torch.as_tensor(v).detach().float()) for k, v in scalars.items()]
        if self.every_n_inner_iters(batch_idx, self.interval) or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self.flush(runner)

    def flush(self, runner: Runner) -> None:
        """Read what is waiting (one transfer) into the message hub.

        Raises:
            FloatingPointError: a loss is NaN or infinite.
        """
        if not self.waiting:
            return
        names = [name for name, _ in self.waiting]
        values = torch.stack([value for _, value in self.waiting])
        self.waiting.clear()
        if get_world_size() > 1:
            all_reduce(values, "mean")
        hub = runner.message_hub
        for name, value in zip(names, values.tolist(), strict=True):
            if self.stop_on_nan and "loss" in name and not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} is {value} in the iterations before {runner.iter + 1} (epoch {runner.epoch + 1}); "
                    "lower the learning rate, try --amp bf16 or none, or set "
                    "default_hooks.runtime_info.stop_on_nan=False to go on all the same"
                )
            hub.update_scalar(name, value)
        for buffer in hub.log_scalars.values():
            buffer.max_length = self.history
