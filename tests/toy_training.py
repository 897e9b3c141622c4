"""Configs at toy size on toy data, trained for some steps without a Runner."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mscmreid.apis.config import load_config
from mscmreid.engine.runner.run_config import LOADERS
from mscmreid.engine.runner.runner import ReIDRunner
from mscmreid.registry import DATASETS, MODELS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ALL_CONFIGS = sorted(str(p.relative_to(CONFIGS)) for p in CONFIGS.rglob("*.py") if "_base_" not in p.parts)
SIZE = (64, 32)
BEHIND_EVERY_RAMP = 10**6
TINY_TRANSFORMER = {"model.backbone.depth": 2, "model.backbone.out_channels": 32, "model.backbone.num_heads": 2}
SETS = {"sysu": "SYSU-MM01", "regdb": "RegDB", "llcm": "LLCM"}
WARM_UP = 0.1  # every config's warm-up begins at a tenth of its learning rate


def toy_config(name: str, data_root: Path, options: Mapping[str, Any] | None = None) -> Config:
    """A config of the project with a tiny network, batches of 2 people with 2 images a modality, and toy data.

    ``data_root`` is the data set's folder; of a config in ``cross/`` the folder that the sets' folders are in.
    """
    toy: dict[str, Any] = {
        "data_root": str(data_root),
        "model.backbone.depth": 18,
        "model.backbone.base_channels": 8,
        "image_size": SIZE,
        "model.backbone.init_cfg": None,
        "optim_wrapper.dtype": "float32",
        "train_dataloader.batch_sampler.num_ids": 2,
        "train_dataloader.batch_sampler.num_instances": 2,
    }
    for loader in LOADERS:
        toy |= {f"{loader}.num_workers": 0, f"{loader}.pin_memory": False}
        toy[f"{loader}.dataset.check_counts"] = False
    init_default_scope("mscmreid")
    if name.startswith("cross/"):
        tested = Path(data_root) / SETS[name.removesuffix(".py").rpartition("_")[2]]
        toy |= {f"{part}_dataloader.dataset.data_root": str(tested) for part in ("val", "test")}
    if "pmt" in name:
        del toy["model.backbone.base_channels"]
        toy |= TINY_TRANSFORMER
    cfg = load_config(CONFIGS / name, toy | dict(options or {}))
    cfg.model.head.num_classes = dataset_of(cfg, "train").metainfo["num_classes"]
    return cfg


def dataset_of(cfg: Config, part: str) -> Dataset:
    """The data set of 'train', 'val' or 'test', built once for all configs that have the same."""
    return _build_dataset(json.dumps(cfg[f"{part}_dataloader"].dataset.to_dict()))


@functools.cache
def _build_dataset(text: str) -> Dataset:
    return DATASETS.build(json.loads(text))


def loader_of(cfg: Config, part: str) -> DataLoader:
    """The data loader of 'train', 'val' or 'test'."""
    return ReIDRunner.build_dataloader(dict(cfg[f"{part}_dataloader"], dataset=dataset_of(cfg, part)), seed=0)


@dataclass
class Steps:
    """A trained model, what every step logged, and what came together on the way.

    Attributes:
        gradients: largest gradient of each parameter in the last step.
        num_rows: rows that the classifier saw in each step.
    """

    model: nn.Module
    logs: list[dict[str, Tensor]]
    gradients: dict[str, float]
    num_rows: list[int]

    def without_gradient(self) -> list[str]:
        """Trainable parameters that got none, or not a finite one."""
        trainable = [name for name, p in self.model.named_parameters() if p.requires_grad]
        return [name for name in trainable if not math.isfinite(self.gradients.get(name, math.nan))]


def train_steps(cfg: Config, steps: int = 2) -> Steps:
    """Some steps of the config's own optimizer on its own data."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.set_iteration(BEHIND_EVERY_RAMP)
    gradients: dict[str, float] = {}

    def keep_gradients(*_: object) -> None:
        gradients.clear()  # the update is followed by zero_grad
        gradients.update({n: p.grad.abs().max().item() for n, p in model.named_parameters() if p.grad is not None})

    optim_wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    optim_wrapper.optimizer.register_step_pre_hook(keep_gradients)
    for group in optim_wrapper.optimizer.param_groups:
        group["lr"] *= WARM_UP
    num_rows: list[int] = []
    model.head.classifier.register_forward_hook(lambda _, inputs, logits: num_rows.append(len(logits)))
    batches = iter(loader_of(cfg, "train"))
    model.train()
    logs = [model.train_step(next(batches), optim_wrapper) for _ in range(steps)]
    return Steps(model, logs, gradients, num_rows)


@torch.no_grad()
def evaluate_model(cfg: Config, model: nn.Module, part: str) -> tuple[dict[str, float], list]:
    """Metrics and result rows of ``part`` ('val' or 'test'), by the config's own data set and evaluator."""
    loader = loader_of(cfg, part)
    evaluator = Evaluator(cfg[f"{part}_evaluator"])
    evaluator.dataset_meta = loader.dataset.metainfo
    model.eval()
    for batch in loader:
        evaluator.process(model.test_step(batch), batch)
    return evaluator.evaluate(len(loader.dataset)), evaluator.metrics[0].last_results
