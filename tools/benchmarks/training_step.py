"""A training step of MSCMNet, from uint8 images to updated weights: the same model used plainly beside this package.

    python tools/benchmarks/training_step.py [--ids 2] [--instances 2] [--steps 2] [--rounds 3] [--threads 2] [--small]

Plain: weights and maps in NCHW, float32, views image by image with Pillow and torchvision on one core, the quadruple
center triplet loss as a loop over rows, torch's default optimizer. Here: what training does by default on a CPU
(channels_last, views of the whole batch, losses without loops, fused update, freed memory kept), in float32 and in
bfloat16. Every side runs in a process of its own, with random weights, and all of them in turn; the fastest step
counts. The first batch gives both sides the same loss up to the views' chance. P x K = 2 x 2 images a modality make 16
maps.

--small is the other end: a ResNet-18 at 64 x 32 with 96 maps, where the costs around the network weigh most.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import torch
from losses import qct_by_rows
from measuring import at_least, best_of_rounds, has_bf16_instructions, in_child, matmul_rate, seconds, table
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.nn import functional as F
from views import per_image_views

from mscmreid.apis import load_config
from mscmreid.engine import AutocastOptimWrapper, ReIDOptimWrapperConstructor
from mscmreid.engine.runner.allocator import keep_freed_memory
from mscmreid.experiments.costs import model_info
from mscmreid.models import CrossModalReID
from mscmreid.registry import MODELS
from mscmreid.structures import ReIDDataSample, Rows

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "mscm_sysu.py"
SMALL = {"image_size": (64, 32), "model.backbone.depth": 18}
OPTIMIZER = dict(type="SGD", lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4)
VIEWS_OF_STEMS = {
    "visible_1": "visible 1",
    "visible_2": "visible 2",
    "infrared_1": "infrared 1",
    "infrared_2": "infrared 2",
}


def make_model(channels_last: bool, small: bool = False) -> CrossModalReID:
    """MSCMNet with random weights, in training mode."""
    init_default_scope("mscmreid")
    cfg = load_config(CONFIG, SMALL if small else {})
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.channels_last = channels_last
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    assert isinstance(model, CrossModalReID)
    return model


def make_batch(model: CrossModalReID, num_ids: int, num_instances: int) -> dict:
    """What a data loader gives: random uint8 images in channels_last memory, P x K of each modality."""
    labels = [i for i in range(num_ids) for _ in range(num_instances)]
    samples = [ReIDDataSample(metainfo=dict(modality=m, label=i)) for m in ("visible", "infrared") for i in labels]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(samples), *model.image_size, 3), dtype=torch.uint8, generator=generator)
    return dict(inputs=pixels.permute(0, 3, 1, 2), data_samples=samples)


def plain_step(model: CrossModalReID, batch: dict) -> Callable[[], object]:
    """The step as one would write it first."""
    pipelines = per_image_views(model.image_size)
    optimizer = torch.optim.SGD(model.parameters(), **{k: v for k, v in OPTIMIZER.items() if k != "type"})
    images = batch["inputs"].permute(0, 2, 3, 1).numpy()
    samples = batch["data_samples"]
    half = len(samples) // 2
    labels = torch.tensor([sample.label for sample in samples[:half]])
    threads = torch.get_num_threads()

    def step() -> object:
        torch.set_num_threads(1)  # a data worker has one core
        inputs: dict[str, Tensor] = {}
        rows = []
        for stream, (stem, view) in enumerate(VIEWS_OF_STEMS.items()):
            modality = stem[:-2]
            own = images[:half] if modality == "visible" else images[half:]
            inputs[stem] = torch.stack([pipelines[view](image) for image in own])
            rows.append(Rows.make(labels, modality, stream, torch.arange(half)))
        torch.set_num_threads(threads)
        feat_pool, feat_bn, out = model(inputs, Rows.cat(rows))
        loss = F.cross_entropy(model.head(feat_bn), out.label)
        loss = loss + qct_by_rows(feat_pool, out.label, out.modality, out.stream)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def our_step(model: CrossModalReID, batch: dict, precision: str) -> Callable[[], object]:
    """The step as the Runner takes it."""
    build = ReIDOptimWrapperConstructor(dict(optimizer=dict(OPTIMIZER), dtype=precision))
    optim_wrapper = build(model)
    assert isinstance(optim_wrapper, AutocastOptimWrapper)
    return lambda: model.train_step(batch, optim_wrapper)


def one_side(side: str, precision: str, args: argparse.Namespace) -> dict[str, float]:
    """Seconds a step, and the matrix product's rate in the same process."""
    if side != "plain":
        keep_freed_memory()
    model = make_model(side != "plain", args.small)
    batch = make_batch(model, args.ids, args.instances)
    if side == "compiled":
        model.compile()
    step = plain_step(model, batch) if side == "plain" else our_step(model, batch, precision)
    return dict(seconds=seconds(step, args.steps), rate=matmul_rate(getattr(torch, precision)))


