"""Does this package do on this machine's GPU what it does on a CPU, and how fast? A Markdown page of figures.

    python tools/gpu_check.py [--only CHECK ...] [--out docs/gpu.md]
    python tools/gpu_check.py --device cpu --out PAGE     the same code at toy size: its figures say nothing of a GPU

Under eight minutes. Every check is a function ``check(device, toy, people) -> Report`` of this file and runs in a
process of its own with a limit of time, so that one that fails, hangs or breaks the device is reported and the others
go on; the exit code is then 1. Checks that measure no time run side by side where there are cores for it. The released
systems' numbers (``parity``) lie in tests/data and tests/recipes.py, which only a checkout has: elsewhere the check
says so and compares with this machine's CPU. Timings are CUDA events.
"""

from __future__ import annotations

import concurrent.futures
import copy
import datetime
import importlib.util
import inspect
import json
import math
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import StochasticDepth

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))
from measuring import Report, in_child, machine, markdown_table, matmul_rate, number, seconds
from network import make_batch, make_model, our_step

from mscmreid.apis import load_config, test, train
from mscmreid.command_line import run_tool, tool_parser
from mscmreid.cores import available_cores
from mscmreid.engine.optimizers.optim_wrapper import EXTRACTION_PRECISIONS
from mscmreid.engine.runner.checkpoint import read_checkpoint
from mscmreid.engine.runner.processes import leave_group, peak_memory_mib
from mscmreid.fileio import written_atomically
from mscmreid.models.folding import inference_copy
from mscmreid.models.official import convert
from mscmreid.models.precision import inference_precision
from mscmreid.registry import DATASETS
from mscmreid.structures import Rows
from mscmreid.synthetic import Options, make_plan, write_dataset

ROOT = Path(__file__).resolve().parents[1]
CONFIGS, GOLDEN, RECIPES = ROOT / "configs", ROOT / "tests" / "data", ROOT / "tests" / "recipes.py"
SYSTEMS = ("mscm", "agw", "caj", "deen", "dns", "pmt")
PRECISIONS = ("float32", "TF32", "bfloat16", "float16")
DETERMINISTIC = dict(CUBLAS_WORKSPACE_CONFIG=":4096:8")
"""What cuBLAS needs in the environment, before the process starts, for deterministic algorithms."""


# ---------------------------------------------------------------------------------------------------------- settings


def systems(toy: bool) -> tuple[str, ...]:
    """All; at toy size one of convolutions and one of tokens."""
    return ("mscm", "pmt") if toy else SYSTEMS


def toy_options(toy: bool, system: str) -> dict[str, Any]:
    """A network of milliseconds, for a CPU."""
    if not toy:
        return {}
    transformer = dict(patch=16, stride=16, out_channels=32, depth=2, num_heads=4)
    small = transformer if system == "pmt" else dict(depth=18, base_channels=8)
    return {"image_size": (64, 32)} | {f"model.backbone.{name}": value for name, value in small.items()}


def views_of(model: nn.Module) -> list:
    """The views of the model's recipe, in order."""
    views = model.data_preprocessor.views
    return list(views.values() if isinstance(views, Mapping) else views)


def draw_people(folder: str, toy: bool) -> None:
    """Synthetic people in SYSU-MM01's layout."""
    options = Options("sysu", num_ids=8 if toy else 60, images_per_camera=2 if toy else 3)
    write_dataset(make_plan(options), Path(folder), available_cores())


