"""What a model costs: parameters, operations and memory, counted on the meta device (no data, no time, no GPU)."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mscmreid.registry import MODELS
from mscmreid.structures import Rows, modality_index
from mscmreid.tables import markdown_table


@dataclass(frozen=True)
class ModelInfo:
    """Costs of one config's model.

    Attributes:
        parameters: number of parameters by part, in the order of the forward pass.
        feature_size: dimensions of a feature (branches concatenated).
        batch_size: images of a training step.
        training_flops: multiply-adds times two of forward and backward pass, per image of the batch.
        inference_flops: the same of one image's forward pass (no mirrored image).
        training_memory: peak bytes of activations and gradients in one step of the whole batch, fp32, beyond
            parameters.
        inference_memory: peak bytes of activations for one image.
    """

    parameters: dict[str, int]
    feature_size: int
    batch_size: int
    training_flops: int
    inference_flops: int
    training_memory: int
    inference_memory: int

    @property
    def num_parameters(self) -> int:
        return sum(self.parameters.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self) | dict(num_parameters=self.num_parameters)


class PeakMemory(TorchDispatchMode):
    """Bytes of storages that come to life inside the context: ``live`` now, ``peak`` so far."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.seen: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        before = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for t in tree_leaves(out):
            if isinstance(t, Tensor) and t.untyped_storage()._cdata not in before:
                self._born(t.untyped_storage())
        return out

    def _born(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.seen:
            return
        self.seen[key] = storage.nbytes()
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._died, key)

    def _died(self, key: int) -> None:
        self.live -= self.seen.pop(key, 0)


def measure(run: Callable[[], Any]) -> tuple[int, int]:
    """Floating point operations and peak bytes of a call."""
    with FlopCounterMode(display=False) as flops:
        run()
    with PeakMemory() as memory:
        run()
    return flops.get_total_flops(), memory.peak


def parameters_by_part(model: nn.Module) -> dict[str, int]:
    """Parameters of stems, trunk, each plugin kind, neck and classifier."""
    counts: dict[str, int] = {}
    plugin_kinds = {
        f"{name}.": type(module).__name__
        for name, module in model.named_modules()
        if re.fullmatch(r"backbone\.plugins\.\w+\.\d+", name)
    }
    for name, parameter in model.named_parameters():
        kind = next((k for prefix, k in plugin_kinds.items() if name.startswith(prefix)), None)
        part = kind or name.removeprefix("backbone.").split(".")[0]
        part = "trunk" if part.startswith("layer") else "classifier" if part == "head" else part
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def model_info(cfg: Config) -> ModelInfo:
    """Count what the model of a config costs.

    Args:
        cfg: a config with ``model`` and ``train_dataloader.sampler`` (its P and K give the batch).

    Raises:
        ValueError: the config has no views or no sampler with ``num_ids`` and ``num_instances``.
    """
    sampler = cfg.get("train_dataloader", {}).get("sampler", {})
    views = cfg.model.get("data_preprocessor", {}).get("views")
    if not views or "num_ids" not in sampler or "num_instances" not in sampler:
        raise ValueError(
            "model_info needs model.data_preprocessor.views and train_dataloader.sampler with num_ids and "
            f"num_instances, found views {views} and sampler {dict(sampler)}"
        )
    per_modality = sampler["num_ids"] * sampler["num_instances"]
    model_cfg = cfg.model.copy()
    model_cfg.backbone = {k: v for k, v in model_cfg.backbone.items() if k != "init_cfg"}
    with torch.device("meta"):
        model = MODELS.build(model_cfg)
        size = model.image_size
        inputs, rows = _batch(views, per_modality, size)
        image = torch.empty(1, 3, *size)
        one = Rows.make(torch.zeros(1, dtype=torch.long), "visible", 0, torch.zeros(1, dtype=torch.long))

    def step() -> None:
        losses = model(inputs, rows, mode="loss")
        sum(v for k, v in losses.items() if k.startswith("loss")).backward()
        model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def infer() -> Tensor:
        _, feat_bn, out_rows = model({"visible": image}, one, mode="tensor")
        return feat_bn.reshape(-1) if len(out_rows) else feat_bn

    training_flops, training_memory = measure(step)
    model.eval()
    inference_flops, inference_memory = measure(infer)
    return ModelInfo(
        parameters=parameters_by_part(model),
        feature_size=infer().numel(),
        batch_size=2 * per_modality,
        training_flops=training_flops // (2 * per_modality),
        inference_flops=inference_flops,
        training_memory=training_memory,
        inference_memory=inference_memory,
    )


def _batch(views: list[dict], per_modality: int, size: tuple[int, int]) -> tuple[dict[str, Tensor], Rows]:
    """One training step's inputs and rows, as the preprocessor would make them, without values."""
    counts: dict[str, int] = {}
    parts: dict[str, list[Rows]] = {}
    for stream, view in enumerate(views):
        counts[view["stem"]] = counts.get(view["stem"], 0) + per_modality
        image = torch.zeros(per_modality, dtype=torch.long) + per_modality * modality_index(view["modality"])
        parts.setdefault(view["stem"], []).append(Rows.make(torch.zeros_like(image), view["modality"], stream, image))
    inputs = {stem: torch.empty(n, 3, *size) for stem, n in counts.items()}
    return inputs, Rows.cat([rows for stem_parts in parts.values() for rows in stem_parts])


def format_info(name: str, info: ModelInfo) -> str:
    """A readable block for the terminal."""
    lines = [f"{name}: {info.num_parameters:,} parameters, features of {info.feature_size}"]
    lines += [f"  {part:12} {count:>13,}" for part, count in info.parameters.items()]
    lines += [
        f"  training     {info.training_flops / 1e9:>13.2f} GFLOPs an image (forward + backward), "
        f"{info.training_memory / 2**30:.2f} GiB of activations at batch {info.batch_size}, fp32",
        f"  inference    {info.inference_flops / 1e9:>13.2f} GFLOPs an image, "
        f"{info.inference_memory / 2**20:.1f} MiB of activations",
    ]
    return "\n".join(lines)


def costs_table(infos: dict[str, ModelInfo]) -> str:
    """One row a model."""
    parts = list(dict.fromkeys(part for info in infos.values() for part in info.parameters))
    head = [
        "model",
        "parameters",
        *parts,
        "feature",
        "GFLOPs/image train",
        "GFLOPs/image test",
        "batch",
        "activations train GiB",
        "activations test MiB",
    ]
    rows = []
    for name, info in infos.items():
        counts = [f"{info.parameters[p] / 1e6:.2f} M" if p in info.parameters else "" for p in parts]
        costs = [f"{info.training_flops / 1e9:.1f}", f"{info.inference_flops / 1e9:.1f}", str(info.batch_size)]
        memory = [f"{info.training_memory / 2**30:.1f}", f"{info.inference_memory / 2**20:.0f}"]
        rows.append([name, f"{info.num_parameters:,}", *counts, str(info.feature_size), *costs, *memory])
    return markdown_table(head, rows)
