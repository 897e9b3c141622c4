"""When checkpoints are written, which are kept, which is the best."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mscmreid.engine.runner.checkpoint import LAST, remove_leftovers
from mscmreid.fileio import write_text
from mscmreid.registry import HOOKS

_BETTER = {"greater": operator.gt, "less": operator.lt}


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """``epoch_N.pth`` after an epoch *and its validation*, and ``best_<metric>_epoch_N.pth``.

    Because the validation's outcome is part of the checkpoint, a run that is killed during validation does that
    epoch again when it is resumed, and ends with the same numbers as one that was never killed. Old files are deleted
    only after the new one is in place.

    Args:
        interval: epochs between checkpoints; the last epoch always gets one.
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
    ) -> None:
        if rule not in _BETTER:
            raise ValueError(f"rule must be one of {sorted(_BETTER)}, found {rule!r}")
        if interval < 1:
            raise ValueError(f"interval must be at least 1 epoch, found {interval}")
        if max_keep_ckpts == 0 or max_keep_ckpts < -1:
            raise ValueError(f"max_keep_ckpts must be at least 1, or -1 for all, found {max_keep_ckpts}")
        self.interval = interval
        self.max_keep_ckpts = max_keep_ckpts
        self.save_best = save_best
        self.is_better = _BETTER[rule]
        self.save_optimizer = save_optimizer
        self.pending = False

    def before_train(self, runner: Runner) -> None:
        """Clear what a killed run left half written."""
        self.pending = False
        if is_main_process() and (left := remove_leftovers(runner.work_dir)):
            runner.logger.info(f"removed half-written checkpoints of an earlier run: {left}")
        runner.logger.info(f"checkpoints go to {runner.work_dir}")

    def after_train_epoch(self, runner: Runner) -> None:
        """Remember that this epoch's checkpoint is to be written, once its validation (if any) is over."""
        self.pending = True

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Keep the best, then write the epoch's checkpoint, which knows about it."""
        if self.pending:  # not in a validation outside training
            self._keep_best(runner, metrics or {})
            self._write_pending(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Write the checkpoint of an epoch that was not validated."""
        self._write_pending(runner)

    def after_train(self, runner: Runner) -> None:
        """Write the last epoch's checkpoint if that has not been done yet."""
        self._write_pending(runner, last=True)

    def _write_pending(self, runner: Runner, last: bool = False) -> None:
        epoch = runner.epoch  # finished epochs
        hub = runner.message_hub
        if last and not self.pending:
            self.pending = epoch > 0 and hub.get_info("last_ckpt_epoch") != epoch
        if not self.pending:
            return
        self.pending = False
        if not (last or epoch % self.interval == 0 or epoch == runner.max_epochs):
            return
        path = os.path.join(runner.work_dir, f"epoch_{epoch}.pth")
        kept = [e for e in hub.get_info("keep_ckpt_ids", []) if e < epoch] + [epoch]
        outdated = kept[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        hub.update_info("keep_ckpt_ids", kept[len(outdated) :])
        hub.update_info("last_ckpt", path)
        hub.update_info("last_ckpt_epoch", epoch)
        runner.save_checkpoint(
            runner.work_dir,
            os.path.basename(path),
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_optimizer and runner.param_schedulers is not None,
            meta=dict(epoch=epoch, iter=runner.iter),
        )
        if is_main_process():
            write_text(path, os.path.join(runner.work_dir, LAST))
            for old in outdated:
                Path(runner.work_dir, f"epoch_{old}.pth").unlink(missing_ok=True)
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
        path = os.path.join(runner.work_dir, f"best_{self.save_best.replace('/', '_')}_epoch_{runner.epoch}.pth")
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
        runner.logger.info(f"best so far: {self.save_best} {score:.4f} after epoch {runner.epoch}: {path}")
