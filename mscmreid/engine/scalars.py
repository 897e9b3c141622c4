"""What is logged: read from the device once per interval, in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import LogProcessor, Runner
from torch import Tensor

from mscmreid.registry import HOOKS, LOG_PROCESSORS

from .platform import peak_memory_mib


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


@LOG_PROCESSORS.register_module()
class ReIDLogProcessor(LogProcessor):
    """One line an interval: losses, accuracy, learning rates, time, memory, time left.

    Args:
        window_size: iterations that losses, accuracy and times are averaged over.
        log_with_hierarchy: write scalars as ``train/loss`` rather than ``loss``.
    """

    def __init__(self, window_size: int = 50, log_with_hierarchy: bool = True) -> None:
        super().__init__(
            window_size=window_size,
            log_with_hierarchy=log_with_hierarchy,
            mean_pattern=r".*(loss|time|data_time|grad_norm|acc).*",
        )

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """(values for the visualiser, the line)."""
        tag, _ = super().get_log_after_iter(runner, batch_idx, mode)
        memory = peak_memory_mib()
        tag["memory"] = memory
        values = {k.removeprefix(f"{mode}/"): v for k, v in tag.items()}
        done = f"[{batch_idx + 1}/{self._get_dataloader_size(runner, mode)}]"
        left = str(timedelta(seconds=int(runner.message_hub.get_info("eta", 0))))
        parts = [
            f"{values['time']:.3f} s/it (data {values['data_time']:.3f})",
            f"{memory / 1024:.1f} GiB",
            f"ETA {left}",
        ]
        if mode != "train":
            return tag, "  ".join([f"{mode} {done}", *parts])
        losses = [f"{k.removeprefix('loss_')} {v:.4f}" for k, v in values.items() if k.startswith("loss_")]
        line = [f"epoch {runner.epoch + 1}/{runner.max_epochs} {done}", f"loss {values['loss']:.4f}"]
        if losses:
            line[-1] += f" ({', '.join(losses)})"
        if "acc" in values:
            line.append(f"acc {values['acc']:.1f} %")
        if "grad_norm" in values:
            line.append(f"grad {values['grad_norm']:.3g}")
        return tag, "  ".join([*line, _learning_rates(runner), *parts])

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        """(values for the visualiser, the line): the main protocol's measures; the metric prints the whole table."""
        tag, _ = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        values = {k.removeprefix(f"{mode}/"): v for k, v in tag.items()}
        main = [
            f"{k} {v:.2f}" for k, v in values.items() if isinstance(v, float) and k.count("/") <= 1 and "time" not in k
        ]
        where = f"{mode} after epoch {runner.epoch}" if mode == "val" else mode
        return tag, "  ".join([where, *main])


def _learning_rates(runner: Runner) -> str:
    """The different learning rates of the optimizer's groups, largest first."""
    rates = {group["lr"] for group in runner.optim_wrapper.optimizer.param_groups}
    return "lr " + "/".join(f"{lr:.3g}" for lr in sorted(rates, reverse=True))
