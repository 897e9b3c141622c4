"""MMEngine's ProfilerHook, which ends what it begins: in tests too, and when a run breaks off."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import ProfilerHook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop

from mscmreid.registry import HOOKS


@HOOKS.register_module(name=["ReIDProfilerHook", "ProfilerHook"])
class ReIDProfilerHook(ProfilerHook):
    """MMEngine's, with its options; in a test or validation by itself it profiles the whole of it, or with
    ``by_epoch=False`` its first ``profile_times`` iterations.

    MMEngine's starts torch's profiler before every run and ends it in training only. A torch profiler that is still on
    when the interpreter ends crashes it: ``python -c "import torch; torch.profiler.profile().__enter__();
    torch.ones(3) + 1"`` is a segmentation fault (torch 2.14.1). So a test with the hook wrote its results and then
    died. MMEngine's also builds the training data in a test, to compare ``profile_times`` with a training's length.
    """

    def before_run(self, runner: Runner) -> None:
        """Start the profiler; it is ended with the process at the latest."""
        self._closed = False
        if isinstance(runner._train_loop, BaseLoop):
            super().before_run(runner)
        else:
            self.profiler = torch.profiler.profile(
                activities=self.activities,
                schedule=self.schedule,
                on_trace_ready=self._parse_trace_config(runner),
                record_shapes=self.record_shapes,
                profile_memory=self.profile_memory,
                with_stack=self.with_stack,
                with_flops=self.with_flops,
            )
            self.profiler.__enter__()
            runner.logger.info("profiler is profiling...")
        atexit.register(self._stop)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """A step of the profiler's schedule."""
        self._step(runner, batch_idx)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """A step of the profiler's schedule, in a validation by itself."""
        if not isinstance(runner._train_loop, BaseLoop):
            self._step(runner, batch_idx)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping | None = None
    ) -> None:
        """MMEngine's, once."""
        if not self._closed:
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def after_run(self, runner: Runner) -> None:
        """End what no epoch of training has ended."""
        if not self._closed:
            self._export_chrome_trace(runner)
        atexit.unregister(self._stop)

    def _step(self, runner: Runner, batch_idx: int) -> None:
        if self._closed:
            return
        self.profiler.step()
        if not self.by_epoch and batch_idx + 1 == self.profile_times:
            self._export_chrome_trace(runner)

    def _stop(self) -> None:
        """After a run that broke off."""
        if not self._closed:
            self._closed = True
            self.profiler.on_trace_ready = None
            self.profiler.__exit__(None, None, None)
