"""When checkpoints are written, which are kept, which is the best."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mscmreid.engine.bare_model import bare_model
from mscmreid.engine.hooks.deferred_scalars_hook import DeferredScalarsHook
from mscmreid.engine.runner.checkpoint import LAST, remove_leftovers
from mscmreid.engine.runner.own_buffers import own_buffers
from mscmreid.engine.runner.train_loops import counts_iterations, random_state
from mscmreid.fileio import write_text
from mscmreid.registry import HOOKS

_BETTER = {"greater": operator.gt, "less": operator.lt}
_LAST_NUMBER = {"epoch": "last_ckpt_epoch", "iter": "last_ckpt_iter"}


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """``epoch_N.pth`` after an epoch *and its validation*, and ``best_<metric>_epoch_N.pth``.

    Because the validation's outcome is part of the checkpoint, a run that is killed during validation does that
    epoch again when it is resumed, and ends with the same numbers as one that was never killed. Old files are deleted
    only after the new one is in place.

    A training that counts iterations has ``iter_N.pth`` and ``best_<metric>_iter_N.pth``, after each validation and at
    the end.

    Args:
        interval: epochs between checkpoints; the last epoch always gets one.
        by_epoch: False: ``interval`` is in iterations, for a training that counts them.
        max_keep_ckpts: how many ``epoch_N.pth`` stay; the second newest is what ``--resume`` falls back to if the
            newest is damaged. -1 keeps all.
        save_best: name of the metric (as in the log) whose best epoch is kept; None keeps no best.
        rule: 'greater' or 'less' is better.
        save_optimizer: write optimizer and schedule too (without them nothing can be resumed).
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        interval: int = 1,
        max_keep_ckpts: int = 2,
        save_best: str | None = None,
        rule: str = "greater",
        save_optimizer: bool = True,
        by_epoch: bool = True,
    ) -> None:
        if rule not in _BETTER:
            raise ValueError(f"rule must be one of {sorted(_BETTER)}, found {rule!r}")
        if interval < 1:
            raise ValueError(f"interval must be at least 1 epoch, found {interval}")
        if max_keep_ckpts == 0 or max_keep_ckpts < -1:
            raise ValueError(f"max_keep_ckpts must be at least 1, or -1 for all, found {max_keep_ckpts}")
        self.interval = interval
        self.by_epoch = by_epoch
        self.max_keep_ckpts = max_keep_ckpts
        self.save_best = save_best
        self.is_better = _BETTER[rule]
        self.save_optimizer = save_optimizer
        self.pending = False

    def before_train(self, runner: Runner) -> None:
        """Clear what a killed run left half written."""
        if not self.by_epoch and not counts_iterations(runner):
            raise ValueError(
                "default_hooks.checkpoint.by_epoch=False goes with a training that counts iterations "
                "(train_cfg.by_epoch=False): this one counts epochs"
            )
        self.pending = False
        if is_main_process() and (left := remove_leftovers(runner.work_dir)):
            runner.logger.info(f"removed half-written checkpoints of an earlier run: {left}")
        runner.logger.info(f"checkpoints go to {runner.work_dir}")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Mapping | None = None
    ) -> None:
        """Where iterations count: remember that this one's checkpoint is to be written, or write it."""
        if not counts_iterations(runner):
            return
        iteration = runner.iter + 1
        if runner.train_loop.is_validated(iteration):
            self.pending = True
        elif iteration == runner.max_iters or (not self.by_epoch and iteration % self.interval == 0):
            self._write(runner, "iter", iteration)

    def after_train_epoch(self, runner: Runner) -> None:
        """Remember that this epoch's checkpoint is to be written, once its validation (if any) is over."""
        self.pending = not counts_iterations(runner)

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Keep the best, then write the checkpoint, which knows about it."""
        if self.pending:  # not in a validation outside training
            self._keep_best(runner, metrics or {})
            self._write_pending(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Write the checkpoint of an epoch that was not validated."""
        self._write_pending(runner)

    def after_train(self, runner: Runner) -> None:
        """Write the last epoch's checkpoint if that has not been done yet."""
        kind, number = position(runner)
        self.pending = self.pending or (number > 0 and runner.message_hub.get_info(_LAST_NUMBER[kind]) != number)
        self._write_pending(runner, last=True)

    def _write_pending(self, runner: Runner, last: bool = False) -> None:
        if not self.pending:
            return
        self.pending = False
        kind, number = position(runner)
        if last or kind == "iter" or number % self.interval == 0 or number == runner.max_epochs:
            self._write(runner, kind, number)

    def _write(self, runner: Runner, kind: str, number: int) -> None:
        hub = runner.message_hub
        path = os.path.join(runner.work_dir, f"{kind}_{number}.pth")
        kept = [n for n in hub.get_info("keep_ckpt_ids", []) if n < number] + [number]
        outdated = kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        flush_scalars(runner)
        hub.update_info("keep_ckpt_ids", kept[len(outdated) :])
        hub.update_info("last_ckpt", path)
        hub.update_info(_LAST_NUMBER[kind], number)
        runner.save_checkpoint(
            runner.work_dir,
            os.path.basename(path),
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_optimizer and runner.param_schedulers is not None,
            meta=dict(epoch=runner.epoch, iter=number if kind == "iter" else runner.iter, **place_in_epoch(runner)),
        )
        if is_main_process():
            write_text(path, os.path.join(runner.work_dir, LAST))
            between = Path(runner.work_dir).glob("epoch_*_iter_*.pth")  # where a preempted run stopped, before this
            for old in [*(Path(runner.work_dir, f"{kind}_{n}.pth") for n in outdated), *between]:
                old.unlink(missing_ok=True)
        runner.logger.info(f"checkpoint: {path}")

    def _keep_best(self, runner: Runner, metrics: Mapping[str, float]) -> None:
        if self.save_best is None:
            return
        if self.save_best not in metrics:
            raise ValueError(
                f"default_hooks.checkpoint.save_best is {self.save_best!r}, but the validation gave {sorted(metrics)}"
            )
        score = float(metrics[self.save_best])
        hub = runner.message_hub
        best = hub.get_info("best_score")
        if best is not None and not self.is_better(score, best):
            return
        previous = hub.get_info("best_ckpt")
        kind, number = position(runner)
        path = os.path.join(runner.work_dir, f"best_{self.save_best.replace('/', '_')}_{kind}_{number}.pth")
        hub.update_info("best_score", score)
        hub.update_info("best_ckpt", path)
        runner.save_checkpoint(
            runner.work_dir,
            os.path.basename(path),
            save_optimizer=False,
            save_param_scheduler=False,
            meta=dict(epoch=runner.epoch, iter=runner.iter),
        )
        if previous and is_main_process():
            old = Path(runner.work_dir, Path(previous).name)  # the folder may have been moved
            if old.name != os.path.basename(path):
                old.unlink(missing_ok=True)
        after = f"epoch {number}" if kind == "epoch" else f"iteration {number}"
        runner.logger.info(f"best so far: {self.save_best} {score:.4f} after {after}: {path}")


def position(runner: Runner) -> tuple[str, int]:
    """How far a training is, in what it counts: ('epoch', finished epochs) or ('iter', finished iterations)."""
    return ("iter", runner.iter) if counts_iterations(runner) else ("epoch", runner.epoch)


def place_in_epoch(runner: Runner) -> dict[str, Any]:
    """What a checkpoint between two batches of an epoch needs beside the usual, {} between epochs: the number of
    batches that are done, the generators of all processes and their buffers. To be called in all of them."""
    if not getattr(runner.train_loop, "batch", 0):
        return {}
    return dict(
        batches=runner.train_loop.batch,
        random_states=all_gather_object(random_state()),
        buffers=own_buffers(bare_model(runner.model)),
    )


def flush_scalars(runner: Runner) -> None:
    """Put logged values that wait on the device into the message hub, which is part of a checkpoint."""
    for hook in runner.hooks:
        if isinstance(hook, DeferredScalarsHook):
            hook.flush(runner)