def training_config(system: str, people: str, work_dir: Path, iterations: int, toy: bool, **options: Any) -> Config:
    """A system's training on the synthetic people: epochs of ``iterations``, no validation; '__' stands for dots."""
    init_default_scope("mscmreid")
    config = CONFIGS / f"{system}_synthetic.py"
    sampler = "train_dataloader.batch_sampler"
    sampler = sampler if load_config(config).train_dataloader.get("batch_sampler") else "train_dataloader.sampler"
    settings: dict[str, Any] = {
        "data_root": people,
        "work_dir": str(work_dir),
        f"{sampler}.num_batches": iterations,
        "train_cfg.max_epochs": 1,
        "train_cfg.val_begin": 100,
        "log_level": "WARNING",
        "experiment_name": f"gpu_check_{time.time_ns()}",
        "visualizer.vis_backends": [dict(type="LocalVisBackend")],
        "param_scheduler": [dict(type="ConstantLR", factor=1.0)],
    } | toy_options(toy, system)
    if toy:
        settings |= {f"{sampler}.num_ids": 2, f"{sampler}.num_instances": 2}
        if not sampler.endswith("batch_sampler"):
            settings["train_dataloader.batch_size"] = 8
    cfg = load_config(config, settings | {name.replace("__", "."): value for name, value in options.items()})
    cfg.model.head.num_classes = DATASETS.build(cfg.train_dataloader.dataset.to_dict()).metainfo["num_classes"]
    return cfg


def logged(runner: Any, name: str) -> list[float]:
    """A scalar of every iteration of a run."""
    return [float(value) for value in runner.message_hub.get_scalar(f"train/{name}").data[0]]


def deviation(found: Any, expected: Any) -> float:
    """Largest difference over the largest expected value."""
    found, expected = torch.as_tensor(found).double().cpu(), torch.as_tensor(expected).double().cpu()
    if found.shape != expected.shape:
        raise ValueError(f"expected shape {tuple(expected.shape)}, found {tuple(found.shape)}")
    return ((found - expected).abs().max() / expected.abs().max()).item()


# ------------------------------------------------------------------------------------------------------------- parity

RELEASED: dict[str, tuple[str, str, str, str, str, tuple[int, ...]]] = {
    # config, layout of its checkpoint, file of its numbers, their prefixes in test and training, seeds of the streams;
    # without a layout: compared with this machine's CPU
    "mscm": ("mscm_sysu.py", "mscm", "mscm_forward.npz", "", "", (100, 101, 102, 103)),
    "agw": ("agw_sysu.py", "agw", "agw_caj_forward.npz", "", "agw_", (200, 202)),
    "caj": ("caj_sysu.py", "agw", "agw_caj_forward.npz", "", "caj_", (200, 201, 202)),
    "deen": ("deen_sysu.py", "deen_sysu", "deen_forward.npz", "sysu_", "sysu_", (200, 202)),
    "deen (RegDB)": ("deen_regdb.py", "deen_regdb", "deen_forward.npz", "regdb_", "regdb_", (200, 202)),
    "dns": ("dns_sysu.py", "dns", "dns_forward.npz", "", "", (200, 202)),
    "pmt": ("pmt_sysu.py", "", "", "", "", (200, 202)),
}
LABELS = (3, 3, 7, 7)
Numbers = dict[str, Tensor]
"""Inference features by modality and name, and the first step's losses under 'losses'."""


def parity(device: str, toy: bool, people: str) -> Report:
    """Features (two images a modality) and first-step losses of every system, in float32 with TF32 off, and what TF32,
    bfloat16 and float16 change: largest deviation over largest value. Expected: the released implementations' numbers;
    for PMT, at toy size, or without a checkout, those of this machine's CPU in float32 on random weights and pixels."""
    checkout = None if toy else load_recipes()
    report = Report()
    if checkout is None:
        why = "toy size" if toy else f"the released numbers are part of a checkout, not found at {GOLDEN}"
        report.notes.append(f"Compared with this machine's CPU: {why}.")
    lines = []
    for name, case in RELEASED.items():
        recipes = checkout if case[1] else None
        model = seeded_model(case, recipes, toy)
        inputs = seeded_inputs(model, case[-1], recipes)
        expected = forward_numbers(model, "cpu", "float32", *inputs) if recipes is None else released_numbers(case)
        cells: dict[str, list[float]] = {"features": [], "losses": []}
        for precision in PRECISIONS:
            found = forward_numbers(model, device, precision, *inputs)
            if set(found) != set(expected):
                raise ValueError(f"{name}: expected {sorted(expected)}, found {sorted(found)}")
            of = {key: deviation(found[key], expected[key]) for key in expected}
            cells["features"].append(max(value for key, value in of.items() if key != "losses"))
            cells["losses"].append(of["losses"])
        lines += [(name, what, *(f"{value:.1e}" for value in values)) for what, values in cells.items()]
        for what, tolerance in (("features", 1e-4), ("losses", 1e-3)):
            found = cells[what][0]
            report.goal(f"{name}, {what} in float32", f"<= {tolerance:g}", f"{found:.1e}", found <= tolerance)
    report.table(("system", "deviation of", *PRECISIONS), lines)
    return report


