"""Metric losses, forward and backward, against straightforward loops over the rows.

    python tools/benchmarks/losses.py [--rows 96] [--dim 2048] [--repeats 20]

Prints a Markdown table. Both sides run in turn in one process, fp32 on the CPU; times are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from measuring import at_least, table
from torch import Tensor

from mscmreid.models.losses.batch_hard import batch_hard_triplet
from mscmreid.models.losses.qct import quadruple_center_triplet

MARGIN = 0.7


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


PAIRS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "QuadrupleCenterTripletLoss": (partial(quadruple_center_triplet, margin=MARGIN, alpha=0.0), qct_by_rows),
    "BatchHardTripletLoss": (lambda features, label, *_: batch_hard_triplet(features, label, 0.3), batch_hard_by_rows),
}


def make_batch(num_rows: int, dim: int, num_ids: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four streams of ``num_ids`` identities, distances around the margin: features, labels, modality, stream."""
    per_stream = num_rows // 4
    labels = (torch.arange(per_stream) * num_ids // per_stream).repeat(4)
    stream = torch.arange(4).repeat_interleave(per_stream)
    features = torch.randn(num_rows, dim, generator=torch.Generator().manual_seed(0)) * 0.5 / dim**0.5
    return features + 0.5, labels, stream // 2, stream


def seconds(loss: Callable[..., Tensor], features: Tensor, columns: tuple[Tensor, ...]) -> float:
    """Wall time of one forward and backward pass."""
    features = features.clone().requires_grad_()
    start = time.perf_counter()
    loss(features, *columns).backward()
    return time.perf_counter() - start


def measure(num_rows: int, dim: int, repeats: int) -> list[tuple[str, float, float]]:
    """(loss, median seconds here, median seconds by rows); both must give the same value."""
    features, *rest = make_batch(num_rows, dim)
    columns = tuple(rest)
    results = []
    for name, (fast, slow) in PAIRS.items():
        torch.testing.assert_close(fast(features, *columns), slow(features, *columns), rtol=1e-3, atol=1e-5)
        times: dict[Callable[..., Tensor], list[float]] = {fast: [], slow: []}
        for round_number in range(repeats + 2):
            for side in (fast, slow):
                took = seconds(side, features, columns)
                if round_number >= 2:  # the first rounds warm up
                    times[side].append(took)
        results.append((name, statistics.median(times[fast]), statistics.median(times[slow])))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=96, help="rows of the batch, a multiple of 24 (default: 96)")
    parser.add_argument("--dim", type=int, default=2048, help="size of the features (default: 2048)")
    parser.add_argument("--repeats", type=int, default=20, help="measured rounds (default: 20)")
    args = parser.parse_args()
    if args.rows < 24 or args.rows % 24 or args.dim < 1 or args.repeats < 1:
        parser.error("expected --rows a multiple of 24, --dim and --repeats at least 1")
    results = measure(args.rows, args.dim, args.repeats)
    size = f"{args.rows} x {args.dim}, {torch.get_num_threads()} threads"
    rows = [
        (f"{name}, {size}", f"{fast * 1e3:.2f} ms", f"{slow * 1e3:.1f} ms", f"{slow / fast:.1f}")
        for name, fast, slow in results
    ]
    table(("loss, forward + backward", "here", "loop over rows", "ratio"), rows)
    _, fast, slow = results[0]
    at_least(f"QCT forward + backward, {args.rows} x {args.dim}", 20, slow / fast)


if __name__ == "__main__":
    main()
