"""A job that is about to be taken its machine keeps its state, in the middle of an epoch if need be."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

import torch
from mmengine.dist import all_reduce, barrier, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mscmreid.engine.hooks.checkpoint_hook import flush_scalars, place_in_epoch
from mscmreid.engine.hooks.epoch_start_hook import EpochStartHook
from mscmreid.engine.runner.checkpoint import LAST
from mscmreid.engine.runner.train_loops import counts_iterations
from mscmreid.fileio import write_text
from mscmreid.interruption import Interrupted, current, listen
from mscmreid.registry import HOOKS


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM, end after this iteration with a checkpoint from which the run goes on to the same bits.

    ``epoch_E_iter_I.pth`` is written after E whole epochs and I iterations of the next (``iter_N.pth`` where iterations
    count), and deleted when the next whole checkpoint is there. A signal during a validation lets the validation end.
    With several processes all of them are asked after every iteration: one number is summed.

    A run whose labels are worked out at the start of an epoch (:class:`EpochStartHook`) cannot go on within one: it
    ends at once and goes on from its last epoch.
    """

    priority = "LOWEST"  # after the schedule's step and everything else that belongs to the iteration

    def before_train(self, runner: Runner) -> None:
        """From here on SIGTERM waits for the end of an iteration."""
        if others := [type(hook).__name__ for hook in runner.hooks if isinstance(hook, EpochStartHook)]:
            runner.logger.warning(f"{others[0]} needs whole epochs: on SIGTERM this run goes back to its last epoch")
            return
        listen().postpones = True

    def after_train(self, runner: Runner) -> None:
        """The last checkpoint is written: a signal ends the process as usual."""
        listen().postpones = False

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Mapping | None = None
    ) -> None:
        """Where a signal has come, write the checkpoint and end."""
        iteration = runner.iter + 1
        if not self.is_asked() or iteration % getattr(runner.optim_wrapper, "_accumulative_counts", 1):
            return  # gradients that are being summed up are in no checkpoint: the next iteration
        if counts_iterations(runner) and runner.train_loop.is_validated(iteration):
            return  # the validation belongs to it
        place = place_in_epoch(runner)
        name = f"epoch_{runner.epoch}_iter_{place['batches']}.pth"
        name = f"iter_{iteration}.pth" if counts_iterations(runner) else name
        flush_scalars(runner)
        runner.save_checkpoint(
            runner.work_dir,
            name,
            save_param_scheduler=runner.param_schedulers is not None,
            meta=dict(epoch=runner.epoch, iter=iteration, **place),
        )
        self.end(runner, os.path.join(runner.work_dir, name))

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Where a signal came during the validation, end: the checkpoint behind it has just been written."""
        hub = runner.message_hub
        finished = (hub.get_info("last_ckpt_iter"), runner.iter) if counts_iterations(runner) else (
            hub.get_info("last_ckpt_epoch"), runner.epoch)  # fmt: skip
        if finished[0] == finished[1] and self.is_asked():
            self.end(runner, hub.get_info("last_ckpt"))

    def is_asked(self) -> bool:
        """Whether SIGTERM has come to one of the processes, the same in all."""
        listener = current()
        asked = listener is not None and listener.postpones and listener.received == signal.SIGTERM
        if get_world_size() == 1:
            return asked
        total = torch.tensor(int(asked))
        all_reduce(total, "sum")
        return bool(total > 0)

    def end(self, runner: Runner, path: str) -> None:
        """Name the checkpoint as the last one, and end the run.

        Raises:
            Interrupted: always.
        """
        if is_main_process():
            write_text(path, os.path.join(runner.work_dir, LAST))
        barrier()
        raise Interrupted(signal.SIGTERM, f"{path} is kept, and --resume goes on from there to the same bits")
