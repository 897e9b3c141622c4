"""Feature extraction with MSCMNet at 384 x 192: the network used plainly beside the ways this package offers.

    python tools/benchmarks/extraction.py [--images 16] [--batches 2] [--rounds 3] [--threads 2] [--no-compile]

Plain: weights and maps in NCHW, float32, the network as it was trained. Here: channels_last, batch norms folded, freed
memory kept; then compiled (`inference_copy(model, compile=True)`), and both in bfloat16. Every side runs in a process
of its own, with random weights, and all of them in turn; the rates are images a second of the fastest batch. The share
is that of the machine's own matrix product in the same precision, measured in the same process.
"""

from __future__ import annotations

import argparse
import json
import logging

import torch
from measuring import at_least, best_of_rounds, has_bf16_instructions, in_child, matmul_rate, seconds, table
from torch import Tensor, nn
from training_step import CONFIG, make_model

from mscmreid.apis import load_config
from mscmreid.engine.runner.allocator import keep_freed_memory
from mscmreid.experiments.costs import model_info
from mscmreid.models.folding import inference_copy

SIDES = ("plain", "here", "compiled")


def one_side(side: str, precision: str, num_images: int, batches: int) -> dict[str, float]:
    """Seconds an image, and the matrix product's rate in the same process."""
    if side != "plain":
        keep_freed_memory()
    model: nn.Module = make_model(channels_last=side != "plain").eval()
    if side != "plain":
        model = inference_copy(model, compile=side == "compiled")
    dtype = getattr(torch, precision)
    x = torch.randn(num_images, 3, *model.image_size, generator=torch.Generator().manual_seed(1))
    if side != "plain":
        x = x.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def extract() -> dict[str, Tensor]:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
            return model.extract_features(x, "visible")

    return dict(seconds=seconds(extract, batches) / num_images, rate=matmul_rate(dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16, help="images of a batch")
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="runs of every side, in turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled sides out (minutes each)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    if args.side:
        print(json.dumps(one_side(args.side, args.precision, args.images, args.batches)))
        return
    cfg = load_config(CONFIG)
    flops = model_info(cfg).inference_flops
    used = SIDES[: 2 if args.no_compile else 3]
    sides = [(side, p) for p in ("float32", "bfloat16") for side in used if (side, p) != ("plain", "bfloat16")]
    options = ("--images", args.images, "--batches", args.batches)
    found = best_of_rounds(
        lambda side, precision: in_child(
            __file__, "--side", side, "--precision", precision, *options, threads=args.threads
        ),
        sides,
        args.rounds,
    )
    plain = found["plain", "float32"]["seconds"]
    ratios = {key: plain / result["seconds"] for key, result in found.items()}
    shares = {key: flops / result["seconds"] / result["rate"] for key, result in found.items()}
    rows = [
        (
            ", ".join(key),
            f"{1 / result['seconds']:.2f}",
            f"{ratios[key]:.2f}",
            f"{result['rate'] / 1e9:.0f}",
            f"{100 * shares[key]:.0f} %",
        )
        for key, result in found.items()
    ]
    print(f"{args.images} images a batch, {args.threads} threads, {flops / 1e9:.1f} GFLOPs an image\n")
    table(("side", "images/s", "times plain", "matrix product GFLOP/s", "share of it"), rows)
    best = "here" if args.no_compile else "compiled"
    bf16 = bool(has_bf16_instructions())
    at_least("extraction, float32", 3.0, max(r for (_, p), r in ratios.items() if p == "float32"))
    at_least("extraction, bfloat16", 5.5, max(r for (_, p), r in ratios.items() if p == "bfloat16"), can_show=bf16)
    at_least("extraction, share of bfloat16 matrix product", 70, 100 * shares[best, "bfloat16"], "%", can_show=bf16)


if __name__ == "__main__":
    main()
