"""Randomness that depends on (seed, epoch) and (seed, iteration) only, never on where a process happens to stand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mscmreid.engine.bare_model import bare_model
from mscmreid.registry import FUNCTIONS, HOOKS


def seed_everything(*key: int) -> None:
    """Seed Python's, numpy's and torch's global generators from non-negative integers such as (seed, epoch, rank)."""
    torch_seed, numpy_seed, python_seed = np.random.SeedSequence(key).generate_state(3)
    torch.manual_seed(int(torch_seed))  # all devices
    np.random.seed(int(numpy_seed))
    random.seed(int(python_seed))


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """``worker_init_fn``: Python's and numpy's generators follow torch's, which differs by epoch and by worker."""
    seed = torch.initial_seed()
    np.random.seed(seed % 2**32)
    random.seed(seed)


@HOOKS.register_module()
class ReproducibleHook(Hook):
    """Seeds all generators from (seed, epoch, rank) before each epoch and tells the model where training stands.

    Views are drawn from (seed, iteration) by the data preprocessor, whose ``seed`` becomes the runner's. So a
    resumed run goes on with the numbers that an uninterrupted one would have drawn.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        """Hand the run's seed to the preprocessor."""
        model = bare_model(runner.model)
        preprocessor: Any = getattr(model, "data_preprocessor", None)
        if hasattr(preprocessor, "seed"):
            preprocessor.seed = runner.seed
        # a model hands it on to its parts
        self._targets: list[Any] = [model] if hasattr(model, "set_iteration") else _with_iteration(model)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the generators for this epoch."""
        seed_everything(runner.seed, runner.epoch, get_rank())

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Announce iteration and epoch to the model, or to its parts."""
        for target in self._targets:
            target.set_iteration(runner.iter, runner.epoch)


def _with_iteration(model: nn.Module) -> list[Any]:
    return [part for part in model.modules() if hasattr(type(part), "set_iteration")]
