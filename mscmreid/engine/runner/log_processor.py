"""The line of log that stands for an interval of training, or for a validation."""

from __future__ import annotations

from datetime import timedelta

from mmengine.runner import LogProcessor, Runner

from mscmreid.engine.runner.processes import peak_memory_mib
from mscmreid.engine.runner.train_loops import counts_iterations
from mscmreid.registry import LOG_PROCESSORS


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
        where = f"epoch {runner.epoch + 1}/{runner.max_epochs} {done}"
        if counts_iterations(runner):
            where = f"iteration {runner.iter + 1}/{runner.max_iters}"
        line = [where, f"loss {values['loss']:.4f}"]
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
        where = mode
        if mode == "val":
            by_iteration = counts_iterations(runner)
            where = f"val after iteration {runner.iter}" if by_iteration else f"val after epoch {runner.epoch}"
        return tag, "  ".join([where, *main])


def _learning_rates(runner: Runner) -> str:
    """The different learning rates of the optimizer's groups, largest first."""
    rates = {group["lr"] for group in runner.optim_wrapper.optimizer.param_groups}
    return "lr " + "/".join(f"{lr:.3g}" for lr in sorted(rates, reverse=True))
