"""What the platform costs: a start, an iteration of the Runner, a config's text."""

from __future__ import annotations

import contextlib
import itertools
import logging
import statistics
import tempfile
import time
from pathlib import Path

from measuring import CONFIGS, Report, has_bf16_instructions, in_child

CONFIG = CONFIGS / "mscm_sysu.py"


def start(quick: bool, threads: int) -> Report:
    """Seconds from the start of a training to its first iteration, with a built cache: MSCMNet on a folder of
    SYSU-MM01's true size (links to a few pictures, a hollow cache), from random weights; reading ImageNet weights comes
    on top, about a second. Bound: importing torch, which the first stage does."""
    from made_up_sysu import make_sysu

    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        root = make_sysu(Path(folder, "SYSU-MM01"), 0.1 if quick else 1.0)
        for number in range(2):  # the first one makes the caches
            stages = in_child(first_iteration, data_root=root, work_dir=Path(folder, f"run{number}"), begun=time.time())
    for name, seconds in stages.items():
        report.figure(f"until {name}", seconds, "s", bound=stages["torch is imported"], bound_is="importing torch")
    report.at_most("start to first iteration, cache built", 15, list(stages.values())[-1], "s")
    return report


def first_iteration(data_root: str, work_dir: str, begun: float) -> dict[str, float]:
    """Seconds since ``begun`` (of the clock) at every stage; torch is imported when this is called."""
    stages = {"torch is imported": time.time() - begun}

    def stamp(name: str) -> None:
        stages[name] = time.time() - begun

    from made_up_sysu import use_hollow_caches
    from mmengine.hooks import Hook

    from mscmreid.apis import load_config
    from mscmreid.registry import HOOKS, RUNNERS

    logging.disable(logging.ERROR)
    stamp("mmengine and this package are imported")
    use_hollow_caches()

    @HOOKS.register_module()
    class Stamps(Hook):
        """Notes the time of the first iteration and ends the run there."""

        priority = "LOWEST"

        def before_train(self, runner) -> None:
            stamp("runner, data sets, model, optimizer are built")

        def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
            stamp("the first batch is there and the first iteration begins")
            raise KeyboardInterrupt

    cfg = load_config(CONFIG, dict(data_root=data_root, work_dir=work_dir, log_level="ERROR"))
    cfg.model.backbone.init_cfg = None
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type="Stamps")]
    runner = RUNNERS.build(cfg)
    with contextlib.suppress(KeyboardInterrupt):
        runner.train()
    return stages


def overhead(quick: bool, threads: int) -> Report:
    """An iteration of the Runner with a model of one number, so that nothing but the platform is measured: MMEngine's
    default hooks beside this project's. Bound: the loop one would write. Medians, in turn in one process."""
    import torch
    from mmengine.config import Config
    from network import SMALL, step_side

    from mscmreid.apis import load_config

    report = Report()
    iterations = 500 if quick else 2000
    precision = "bfloat16" if has_bf16_instructions() else "float32"
    sizes = dict(options=SMALL, num_ids=6, num_instances=4, steps=2)
    step = 1e3 * in_child(step_side, num_threads=threads, side="here", precision=precision, **sizes)["seconds"]
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    bare = bare_loop(iterations)
    mmengine, ours = with_runner(iterations, ours=False), with_runner(iterations, ours=True)
    report.figure("an iteration of the Runner", ours, "ms", mmengine, bare, "a bare loop")
    texts = []
    for read in (lambda: load_config(CONFIG), lambda: Config.fromfile(str(CONFIG))):
        begun = time.perf_counter()
        read().pretty_text  # noqa: B018
        texts.append(time.perf_counter() - begun)
    report.figure("a config's text (five times a start, once a checkpoint)", texts[0], "s", texts[1])
    report.notes.append(f"A {precision} step of MSCMNet on ResNet-18 at 64 x 32, 96 maps: {step:,.0f} ms.")
    report.goal(
        "platform overhead an iteration",
        f"< 3 % of a small network's {precision} step",
        f"{ours - bare:.2f} ms, {100 * (ours - bare) / step:.2f} %",
        ours - bare < 0.03 * step,
    )
    return report


def median_step(times: list[float]) -> float:
    """Median milliseconds between the later half of the times (early ones have short histories to append to)."""
    steps = [1e3 * (b - a) for a, b in itertools.pairwise(times)]
    return statistics.median(steps[len(steps) // 2 :])


def one_number(iterations: int) -> tuple:
    """A model of one parameter with the log of a real one, its optimizer, and a loader of as many batches."""
    import torch
    from mmengine.model import BaseModel
    from torch.utils.data import DataLoader

    class OneNumber(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, inputs, mode: str = "loss") -> dict:
            loss = self.weight * inputs.sum()
            return dict(loss_ce=loss, loss_qct=loss, acc=loss.detach())

    model = OneNumber()
    return model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader([dict(inputs=torch.ones(1))] * iterations)


def bare_loop(iterations: int) -> float:
    """Milliseconds an iteration of the loop one would write."""
    model, optimizer, loader = one_number(iterations)
    times = []
    for batch in loader:
        losses = model(**batch)
        (losses["loss_ce"] + losses["loss_qct"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter())
    return median_step(times)


def with_runner(iterations: int, ours: bool) -> float:
    """Milliseconds an iteration under a Runner: this project's hooks, or MMEngine's default ones."""
    from mmengine.hooks import Hook
    from mmengine.optim import OptimWrapper
    from mmengine.runner import Runner

    from mscmreid import engine

    class Clock(Hook):
        """Times of all iterations, from the end of one to the end of the next."""

        priority = "LOWEST"
        times: list[float] = []

        def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
            self.times.append(time.perf_counter())

    hooks: dict = dict(logger=dict(type="LoggerHook", interval=50))
    if ours:
        hooks |= dict(runtime_info=engine.DeferredScalarsHook(), checkpoint=engine.SafeCheckpointHook())
    model, optimizer, loader = one_number(iterations)
    with tempfile.TemporaryDirectory() as folder:
        runner = (engine.ReIDRunner if ours else Runner)(
            model,
            folder,
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=engine.AutocastOptimWrapper(optimizer, "float32") if ours else OptimWrapper(optimizer),
            default_hooks=hooks,
            custom_hooks=[Clock(), *([engine.ReproducibleHook()] if ours else [])],
            log_processor=engine.ReIDLogProcessor() if ours else dict(window_size=50),
            log_level="ERROR",
            experiment_name=f"overhead_{ours}_{time.time_ns()}",
            default_scope="mscmreid" if ours else "mmengine",
        )
        runner.train()
    return median_step(Clock.times)
