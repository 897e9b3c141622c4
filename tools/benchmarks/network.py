"""The network with its losses: training step, extraction, and what half precision costs."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from data import per_image_views
from measuring import (
    CONFIGS,
    Report,
    best_of_rounds,
    fastest,
    has_bf16_instructions,
    in_child,
    matmul_rate,
    precisions,
    seconds,
    where_time_goes,
)
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mscmreid.apis import init_model, load_config, train
from mscmreid.engine import ReIDOptimWrapperConstructor
from mscmreid.engine.optimizers.optim_wrapper import EXTRACTION_PRECISIONS
from mscmreid.engine.runner.allocator import keep_freed_memory
from mscmreid.engine.runner.checkpoint import trained_checkpoint
from mscmreid.evaluation import FeatureTable, evaluate
from mscmreid.experiments.costs import measure, model_info
from mscmreid.models.folding import inference_copy
from mscmreid.models.losses import BatchHardTripletLoss, QuadrupleCenterTripletLoss
from mscmreid.registry import METRICS, MODELS, RUNNERS
from mscmreid.structures import ReIDDataSample
from mscmreid.synthetic import Options, make_plan, write_dataset

CONFIG = CONFIGS / "mscm_sysu.py"
SMALL = {"image_size": (64, 32), "model.backbone.depth": 18}
OPTIMIZER = dict(lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4)
MARGIN = 0.7


def make_model(
    channels_last: bool, options: dict | None = None, config: str | Path = CONFIG, device: str = "cpu"
) -> nn.Module:
    """A config's model with random weights, in training mode."""
    init_default_scope("mscmreid")
    cfg = load_config(config, options or {})
    cfg.model.backbone.init_cfg = None
    if cfg.model.backbone.type != "VisionTransformer":  # its maps are tokens
        cfg.model.backbone.channels_last = channels_last
    torch.manual_seed(0)
    with torch.device(device):  # a GPU draws weights faster
        model = MODELS.build(cfg.model)
    return model.train().to(device)


def make_batch(image_size: tuple[int, int], num_ids: int, num_instances: int) -> dict:
    """What a data loader gives: random uint8 images in channels_last memory, P x K of each modality."""
    labels = [i for i in range(num_ids) for _ in range(num_instances)]
    samples = [ReIDDataSample(metainfo=dict(modality=m, label=i)) for m in ("visible", "infrared") for i in labels]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(samples), *image_size, 3), dtype=torch.uint8, generator=generator)
    return dict(inputs=pixels.permute(0, 3, 1, 2), data_samples=samples)