def load_recipes() -> ModuleType | None:
    """tests/recipes.py of the checkout, which makes the released numbers' weights and images; None without one."""
    if not (RECIPES.is_file() and GOLDEN.is_dir()):
        return None
    spec = importlib.util.spec_from_file_location("recipes", RECIPES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seeded_model(case: tuple, recipes: ModuleType | None, toy: bool) -> nn.Module:
    """The system with the weights that the released numbers were made with, or random ones; without dropout."""
    model = make_model(True, toy_options(toy, case[0][:3]), CONFIGS / case[0])
    if recipes is not None:
        keys = json.loads((GOLDEN / f"{case[1]}_checkpoint_layout.json").read_text())["keys"]
        official = {key: torch.as_tensor(value) for key, value in recipes.fill(keys).items()}
        model.load_state_dict(convert(official, model.state_dict()).state_dict)
    for module in model.modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.p = 0.0
    return model


def seeded_inputs(model: nn.Module, seeds: Sequence[int], recipes: ModuleType | None) -> tuple[dict, dict, Rows]:
    """Images by modality for testing, and by stem for training with their rows."""

    def images(seed: int, n: int) -> Tensor:
        if recipes is not None:
            return torch.from_numpy(recipes.images(seed, n, *model.image_size))
        return torch.randn(n, 3, *model.image_size, generator=torch.Generator().manual_seed(seed))

    testing = dict(visible=images(11, 2), infrared=images(12, 2))
    training: dict[str, list[Tensor]] = {}
    rows = []
    for stream, (view, seed) in enumerate(zip(views_of(model), seeds, strict=True)):
        training.setdefault(view.stem, []).append(images(seed, 4))
        image = torch.arange(4) + (4 if view.modality == "infrared" else 0)
        rows.append(Rows.make(torch.tensor(LABELS), view.modality, stream, image))
    return testing, {stem: torch.cat(parts) for stem, parts in training.items()}, Rows.cat(rows)


@torch.no_grad()
def forward_numbers(
    model: nn.Module, device: str, precision: str, testing: dict, training: dict, rows: Rows
) -> Numbers:
    """What a copy of the model computes on a device."""
    model, found = copy.deepcopy(model).to(device), {}
    with inference_precision(device, EXTRACTION_PRECISIONS[precision.lower()], tf32=precision == "TF32"):
        model.eval()
        for modality, images in testing.items():
            for name, feature in model.extract_features(images.to(device), modality).items():
                found[f"{modality} {name}"] = feature
        inputs = {stem: images.to(device) for stem, images in training.items()}
        losses = model.train()(inputs, rows.to(device), mode="loss")
    found["losses"] = torch.stack([value for name, value in losses.items() if name.startswith("loss_")])
    return found


def released_numbers(case: tuple) -> Numbers:
    """The released implementation's, in this package's form: branches side by side, unit length together."""
    import numpy as np

    with np.load(GOLDEN / case[2], allow_pickle=False) as file:
        losses = file[f"{case[4]}train_losses"][0]
        if case[1] == "dns":  # the third was recorded without its weight, the fifth is their sum
            losses = losses[:4] * np.float32([1, 1, 0.2, 1])
        expected = {"losses": torch.from_numpy(losses)}
        for modality in ("visible", "infrared"):
            for feature in ("pool", "bn"):
                branches = torch.from_numpy(file[f"{case[3]}eval_{modality}_{feature}"]).split(2)  # two images
                joined = torch.cat(list(branches), dim=1) / len(branches) ** 0.5
                expected[f"{modality} feat_{feature}"] = joined
    return expected


# ----------------------------------------------------------------------------------------------------------- training


def scaler(device: str, toy: bool, people: str) -> Report:
    """200 steps in float16 with the gradient scaler on synthetic people, every system's small config: all losses must
    be finite. A step with infinite gradients is left out and halves the scale (65,536 at the start)."""
    report, lines, steps = Report(), [], 4 if toy else 200
    with tempfile.TemporaryDirectory() as folder:
        for system in systems(toy):
            runner = train(training_config(system, people, Path(folder, system), steps, toy), amp="fp16")
            losses, wrapper = logged(runner, "loss"), runner.optim_wrapper
            finite = sum(map(math.isfinite, losses))
            scale = f"{wrapper.scaler.get_scale():,.0f}" if wrapper.scaler.is_enabled() else "none"
            lines.append((system, wrapper.precision, f"{losses[0]:.3f}", f"{losses[-1]:.3f}", scale))
            found = f"{finite} of {len(losses)}"
            report.goal(f"{system}, finite losses", f"{steps} of {steps}", found, finite == len(losses) == steps)
    report.table(("system", "precision", "first loss", "last loss", "scale at the end"), lines)
    return report


def resume(device: str, toy: bool, people: str) -> Report:
    """Two epochs in one go, and the second one again from the first one's checkpoint in another run, with deterministic
    algorithms in float16: weights, optimizer and scaler must be the same to the last bit."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        for system in SYSTEMS[:1] if toy else ("mscm", "deen"):
            states = []
            for name, start in (("straight", None), ("resumed", Path(folder, system, "straight", "epoch_1.pth"))):
                cfg = training_config(
                    system,
                    people,
                    Path(folder, system, name),
                    3 if toy else 10,
                    toy,
                    train_cfg__max_epochs=2,
                    randomness__deterministic=True,
                    env_cfg__cudnn_benchmark=False,
                )
                train(cfg, amp="fp16", resume=start and str(start))
                content = read_checkpoint(Path(folder, system, name, "epoch_2.pth"))
                states.append(dict(flat(dict(state_dict=content["state_dict"], optimizer=content["optimizer"]))))
            other = [key for key, value in states[0].items() if not same(value, states[1].get(key))]
            found = f"{len(other)} of {len(states[0]):,} differ" + (f": {', '.join(other[:3])}" if other else "")
            report.goal(f"{system}, resumed", "0 entries differ", found, not other and len(states[0]) == len(states[1]))
    return report


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, leaf) of nested containers."""
    if isinstance(value, Mapping | list | tuple):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from flat(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def same(a: Any, b: Any) -> bool:
    """Equal, tensors bit by bit."""
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else bool(a == b)


def processes(device: str, toy: bool, people: str) -> Report:
    """Two processes with half of each batch beside one with all of it (synced batch norms, float32 without TF32): the
    logged losses of the first steps. On one GPU both share it; NCCL refuses that ("Duplicate GPU detected"), as it
    should: then they meet over gloo."""
    report, backend = Report(), "gloo"
    one = in_child(ranked_losses, people=people, toy=toy, environment=dict(NVIDIA_TF32_OVERRIDE="0"))
    if device == "cuda":
        try:
            two = two_processes("nccl", people, toy, limit=45)
            backend = "nccl"
        except RuntimeError as error:
            reason = next((line for line in str(error).splitlines() if "Duplicate GPU" in line), str(error)[-200:])
            report.notes.append(f"NCCL refused two processes on one GPU: `{reason.strip()}`")
    if backend == "gloo":
        two = two_processes("gloo", people, toy, limit=60)
    report.notes.append(f"Two processes over {backend}.")
    pairs = [(i + 1, *(f"{loss:.6f}" for loss in pair)) for i, pair in enumerate(zip(one, two, strict=True))]
    report.table(("step", "one process", "two processes"), pairs)
    for step, tolerance in ((0, 1e-4), (len(one) - 1, 1e-2)):
        off = abs(one[step] - two[step]) / abs(one[step])
        report.goal(f"loss of step {step + 1}, two against one", f"<= {tolerance:g}", f"{off:.1e}", off <= tolerance)
    return report


def two_processes(backend: str, people: str, toy: bool, limit: float) -> list[float]:
    """:func:`ranked_losses` of rank 0 of two."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = dict(LOCAL_RANK="0", WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ranks = [
            pool.submit(
                in_child,
                ranked_losses,
                people=people,
                toy=toy,
                backend=backend,
                limit=limit,
                environment=shared | dict(RANK=str(rank), NVIDIA_TF32_OVERRIDE="0"),
            )
            for rank in range(2)
        ]
        first, _ = [rank.result() for rank in ranks]
        return first


def ranked_losses(people: str, toy: bool, backend: str | None = None) -> list[float]:
    """Losses of five steps of MSCMNet, of this process's part of each batch and the other's."""
    with tempfile.TemporaryDirectory() as folder:
        options = dict(sync_bn="torch", env_cfg__dist_cfg=dict(backend=backend)) if backend else {}
        cfg = training_config("mscm", people, Path(folder), 3 if toy else 5, toy, **options)
        losses = logged(train(cfg, launcher="pytorch" if backend else "none"), "loss")
    mean = torch.tensor(losses)
    if backend:
        mean = mean.to("cuda") if backend == "nccl" else mean
        torch.distributed.all_reduce(mean)
        mean = mean.cpu() / 2
        leave_group()
    return mean.tolist()


def tables(device: str, toy: bool, people: str) -> Report:
    """A briefly trained MSCMNet tested as tools/test.py does, on the device and on the CPU in float32, and on the
    device in half precision: the largest change of any metric (modes, features, R1 to mINP), in percentage points."""
    report, lines = Report(), []
    with tempfile.TemporaryDirectory() as folder:
        options = dict(people=people, folder=folder, toy=toy)
        train(training_config("mscm", people, Path(folder, "train"), 4 if toy else 60, toy))
        expected = in_child(tested, precision="float32", environment=dict(CUDA_VISIBLE_DEVICES=""), **options)
        for precision in PRECISIONS:
            found = tested(precision=precision.lower(), **options)
            if found.keys() != expected.keys():
                raise ValueError(f"expected metrics {sorted(expected)}, found {sorted(found)}")
            worst = max(abs(found[name] - expected[name]) for name in expected)
            first = next(iter(expected))
            lines.append((precision, first, f"{expected[first]:.2f}", f"{found[first]:.2f}", f"{worst:.3f}"))
            if precision == "float32":
                report.at_most("a metric in float32, against the CPU", 0.01, worst, "points")
    report.table(("precision", "for example", "CPU, float32", "here", "largest change"), lines)
    return report


def tested(people: str, folder: str, precision: str, toy: bool) -> dict[str, float]:
    """The metrics of ``tables``' checkpoint, in percent, mean over the draws."""
    work_dir = Path(folder, f"test_{precision}_{time.time_ns()}")
    cfg = training_config("mscm", people, work_dir, 1, toy)
    results = test(cfg, Path(folder, "train", "epoch_1.pth"), str(work_dir), precision=precision)
    return {
        f"{result.mode} {result.feature} {name}": sum(values) / len(values)
        for result in results
        for name, values in result.values.items()
    }


# -------------------------------------------------------------------------------------------------- compiling, waiting


def compiled(device: str, toy: bool, people: str) -> Report:
    """A bfloat16 training step of MSCMNet through torch.compile beside the same step without: the first loss, and how
    long compiling takes (``speed`` finds what it made in torch's cache). On a CPU the graph is run as it is (backend
    "eager"): nothing is generated, only traced."""
    losses = []
    for compile_it in (False, True):
        model = make_model(True, toy_options(toy, "mscm"), device=device)
        if compile_it:
            model.compile(**compile_options(toy))
        step = our_step(model, published_batch(model, CONFIGS / "mscm_sysu.py", toy), "bfloat16")
        begun = time.perf_counter()
        losses.append(float(step()["loss"]))
        first = time.perf_counter() - begun
        del model, step
    report = Report(notes=[f"Compiling took {first:.0f} s with the first step."])
    off = abs(losses[1] - losses[0]) / abs(losses[0])
    report.goal("first loss, compiled against not", "<= 1e-2", f"{off:.1e}", off <= 1e-2)
    return report


def compile_options(toy: bool) -> dict[str, str]:
    """Of ``torch.compile``."""
    return dict(backend="eager") if toy else {}


def published_batch(model: nn.Module, config: Path, toy: bool) -> dict:
    """P x K of the config, 2 x 2 at toy size; in pinned memory where there is a GPU, as a loader gives it."""
    loader = load_config(config).train_dataloader
    sampler = loader.get("batch_sampler") or loader.sampler
    batch = make_batch(model.image_size, *((2, 2) if toy else (sampler.num_ids, sampler.num_instances)))
    if torch.cuda.is_available():
        batch["inputs"] = batch["inputs"].pin_memory()
    return batch


class Reads(TorchDispatchMode):
    """Notes the operators that hand a value to the host; stands in on a CPU for CUDA's own mode."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "_local_scalar_dense" in str(func) or "nonzero" in str(func):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def waits_of(run: Callable[[], object], device: str) -> list[str]:
    """Where the host waited for the device in a call."""
    if device == "cpu":
        with Reads() as reads:
            run()
        return reads.found
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{w.filename}:{w.lineno}" for w in caught if "called a synchronizing" in str(w.message)]


def copies_of(run: Callable[[], object]) -> int:
    """Calls of ``copy_`` in a call, of tensors with a dimension: casts, changes of layout, and draws that come over."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        run()
    return sum(event.name == "aten::copy_" and bool(event.input_shapes[0]) for event in profile.events())


def waits(device: str, toy: bool, people: str) -> Report:
    """How often the host waits for the device in a training step (views, forward and backward pass, update) of every
    system, behind warm-up, by ``torch.cuda.set_sync_debug_mode``; on a CPU by the operators that read a value. float16
    must ask the scaler once a step whether gradients are finite. Beside it, how many tensors a step casts or copies."""
    report, lines = Report(), []
    for system in systems(toy):
        for precision, allowed in (("bfloat16", 0), ("float16", 1 if device == "cuda" else 0)):
            config = CONFIGS / f"{system}_sysu.py"
            model = make_model(True, toy_options(toy, system), config, device)
            step = our_step(model, published_batch(model, config, True), precision)
            step(), step()
            found, copies = waits_of(step, device), copies_of(step)
            lines.append((system, precision, len(found), ", ".join(sorted(set(found))[:3]) or "none", copies))
            name = f"{system}, {precision}, waits of a step"
            report.goal(name, f"<= {allowed}", str(len(found)), len(found) <= allowed)
            if (system, precision, device) == ("mscm", "bfloat16", "cuda"):  # a CPU's own kernels copy inside
                report.goal(f"{system}, {precision}, copies of a step", "< 250", str(copies), copies < 250)
            del model, step
    report.table(("system", "precision", "waits", "where", "copies"), lines)
    return report


# --------------------------------------------------------------------------------------------------- memory and speed


def speed(device: str, toy: bool, people: str) -> Report:
    """Steps a second and peak memory of the published batch, and images a second of extraction, of every system, beside
    the model used plainly (NCHW, float32; like all of torch's float32 convolutions with TF32); the share is that of the
    device's own bfloat16 matrix product. Random weights and pixels; the views are made on the device."""
    rate = matmul_rate(torch.bfloat16, device, 256 if toy else 8192)
    where = "of tensors on the GPU" if device == "cuda" else "of the process so far"
    report, lines = Report([f"bfloat16 matrix product: {rate / 1e12:.3g} TFLOP/s. Peak memory is that {where}."]), []
    for system in systems(toy):
        try:  # in a process of its own: one that fails or hangs leaves the others
            lines += in_child(speed_of, system=system, device=device, toy=toy, rate=rate, limit=45)
        except RuntimeError as error:
            report.goal(f"{system}, measured", "in 45 s", str(error).splitlines()[-1], False)
    head = ("times", "share", "peak GiB")
    report.table(("system", "model", "steps/s", *head, "images/s", *head), lines)
    return report


def speed_of(system: str, device: str, toy: bool, rate: float) -> list[list[str]]:
    """The lines of a system."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    lines: list[list[str]] = []
    plain: dict[str, tuple[float, float]] = {}
    sides = [("plain", "float32"), ("here", "float32"), ("here", "bfloat16"), ("here", "float16")]
    for side, precision in sides + ([("compiled", "bfloat16")] if system == "mscm" else []):
        cells: list[str] = []
        for measured in (step_rate, extraction_rate):
            if side == "compiled" and measured is extraction_rate:
                cells += ["", "", "", ""]
                continue
            try:
                found, peak, flops = measured(CONFIGS / f"{system}_sysu.py", side, precision, device, toy)
            except torch.cuda.OutOfMemoryError:
                cells += ["does not fit", "", "", ""]
                continue
            finally:
                torch.cuda.empty_cache()
            base, operations = plain.setdefault(measured.__name__, (found, flops))
            share = f"{100 * found * operations / rate:.3g} %"
            cells += [number(found), f"{found / base:.2f}", share, f"{peak / 1024:.2f}"]
        lines.append([system, f"{side}, {precision}", *cells])
    return lines


def peak_of(device: str, run: Callable[[], float]) -> tuple[float, float]:
    """What ``run`` returns, and peak MiB."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return run(), peak_memory_mib()


def operations_of(run: Callable[[], object], side: str) -> float:
    """Floating point operations of a call; counted on the plain side alone."""
    if side != "plain":
        return math.nan
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def step_rate(config: Path, side: str, precision: str, device: str, toy: bool) -> tuple[float, float, float]:
    """Steps a second, peak MiB, operations of a step."""
    model = make_model(side != "plain", toy_options(toy, config.name[:3]), config, device)
    if side == "compiled":
        model.compile(**compile_options(toy))
    batch = published_batch(model, config, toy)
    batch["inputs"] = batch["inputs"].to(device)
    step = our_step(model, batch, precision)
    rate, peak = peak_of(device, lambda: 1 / seconds(step, 1 if toy else 5, warm_up=1 if toy else 3, device=device))
    return rate, peak, operations_of(step, side)


def extraction_rate(config: Path, side: str, precision: str, device: str, toy: bool) -> tuple[float, float, float]:
    """Images a second, peak MiB, operations of an image."""
    model = make_model(side != "plain", toy_options(toy, config.name[:3]), config, device).eval()
    count = 2 if toy else 128
    images = torch.randn(count, 3, *model.image_size, device=device)
    if side != "plain":
        model = inference_copy(model, dtype=getattr(torch, precision))
        images = images.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def extract() -> object:
        with inference_precision(device, getattr(torch, precision), tf32=True):
            return model.extract_features(images, "visible")

    rate, peak = peak_of(device, lambda: count / seconds(extract, 1 if toy else 5, 1 if toy else 3, device))
    return rate, peak, operations_of(extract, side) / count


# --------------------------------------------------------------------------------------------------------- the command

CHECKS: dict[str, tuple[Callable[[str, bool, str], Report], str, float]] = {  # title, seconds it may take
    "compiled": (compiled, "torch.compile", 200),
    "parity": (parity, "Parity with the released systems", 120),
    "scaler": (scaler, "float16 with the gradient scaler", 180),
    "resume": (resume, "Exact resume", 90),
    "processes": (processes, "Two processes against one", 150),
    "tables": (tables, "The table of a test", 120),
    "waits": (waits, "Host waits", 90),
    "speed": (speed, "Speed and memory", 275),
}
TIMED = ("speed",)
"""Checks that have the device to themselves."""


def run(name: str, device: str, toy: bool, people: str) -> tuple[str, Report, float]:
    """('passed' or 'failed', report, seconds) of a check in a process of its own."""
    begun = time.perf_counter()
    environment = DETERMINISTIC | (dict(CUDA_VISIBLE_DEVICES="") if device == "cpu" else {})
    function, _, limit = CHECKS[name]
    try:
        found = in_child(function, device=device, toy=toy, people=people, limit=limit, environment=environment)
        report = Report(**found)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        report = Report(notes=[f"**failed**: {str(error).splitlines()[-1]}"])
        report.goal(name, "runs", "failed", False)
    passed = all(goal["reached"] for goal in report.goals)
    return "passed" if passed else "failed", report, time.perf_counter() - begun


def page(results: dict[str, tuple[str, Report, float]], device: str, toy: bool) -> str:
    """The Markdown page."""
    mark = "**Toy size on a CPU: the figures show that the checks run, nothing else.**\n\n" if toy else ""
    rows = [
        (f"{CHECKS[name][1]} (`--only {name}`)", word, f"{taken:.0f}", f"{CHECKS[name][2]:.0f}")
        for name, (word, _, taken) in results.items()
    ]
    parts = [
        f"# GPU check\n\n{mark}Made by `python tools/gpu_check.py{' --device cpu' if device == 'cpu' else ''}` on "
        f"{datetime.date.today().isoformat()}.",
        markdown_table(("machine", "is"), machine()),
        markdown_table(("check", "result", "s", "limit, s"), rows),
    ]
    for name, (_, report, _) in results.items():
        goals = [(g["what"], g["wanted"], g["found"], "yes" if g["reached"] else "**no**") for g in report.goals]
        table = markdown_table(("expected", "wanted", "found", "reached"), goals) if goals else ""
        compared = " ".join((inspect.getdoc(CHECKS[name][0]) or "").split())
        parts += [f"## {CHECKS[name][1]}", compared, report.markdown(), table]
    return "\n\n".join(part for part in parts if part) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: toy size, needs --out")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), default=list(CHECKS), metavar="CHECK")
    parser.add_argument("--out", type=Path, help="the page (default: docs/gpu.md of the checkout)")
    args = parser.parse_args(argv)
    toy = args.device == "cpu"
    if not toy and not torch.cuda.is_available():
        raise ValueError("expected a CUDA device, found none; --device cpu runs the same checks at toy size")
    if args.out is None and (toy or not (ROOT / "docs").is_dir()):
        raise ValueError("--out must name the page (docs/gpu.md is for a GPU's figures, in a checkout)")
    out, writing = args.out or ROOT / "docs" / "gpu.md", threading.Lock()
    results: dict[str, tuple[str, Report, float]] = {}
    with tempfile.TemporaryDirectory() as people:
        in_child(draw_people, folder=people, toy=toy)

        def check(name: str) -> None:
            print(f"{name} ...", flush=True)
            found = run(name, args.device, toy, people)
            print(f"{name}: {found[0]} ({found[2]:.0f} s)", flush=True)
            with writing, written_atomically(out) as temporary:  # a page after every check
                results[name] = found
                done = {name: results[name] for name in CHECKS if name in results}
                temporary.write_text(page(done, args.device, toy), encoding="utf-8")

        together = [name for name in args.only if name not in TIMED]
        with concurrent.futures.ThreadPoolExecutor(max(1, available_cores() // 3)) as pool:
            list(pool.map(check, together))
        for name in args.only:
            if name in TIMED:
                check(name)
    failed = [name for name, (word, _, _) in results.items() if word == "failed"]
    print(f"written: {out}")
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}; the page says how")


if __name__ == "__main__":
    run_tool(main)
