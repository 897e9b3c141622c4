"""Training loops that may stop between two batches of an epoch and go on there, to the same bits."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import SyncBuffersHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mscmreid.registry import LOOPS


@LOOPS.register_module(name=["ReIDTrainLoop", "EpochBasedTrainLoop"])
class ReIDTrainLoop(EpochBasedTrainLoop):
    """MMEngine's; it can go on in the middle of an epoch.

    Arguments are those of MMEngine's.

    Attributes:
        batch: batches of this epoch that are done, or in work; 0 between epochs.
        done: batches of the epoch that a checkpoint was made behind; they are drawn again and passed over.
        random_states: of the generators behind them, one entry a process, as :func:`random_state` gives them.
    """

    counts_iterations = False
    """Whether lengths and intervals are counted in iterations."""

    batch = 0
    done = 0
    val_interval: int
    random_states: Sequence[dict[str, Any]] | None = None

    def run_epoch(self) -> None:
        """One epoch, or the rest of one."""
        runner = self.runner
        runner.call_hook("before_train_epoch")
        runner.model.train()
        done, self.done = self.done, 0
        if done:
            runner.logger.info(f"epoch {self._epoch + 1}: its first {done} batches are drawn again and passed over")
        for number, batch in enumerate(self.dataloader):
            self.batch = number + 1
            if number < done:
                if number + 1 == done:
                    self._restore_generators()
                continue
            self.run_iter(number, batch)
            if self.ends_within_epoch():
                break
        self.batch = 0
        runner.call_hook("after_train_epoch")
        self._epoch += 1

    def ends_within_epoch(self) -> bool:
        """After an iteration: whether no other follows in this epoch."""
        return False

    def _restore_generators(self) -> None:
        states, self.random_states = self.random_states, None
        if states is None or get_rank() >= len(states):
            self.runner.logger.warning(
                "the checkpoint has no state of this process's random generators (it was made with fewer processes): "
                "what is drawn in the rest of this epoch is not what an uninterrupted run draws"
            )
        else:
            restore_random_state(states[get_rank()])


@LOOPS.register_module(name=["ReIDIterTrainLoop", "IterBasedTrainLoop"])
class ReIDIterTrainLoop(ReIDTrainLoop):
    """Training whose length and validations are counted in iterations.

    It goes over the data epoch after epoch, as training by epochs does: hooks hear of epochs, generators and batches
    come from (seed, epoch), schedules may count either. MMEngine's own takes the whole training for one epoch.

    Args:
        runner, dataloader: given by the Runner.
        max_iters: iterations in all.
        val_begin: first iteration after which there may be a validation.
        val_interval: iterations between validations; the last one is always followed by one.
        dynamic_intervals: as MMEngine's, by iterations.
    """

    counts_iterations = True

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(runner, dataloader, 1, val_begin, val_interval, dynamic_intervals)
        self._max_iters = int(max_iters)
        self._max_epochs = math.ceil(max_iters / len(self.dataloader))

    def run(self) -> nn.Module:
        """Train to the last iteration."""
        self.runner.call_hook("before_train")
        while self._iter < self._max_iters and not self.stop_training:
            self.run_epoch()
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """One iteration, whose number in the whole run hooks hear as ``batch_idx``, and its validation."""
        super().run_iter(self._iter, data_batch)
        self._decide_current_val_interval()
        if self.is_validated(self._iter):
            for hook in self.runner.hooks:
                if isinstance(hook, SyncBuffersHook):  # it takes the end of an epoch for the last iteration
                    hook.called_in_train = False
            self.runner.val_loop.run()
            self.runner.model.train()

    def is_validated(self, iteration: int) -> bool:
        """Whether a validation follows when this many iterations are done."""
        due = iteration % self.val_interval == 0 or iteration == self._max_iters
        return self.runner.val_loop is not None and iteration >= self.val_begin and due

    def ends_within_epoch(self) -> bool:
        """At the last iteration, or when a hook ends the training."""
        return self._iter >= self._max_iters or self.stop_training

    def _decide_current_val_interval(self) -> None:
        """MMEngine's, by iterations."""
        steps = zip(self.dynamic_milestones, self.dynamic_intervals, strict=True)
        passed: list[int] = [interval for milestone, interval in steps if milestone <= self._iter + 1]
        self.val_interval = passed[-1] if passed else self.val_interval


def counts_iterations(runner: Runner) -> bool:
    """Whether the training's length is counted in iterations."""
    return getattr(runner._train_loop, "counts_iterations", False)


def random_state() -> dict[str, Any]:
    """State of Python's, numpy's and torch's global generators, as tensors and numbers."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = dict(
        python=random.getstate(),
        numpy=(name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """The inverse of :func:`random_state`."""
    version, values, gauss = state["python"]
    random.setstate((version, tuple(values), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
