"""Whole runs at toy size, from the project's own configs, and what they logged."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parent / "datasets"))
from layouts import make_sysu

ROOT = Path(__file__).resolve().parents[1]
_counter = itertools.count()


def make_toy_sysu(folder: Path) -> Path:
    """A SYSU-MM01 of tiny pictures: six training and three test people, two frames a camera."""
    return make_sysu(folder / "SYSU-MM01", train=(1, 2, 5, 6, 8), val=(7,), test=(3, 9, 10))


def toy_run(data_root: str | Path, work_dir: str | Path, **options) -> Config:
    """MSCMNet at 32 x 16, three epochs of three iterations: a run of seconds; options with '__' for the dots."""
    from mscmreid.apis import load_config

    base = {
        "data_root": str(data_root),
        "work_dir": str(work_dir),
        "experiment_name": f"toy{next(_counter)}",  # two runs of one second would share their log otherwise
        "image_size": (32, 16),
        "model.backbone.depth": 18,
        "model.backbone.base_channels": 4,
        "model.head.num_classes": 6,
        "model.head.losses.qct.start_iter": 0,
        "train_dataloader.batch_sampler.num_ids": 2,
        "train_dataloader.batch_sampler.num_instances": 2,
        "train_dataloader.batch_sampler.num_batches": 3,
        "train_cfg.max_epochs": 3,
        "train_cfg.val_begin": 2,
        "train_cfg.val_interval": 1,
        "param_scheduler": [dict(type="MultiStepLR", milestones=[2], by_epoch=True)],
        "default_hooks.logger.interval": 2,
        "visualizer.vis_backends": [dict(type="LocalVisBackend")],
        "log_level": "WARNING",
    }
    base |= {name.replace("__", "."): value for name, value in options.items()}
    return load_config(ROOT / "configs" / "mscm_synthetic.py", base)


def published_run(config: str, data_root: str | Path, work_dir: str | Path, options: Mapping[str, Any]) -> Config:
    """``configs/<config>.py`` with its own schedule at 32 x 16, three epochs of four steps, all of them logged.

    ``options`` are those of ``load_config``: what makes its network small, at least.
    """
    from mscmreid.apis import load_config

    base = {
        "data_root": str(data_root),
        "work_dir": str(work_dir),
        "experiment_name": Path(work_dir).name,
        "image_size": (32, 16),
        "model.head.num_classes": 6,
        "optim_wrapper.dtype": "float32",
        "train_dataloader.num_workers": 0,
        "val_dataloader.num_workers": 0,
        "train_dataloader.dataset.check_counts": False,
        "val_dataloader.dataset.check_counts": False,
        "train_dataloader.batch_sampler.num_ids": 2,
        "train_dataloader.batch_sampler.num_instances": 2,
        "train_dataloader.batch_sampler.num_batches": 4,
        "train_cfg.max_epochs": 3,
        "train_cfg.val_begin": 3,
        "default_hooks.logger.interval": 1,
        "visualizer.vis_backends": [dict(type="LocalVisBackend")],
        "log_level": "WARNING",
    }
    return load_config(ROOT / "configs" / f"{config}.py", base | dict(options))


def logged_scalars(work_dir: str | Path) -> dict[tuple[str, int], dict]:
    """(kind, step) -> logged values, without times and memory; of an iteration that was replayed, the last.

    The last line of a log may be cut off where its run was killed; it is left out.
    """
    logged = {}
    for path in sorted(Path(work_dir).glob("*/vis_data/*.json"), key=lambda p: p.stat().st_mtime_ns):
        text = path.read_text()
        whole, _, cut = text.rpartition("\n")
        for line in [*whole.splitlines(), *([cut] if cut.endswith("}") else [])]:
            entry = json.loads(line)
            step = entry.pop("step")
            kind = "val" if any(k.startswith("val/") for k in entry) else "train"
            logged[kind, step] = without_times(entry)
    return logged


def without_times(logged: Mapping[str, Any]) -> dict[str, Any]:
    """What was logged but times and memory, which differ from run to run."""
    return {name: value for name, value in logged.items() if "time" not in name and name != "memory"}
