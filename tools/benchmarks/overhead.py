"""What the platform costs: an iteration of the Runner against a bare loop, a start, a config's text.

    python tools/benchmarks/overhead.py [--iterations 2000]

Prints a Markdown table. The model is one number, so that nothing but the platform is measured; MMEngine's default hooks
run beside this project's, in turn in one process. Times are medians.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import goal, has_bf16_instructions, table
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from training_step import step_seconds

from mscmreid.apis import load_config
from mscmreid.engine import (
    AutocastOptimWrapper,
    DeferredScalarsHook,
    ReIDLogProcessor,
    ReIDRunner,
    ReproducibleHook,
    SafeCheckpointHook,
)

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "mscm_sysu.py"


class OneNumber(BaseModel):
    """A model of one parameter with the log of a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        loss = self.weight * inputs.sum()
        return dict(loss_ce=loss, loss_qct=loss, acc=loss.detach())


class Numbers(Dataset):
    """As many items as iterations."""

    metainfo: dict = {}

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return dict(inputs=torch.ones(1))


class Clock(Hook):
    """Times of all iterations, from the end of one to the end of the next."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        self.times.append(time.perf_counter())


def median_step(times: list[float]) -> float:
    """Median milliseconds between the later half of the times (early ones have short histories to append to)."""
    steps = [1e3 * (b - a) for a, b in itertools.pairwise(times)]
    return statistics.median(steps[len(steps) // 2 :])


def bare_loop(iterations: int) -> float:
    """Milliseconds an iteration of the loop one would write."""
    model = OneNumber()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    times = []
    for batch in DataLoader(Numbers(iterations)):
        losses = model(**batch)
        (losses["loss_ce"] + losses["loss_qct"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter())
    return median_step(times)


def with_runner(iterations: int, ours: bool) -> float:
    """Milliseconds an iteration under a Runner: this project's hooks, or MMEngine's default ones."""
    clock = Clock()
    hooks = (
        dict(
            runtime_info=DeferredScalarsHook(),
            logger=dict(type="LoggerHook", interval=50),
            checkpoint=SafeCheckpointHook(),
        )
        if ours
        else dict(logger=dict(type="LoggerHook", interval=50))
    )
    model = OneNumber()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = AutocastOptimWrapper(optimizer, dtype="float32") if ours else OptimWrapper(optimizer)
    with tempfile.TemporaryDirectory() as folder:
        runner = (ReIDRunner if ours else Runner)(
            model,
            folder,
            train_dataloader=DataLoader(Numbers(iterations)),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=wrapper,
            default_hooks=hooks,
            custom_hooks=[clock, *([ReproducibleHook()] if ours else [])],
            log_processor=ReIDLogProcessor() if ours else dict(window_size=50),
            log_level="ERROR",
            experiment_name=f"overhead_{ours}_{time.time_ns()}",
            default_scope="mscmreid" if ours else "mmengine",
        )
        runner.train()
    return median_step(clock.times)


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Median seconds of a call."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=2000)
    iterations = parser.parse_args().iterations
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    bare = bare_loop(iterations)
    mmengine, ours = with_runner(iterations, ours=False), with_runner(iterations, ours=True)
    text_mmengine = seconds(lambda: Config.fromfile(str(CONFIG)).pretty_text)
    text_ours = seconds(lambda: load_config(CONFIG).pretty_text)
    steps = {precision: 1e3 * step_seconds(precision)["seconds"] for precision in ("bfloat16", "float32")}
    rows = [
        ("an iteration of a bare loop", f"{bare:.3f} ms", ""),
        ("what the Runner adds to it", f"{mmengine - bare:.3f} ms", f"{ours - bare:.3f} ms"),
        ("a config's text (five times a start, once a checkpoint)", f"{text_mmengine:.2f} s", f"{text_ours:.2f} s"),
    ]
    for precision, step in steps.items():
        rows.append((f"a step of MSCMNet on ResNet-18, 64 x 32, 96 maps, {precision}", "", f"{step:.0f} ms"))
    table(("what", "MMEngine's defaults", "here"), rows)
    goal(
        "platform overhead an iteration",
        "< 3 % of a small network's bfloat16 step",
        f"{ours - bare:.2f} ms, {100 * (ours - bare) / steps['bfloat16']:.2f} % "
        f"({100 * (ours - bare) / steps['float32']:.2f} % of the float32 step)",
        ours - bare < 0.03 * steps["bfloat16"] if has_bf16_instructions() else None,
    )


if __name__ == "__main__":
    main()