def plain_step(model: nn.Module, batch: dict) -> Callable[[], float]:
    """The step as one would write it first: views image by image on one core, torch's default optimizer."""
    pipelines = per_image_views(model.image_size)
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)
    images = batch["inputs"].permute(0, 2, 3, 1).numpy()
    half = len(images) // 2
    of = dict(visible=images[:half], infrared=images[half:])
    rows = model.data_preprocessor(batch, training=True)["rows"]
    threads = torch.get_num_threads()

    def step() -> float:
        torch.set_num_threads(1)  # a data worker has one core
        inputs = {
            stem: torch.stack([pipeline(image) for image in of[stem[:-2]]]) for stem, pipeline in pipelines.items()
        }
        torch.set_num_threads(threads)
        loss = total(model(inputs, rows, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def total(losses: dict[str, Tensor]) -> Tensor:
    """What is minimised."""
    return sum(value for name, value in losses.items() if name.startswith("loss_"))  # type: ignore[return-value]


def our_step(model: nn.Module, batch: dict, precision: str) -> Callable[[], dict]:
    """The step as the Runner takes it."""
    optim_wrapper = ReIDOptimWrapperConstructor(dict(optimizer=dict(type="SGD", **OPTIMIZER), dtype=precision))(model)
    return lambda: model.train_step(batch, optim_wrapper)


def step_side(side: str, precision: str, options: dict, num_ids: int, num_instances: int, steps: int) -> dict:
    """Seconds a step, and the matrix product's rate in the same process."""
    if side != "plain":
        keep_freed_memory()
    model = make_model(side != "plain", options)
    batch = make_batch(model.image_size, num_ids, num_instances)
    step = plain_step(model, batch) if side == "plain" else our_step(model, batch, precision)
    found = dict(seconds=seconds(step, steps), rate=matmul_rate(getattr(torch, precision)))
    return found if side == "plain" else dict(found, operations=where_time_goes(step))


def _step(options: dict, num_ids: int, num_instances: int, steps: int, rounds: int, threads: int) -> Report:
    report = Report()
    flops = model_info(load_config(CONFIG, options)).training_flops * 2 * num_ids * num_instances
    sides = [("plain", "float32"), *(("here", precision) for precision in precisions())]
    sizes = dict(options=options, num_ids=num_ids, num_instances=num_instances, steps=steps)
    found = best_of_rounds(
        lambda side, precision: in_child(step_side, num_threads=threads, side=side, precision=precision, **sizes),
        sides,
        rounds,
    )
    plain = found["plain", "float32"]["seconds"]
    for (side, precision), result in found.items():
        report.figure(
            f"{side}, {precision}",
            1e3 * result["seconds"],
            "ms",
            None if side == "plain" else 1e3 * plain,
            1e3 * flops / result["rate"],
            f"{precision} matrix product of {result['rate'] / 1e9:.0f} GFLOP/s",
        )
    report.notes.append(f"{4 * num_ids * num_instances} maps a step, {flops / 1e9:,.0f} GFLOPs, {threads} threads.")
    say_where_time_goes(report, found)
    return report


def say_where_time_goes(report: Report, found: dict[tuple[str, str], dict]) -> None:
    """What holds each side from its bound."""
    for (side, precision), result in found.items():
        if "operations" in result:
            report.notes.append(f"Where the time goes, {side}, {precision}: {result['operations']}.")


def step(quick: bool, threads: int) -> Report:
    """A training step of MSCMNet (ResNet-50, 384 x 192, 16 maps), from uint8 images to updated weights. Plain: weights
    and maps in NCHW, float32, views image by image with Pillow and torchvision, torch's default optimizer. Here: what
    training does by default on a CPU. Every side in a process of its own, all in turn, the fastest step."""
    report = _step({}, 2, 1 if quick else 2, 1 if quick else 2, 1 if quick else 2, threads)
    times = {row[0]: float(row[3]) for row in report.figures if row[3]}
    report.at_least("training step, float32", 1.3, times["here, float32"])
    if has_bf16_instructions():
        report.at_least("training step, bfloat16", 2.5, times["here, bfloat16"])
    return report


def small_step(quick: bool, threads: int) -> Report:
    """The other end: a ResNet-18 at 64 x 32 with 96 maps, where the costs around the network weigh most."""
    return _step(SMALL, 6, 4, 2 if quick else 5, 1 if quick else 2, threads)


def extraction_side(side: str, precision: str, num_images: int, batches: int) -> dict:
    """Seconds an image, and the matrix product's rate in the same process."""
    if side != "plain":
        keep_freed_memory()
    model = make_model(channels_last=side != "plain").eval()
    dtype = getattr(torch, precision)
    x = torch.randn(num_images, 3, *model.image_size, generator=torch.Generator().manual_seed(1))
    if side != "plain":
        model = inference_copy(model, compile=side == "compiled", dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def extract() -> object:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
            return model.extract_features(x, "visible")

    found = dict(seconds=seconds(extract, batches) / num_images, rate=matmul_rate(dtype))
    return found if side == "plain" else dict(found, operations=where_time_goes(extract))


def extraction(quick: bool, threads: int) -> Report:
    """Feature extraction with MSCMNet at 384 x 192. Plain: NCHW, float32, the network as it was trained. Here:
    channels_last, batch norms folded, freed memory kept; then compiled, in the fastest precision."""
    report = Report()
    flops = model_info(load_config(CONFIG)).inference_flops
    sides = [("plain", "float32"), *(("here", precision) for precision in precisions())]
    sizes = dict(num_images=8 if quick else 16, batches=1 if quick else 2)

    def run(side: str, precision: str) -> dict:
        return in_child(extraction_side, num_threads=threads, side=side, precision=precision, **sizes)

    found = best_of_rounds(run, sides, 1 if quick else 2)
    if not quick:
        found["compiled", precisions()[-1]] = run("compiled", precisions()[-1])
    plain = found["plain", "float32"]["seconds"]
    for (side, precision), result in found.items():
        report.figure(
            f"{side}, {precision}",
            1 / result["seconds"],
            "images/s",
            None if side == "plain" else 1 / plain,
            result["rate"] / flops,
            f"{precision} matrix product of {result['rate'] / 1e9:.0f} GFLOP/s",
        )
    report.notes.append(f"{sizes['num_images']} images a batch, {threads} threads, {flops / 1e9:.1f} GFLOPs an image.")
    say_where_time_goes(report, found)
    best = {
        precision: min(result["seconds"] for (side, p), result in found.items() if p == precision and side != "plain")
        for precision in precisions()
    }
    report.at_least("extraction, float32", 3.0, plain / best["float32"])
    if "bfloat16" in best:
        rate = max(result["rate"] for (_, p), result in found.items() if p == "bfloat16")
        report.at_least("extraction, bfloat16", 5.5, plain / best["bfloat16"])
        share = 100 * flops / best["bfloat16"] / rate
        report.at_least("extraction, share of the bfloat16 matrix product", 70, share, "%")
    return report


# ------------------------------------------------------------------------------------------------------------- losses


def qct_by_rows(features: Tensor, labels: Tensor, modality: Tensor, stream: Tensor) -> Tensor:
    """The quadruple center triplet loss as one would write it first: every row looks up its centres and distances."""
    centers = torch.stack([features[labels == label].mean(0) for label in labels])
    pulls, pushes = [], []
    for i in range(len(features)):
        cross = features[(labels == labels[i]) & (modality != modality[i])].mean(0)
        pulls.append((features[i] - cross).norm())
        others = centers[labels != labels[i]]
        pushes.append((MARGIN - (features[i] - others).norm(dim=1)).clamp_min(0).mean())
    return (torch.stack(pulls).mean() + torch.stack(pushes).mean()) / 2


def batch_hard_by_rows(features: Tensor, labels: Tensor, modality: Tensor, stream: Tensor) -> Tensor:
    """Batch-hard triplet, a row at a time, over one shared distance matrix."""
    norms = features.square().sum(1)
    distances = (norms[:, None] + norms[None, :] - 2 * features @ features.T).clamp_min(1e-12).sqrt()
    losses = []
    for i in range(len(features)):
        positive, negative = distances[i][labels == labels[i]].max(), distances[i][labels != labels[i]].min()
        losses.append((positive - negative + 0.3).clamp_min(0))
    return torch.stack(losses).mean()


def losses(quick: bool, threads: int, num_rows: int = 96, dim: int = 2048) -> Report:
    """Metric losses, forward and backward, beside straightforward loops over the rows, float32, in turn in one process.
    Bound: their matrix products alone."""
    torch.set_num_threads(threads)
    report = Report(notes=[f"{num_rows} rows of {dim}, {threads} threads."])
    per_stream = num_rows // 4  # four streams of six identities, distances around the margin
    labels = (torch.arange(per_stream) * 6 // per_stream).repeat(4)
    stream = torch.arange(4).repeat_interleave(per_stream)
    columns = dict(label=labels, modality=stream // 2, stream=stream)
    features = torch.randn(num_rows, dim, generator=torch.Generator().manual_seed(0)) * 0.5 / dim**0.5 + 0.5
    pairs = (QuadrupleCenterTripletLoss(MARGIN), qct_by_rows), (BatchHardTripletLoss(0.3), batch_hard_by_rows)
    for fast, slow in pairs:

        def run(loss: Callable[..., Tensor]) -> Tensor:
            own = features.clone().requires_grad_()
            reads = getattr(loss, "reads", ())
            value = loss(own, *(columns[name] for name in (reads[1:] if "feat_pool" in reads else columns)))
            value.backward()
            return value.detach()

        torch.testing.assert_close(run(fast), run(slow), rtol=1e-3, atol=1e-5)
        repeats = 5 if quick else 20
        here, plain = fastest([lambda: run(fast), lambda: run(slow)], repeats, clock=time.perf_counter)  # noqa: B023
        bound = 1e3 * measure(lambda: run(fast))[0] / matmul_rate()  # noqa: B023
        name = type(fast).__name__
        report.figure(name, 1e3 * here, "ms", 1e3 * plain, bound, "float32 matrix product")
        if fast is pairs[0][0]:
            report.at_least(f"QCT forward + backward, {num_rows} x {dim}", 20, plain / here)
    return report


# ----------------------------------------------------------------------------------------------------- half precision

FEATURES = ("feat_bn", "feat_pool")
Values = dict[tuple[str, str, str], float]


SYSTEMS = ("mscm", "agw", "caj", "deen", "dns", "pmt")


def precision(quick: bool, threads: int) -> Report:
    """What half precision costs in the metrics: MSCMNet, trained on synthetic people, tested on more images of the
    held-out ones (2,200 infrared queries) in every precision that tests have, batch norms folded. A difference is in
    percentage points, the largest over modes, features and metrics. For differences, not for speed: where the
    processor has no instructions for a precision torch takes another way to the same rounding."""
    return _precision(("mscm",), quick, threads, people=(0,))


def precision_systems(quick: bool, threads: int) -> Report:
    """What half precision costs in the metrics of all six systems, as in the case ``precision``, on the held-out people
    and on as many others that were drawn with another seed (with --quick on the former only). Bound: none."""
    return _precision(SYSTEMS, quick, threads, people=(0,) if quick else (0, 1))


def _precision(systems: Sequence[str], quick: bool, threads: int, people: Sequence[int]) -> Report:
    """Each system in each precision on the test sets of these seeds."""
    torch.set_num_threads(threads)
    init_default_scope("mscmreid")
    report, lines = Report(), []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_dataset(make_plan(Options("sysu")), root / "people", os.cpu_count())
        for seed in people:
            plan = make_plan(Options("sysu", seed=seed, images_per_camera=6 if quick else 22))
            write_dataset(plan, root / f"more{seed}", os.cpu_count())
        for system in systems:
            config, work_dir = CONFIGS / f"{system}_synthetic.py", root / system
            options: dict = dict(data_root=str(root / "people"), log_level="ERROR")
            if quick:
                options |= {"train_cfg.max_epochs": 1, "train_cfg.val_begin": 1}
            train(load_config(config, options), work_dir=str(work_dir))
            for seed in people:
                cfg = load_config(config, dict(data_root=str(root / f"more{seed}")))
                model = init_model(cfg, trained_checkpoint(work_dir, "last"), device="cpu")
                lines += _in_every_precision(report, f"{system}, people {seed}", model, cfg)
    head = "network", "precision", "feature", "R1", "mAP", "largest change of a metric", "root mean square"
    report.table((*head, "error over spread", "change of similarities"), lines)
    return report


def _in_every_precision(report: Report, network: str, model: nn.Module, cfg) -> list[tuple[str, ...]]:
    """Rows of the table; the goals go to the report."""
    loader = RUNNERS.get(cfg.runner_type).build_dataloader(cfg.test_dataloader.to_dict())
    metric = METRICS.build(cfg.test_evaluator.to_dict())
    metric.dataset_meta = loader.dataset.metainfo
    features = {
        name: _features(inference_copy(model, dtype=dtype, mixed=name == "mixed"), loader, dtype)
        for name, dtype in EXTRACTION_PRECISIONS.items()
        if name != "tf32"  # float32 on a CPU
    }
    exact, lines = features.pop("float32"), []
    infrared = np.asarray(loader.dataset.rows()["modality"]) == "infrared"
    report.notes.append(f"{network}: {len(infrared):,} images.")
    scores = _scores(exact, loader, metric.protocols)
    first = next(mode for mode, *_ in scores)
    for name, found in {"float32": exact, **features}.items():
        values = _scores(found, loader, metric.protocols)
        change = {key: values[key] - scores[key] for key in scores}
        for feature in FEATURES:
            own = [v for (_, f, _), v in change.items() if f == feature]
            rank1, mean_ap = (f"{values[first, feature, measure]:.2f}" for measure in ("R1", "mAP"))
            shares = (relative_error(found[feature], exact[feature]),)
            shares += (change_of_similarities(found[feature], exact[feature], infrared),)
            changes = f"{max(own, key=abs):+.3f}", f"{np.sqrt(np.mean(np.square(own))):.3f}"
            lines.append((network, name, feature, rank1, mean_ap, *changes, *(f"{100 * v:.2f} %" for v in shares)))
        if name != "float32":
            worst = max(map(abs, change.values()))
            report.at_most(f"{network}: {name} features, change of a metric", 0.1, worst, "points")
    return lines


@torch.inference_mode()
def _features(model: nn.Module, loader, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """feat_bn and feat_pool (N, D) of the loader's images."""
    parts: dict[str, list[Tensor]] = {name: [] for name in FEATURES}
    for batch in loader:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
            samples = model.test_step(batch)
        for name in FEATURES:
            parts[name] += [sample.get(name).float() for sample in samples]
    return {name: torch.stack(rows).numpy() for name, rows in parts.items()}


def _scores(features: dict[str, np.ndarray], loader, protocols: list) -> Values:
    """(mode, feature, metric) -> mean over the trials, in percent."""
    rows = loader.dataset.rows()
    named = FeatureTable(
        list(rows["path"]), rows["pid"], rows["cam_id"], rows["modality"], features, role=rows.get("role")
    )
    results = [evaluation.result for evaluation in evaluate(named, protocols, list(FEATURES))]
    return {(r.mode, r.feature, name): float(np.mean(v)) for r in results for name, v in r.values.items()}


def relative_error(features: np.ndarray, exact: np.ndarray) -> float:
    """Mean length of the difference over the mean distance of the exact features from their centre."""
    spread = np.linalg.norm(exact - exact.mean(axis=0), axis=1).mean()
    return float(np.linalg.norm(features - exact, axis=1).mean() / spread)


def change_of_similarities(features: np.ndarray, exact: np.ndarray, infrared: np.ndarray) -> float:
    """The same of what is ranked, the similarities of infrared to visible rows: root mean squares, each query's mean
    taken out, for what all its similarities share moves no rank.

    Args:
        features, exact: (N, D), unit rows.
        infrared: (N,), which rows are.
    """
    similarities = exact[infrared] @ exact[~infrared].T
    change = features[infrared] @ features[~infrared].T - similarities
    centred = (x - x.mean(axis=1, keepdims=True) for x in (change, similarities))
    return float(np.divide(*map(np.linalg.norm, centred)))
