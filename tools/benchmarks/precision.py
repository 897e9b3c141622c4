"""What half precision costs in the metrics: one trained network, the same images in float32, bfloat16 and float16.

    python tools/benchmarks/precision.py [--config configs/mscm_synthetic.py] [--checkpoint FILE] [--frames 22]

A network is trained on synthetic people (the config's own training, some minutes; or --checkpoint of one that was
trained on data/synthetic's people, which are drawn with seed 0) and tested on more images of the held-out ones: 2,200
infrared queries at 22 frames a camera. Batch norms are folded, as in a test run. A difference is in percentage points;
the one shown is the largest over modes, features and metrics. Where the processor has no instructions for a precision
torch takes another way to the same rounding, so this is for differences, not for speed.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import at_most, table
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.data import DataLoader

from mscmreid.apis import init_model, load_config, train
from mscmreid.engine.runner.checkpoint import trained_checkpoint
from mscmreid.evaluation import FeatureTable, evaluate
from mscmreid.models.folding import inference_copy
from mscmreid.registry import METRICS, RUNNERS
from mscmreid.synthetic import Options, make_plan, write_dataset

ROOT = Path(__file__).resolve().parents[2]
FEATURES = ("feat_bn", "feat_pool")
Values = dict[tuple[str, str, str], float]


def train_one(config: str, data_root: Path, work_dir: Path, max_epochs: int | None) -> Path:
    """The checkpoint of the config's last epoch."""
    options = dict(data_root=str(data_root), log_level="ERROR")
    if max_epochs:
        options |= {"train_cfg.max_epochs": max_epochs, "train_cfg.val_begin": max_epochs}
    train(load_config(config, options), work_dir=str(work_dir))
    return trained_checkpoint(work_dir, "last")


@torch.inference_mode()
def extract(model: nn.Module, loader: DataLoader, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """feat_bn and feat_pool (N, D) of the loader's images."""
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in FEATURES}
    for batch in loader:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
            samples = model.test_step(batch)
        for name in FEATURES:
            parts[name] += [sample.get(name).float() for sample in samples]
    return {name: torch.stack(rows).numpy() for name, rows in parts.items()}


def score(features: dict[str, np.ndarray], loader: DataLoader, protocols: list) -> tuple[Values, int]:
    """(mode, feature, metric) -> mean over the trials, in percent; and how many queries the first mode has."""
    rows = loader.dataset.rows()
    named = FeatureTable(
        list(rows["path"]), rows["pid"], rows["cam_id"], rows["modality"], features, role=rows.get("role")
    )
    results = [evaluation.result for evaluation in evaluate(named, protocols, list(FEATURES))]
    values = {(r.mode, r.feature, name): float(np.mean(v)) for r in results for name, v in r.values.items()}
    return values, results[0].num_queries[0]


def relative_error(features: np.ndarray, exact: np.ndarray) -> float:
    """Mean length of the difference over the mean distance of the exact features from their centre."""
    spread = np.linalg.norm(exact - exact.mean(axis=0), axis=1).mean()
    return float(np.linalg.norm(features - exact, axis=1).mean() / spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "mscm_synthetic.py"))
    parser.add_argument("--checkpoint", type=Path, help="instead of training")
    parser.add_argument("--max-epochs", type=int, help="of the training, instead of the config's")
    parser.add_argument("--frames", type=int, default=22, help="images of a person in a camera, for the test")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(args.threads)
    init_default_scope("mscmreid")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people, more = folder / "people", folder / "more"
        if args.checkpoint is None:
            write_dataset(make_plan(Options("sysu")), people, args.threads)
            args.checkpoint = train_one(args.config, people, folder / "run", args.max_epochs)
        write_dataset(make_plan(Options("sysu", images_per_camera=args.frames)), more, args.threads)
        cfg = load_config(args.config, dict(data_root=str(more)))
        loader = RUNNERS.get(cfg.runner_type).build_dataloader(cfg.test_dataloader.to_dict())
        metric = METRICS.build(cfg.test_evaluator.to_dict())
        metric.dataset_meta = loader.dataset.metainfo
        model = inference_copy(init_model(cfg, args.checkpoint, device="cpu"))
        found = {dtype: extract(model, loader, dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)}
    scores = {dtype: score(features, loader, metric.protocols) for dtype, features in found.items()}
    exact, num_queries = scores[torch.float32]
    first = next(mode for mode, *_ in exact)
    lines = []
    worst = {}
    for dtype, features in found.items():
        values = scores[dtype][0]
        change = {key: values[key] - exact[key] for key in exact}
        worst[dtype] = max(change.values(), key=abs)
        for feature in FEATURES:
            own = [v for (_, f, _), v in change.items() if f == feature]
            lines.append(
                (
                    str(dtype).removeprefix("torch."),
                    feature,
                    f"{values[first, feature, 'R1']:.2f}",
                    f"{values[first, feature, 'mAP']:.2f}",
                    f"{max(own, key=abs):+.3f}",
                    f"{100 * relative_error(features[feature], found[torch.float32][feature]):.2f} %",
                )
            )
    print(f"{Path(args.config).name}, {num_queries:,} queries\n")
    table(("precision", "feature", "R1", "mAP", "largest change of a metric", "error of a feature over spread"), lines)
    for dtype in (torch.bfloat16, torch.float16):
        precision = str(dtype).removeprefix("torch.")
        at_most(f"{precision} features, change of a metric", 0.1, abs(worst[dtype]), "points")


if __name__ == "__main__":
    main()
