"""Toy runs: a SYSU-MM01 of tiny pictures and MSCMNet at 32 x 16, from the project's own configs."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datasets"))
from layouts import make_sysu

ROOT = Path(__file__).resolve().parents[2]
_counter = itertools.count()


@pytest.fixture(scope="session")
def sysu_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and three test people, two frames a camera."""
    return make_sysu(tmp_path_factory.mktemp("data") / "SYSU-MM01", train=(1, 2, 5, 6, 8), val=(7,), test=(3, 9, 10))


@pytest.fixture(autouse=True)
def no_environment_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """MMEngine asks compilers for their versions at every start, which takes longer than these runs."""
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)


@pytest.fixture
def toy_config(sysu_folder: Path, tmp_path: Path):
    """``toy_config(**options)``: a run of seconds; options with '__' for the dots."""

    def build(work_dir: str | Path = tmp_path / "run", **options) -> Config:
        from mscmreid.apis import load_config

        base = {
            "data_root": str(sysu_folder),
            "work_dir": str(work_dir),
            "experiment_name": f"toy{next(_counter)}",  # two runs of one second would share their log otherwise
            "image_size": (32, 16),
            "model.backbone.depth": 18,
            "model.backbone.base_channels": 4,
            "model.head.num_classes": 6,
            "model.head.metric_losses.qct.start_iter": 0,
            "train_dataloader.batch_size": 8,
            "train_dataloader.sampler.num_ids": 2,
            "train_dataloader.sampler.num_instances": 2,
            "train_dataloader.sampler.num_batches": 3,
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

    return build