def step_seconds(precision: str, side: str = "here", threads: int = 2, small: bool = True, **options: int) -> dict:
    """:func:`one_side` in a process of its own; ``options``: ids, instances, steps."""
    named = [part for name, value in options.items() for part in (f"--{name}", value)]
    flags = ["--small"] if small else []
    return in_child(__file__, "--side", side, "--precision", precision, *flags, *named, threads=threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=int, help="P (2; with --small 6)")
    parser.add_argument("--instances", type=int, help="K (2; with --small 4)")
    parser.add_argument("--steps", type=int, help="measured steps (2; with --small 5)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of every side, in turn")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--compile",
        action="store_true",
        help="also with torch.compile (minutes; bfloat16 needs instructions)",
    )
    parser.add_argument("--small", action="store_true", help="a ResNet-18 at 64 x 32")
    parser.add_argument("--side", choices=("plain", "here", "compiled"), help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    for name, (usual, small) in dict(ids=(2, 6), instances=(2, 4), steps=(2, 5)).items():
        if getattr(args, name) is None:
            setattr(args, name, small if args.small else usual)
    if args.side:
        print(json.dumps(one_side(args.side, args.precision, args)))
        return
    cfg = load_config(CONFIG, SMALL if args.small else {})
    flops = model_info(cfg).training_flops * 2 * args.ids * args.instances
    sides = [("plain", "float32"), ("here", "float32"), ("here", "bfloat16")]
    if args.compile:
        sides += [("compiled", "float32")]
        if has_bf16_instructions():
            sides += [("compiled", "bfloat16")]
    sizes = dict(ids=args.ids, instances=args.instances, steps=args.steps)
    found = best_of_rounds(
        lambda side, precision: step_seconds(precision, side, args.threads, args.small, **sizes), sides, args.rounds
    )
    plain = found["plain", "float32"]["seconds"]
    rows = [
        (
            f"{side}, {precision}",
            f"{1e3 * result['seconds']:,.0f} ms",
            f"{plain / result['seconds']:.2f}",
            f"{100 * flops / result['seconds'] / result['rate']:.0f} %",
        )
        for (side, precision), result in found.items()
    ]
    size = "ResNet-18 at 64 x 32" if args.small else "ResNet-50 at 384 x 192"
    print(f"{size}, {4 * args.ids * args.instances} maps a step, {args.threads} threads\n")
    table(("side", "a step", "times plain", "share of the matrix product's rate"), rows)
    if not args.small:
        best = {
            precision: min(r["seconds"] for (side, p), r in found.items() if side != "plain" and p == precision)
            for precision in ("float32", "bfloat16")
        }
        at_least("training step, float32", 1.3, plain / best["float32"])
        at_least("training step, bfloat16", 2.5, plain / best["bfloat16"], can_show=bool(has_bf16_instructions()))


if __name__ == "__main__":
    main()
