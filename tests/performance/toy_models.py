"""The project's four systems at toy size, with batches for them."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from toy_training import TINY_TRANSFORMER

from mscmreid.apis import load_config
from mscmreid.models import CrossModalReID
from mscmreid.registry import MODELS
from mscmreid.structures import ReIDDataSample, Rows

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SYSTEMS = ("mscm", "agw", "caj", "deen")
SIZE = (64, 32)
NUM = 4  # images a view


def toy_model(system: str, config: str | None = None, depth: int | None = None) -> CrossModalReID:
    """A system (of SYSU-MM01's config, or of another ``config``) with a ResNet-18 of an eighth of the width, or a
    transformer of two blocks, from scratch; ``depth`` if another one is wanted."""
    init_default_scope("mscmreid")
    name = config or f"{system}_sysu.py"
    tiny = TINY_TRANSFORMER if "pmt" in name else {"model.backbone.depth": 18, "model.backbone.base_channels": 8}
    if depth is not None:
        tiny = {**tiny, "model.backbone.depth": depth}
    cfg = load_config(CONFIGS / name, {"image_size": SIZE, **tiny})
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def training_batch(model: CrossModalReID) -> tuple[dict[str, Tensor], Rows]:
    """What the preprocessor would make of random pixels: inputs and rows."""
    torch.manual_seed(1)
    inputs: dict[str, list[Tensor]] = {}
    rows: dict[str, list[Rows]] = {}
    label = torch.arange(NUM) // 2
    for stream, view in enumerate(model.data_preprocessor.views.values()):
        inputs.setdefault(view.stem, []).append(torch.randn(NUM, 3, *SIZE))
        rows.setdefault(view.stem, []).append(Rows.make(label, view.modality, stream, torch.arange(NUM)))
    return {stem: torch.cat(parts) for stem, parts in inputs.items()}, Rows.cat(
        [part for parts in rows.values() for part in parts]
    )


def pixel_batch(seed: int = 0) -> dict:
    """What a data loader gives in training: four visible, then four infrared images of two people."""
    generator = torch.Generator().manual_seed(seed)
    samples = [
        ReIDDataSample(metainfo=dict(modality=modality, label=label))
        for modality in ("visible", "infrared")
        for label in (0, 0, 1, 1)
    ]
    return dict(
        inputs=torch.randint(0, 256, (8, 3, *SIZE), dtype=torch.uint8, generator=generator), data_samples=samples
    )


@torch.no_grad()
def unsettle(model: nn.Module, seed: int = 0) -> None:
    """Random statistics and factors for all batch norms, so that none of them is the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5)):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + low)
            for tensor in (module.bias, module.running_mean):
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))


def profiled(run) -> list:
    """What torch's profiler saw of a call on a CPU; one before it is left out, in which things are made and kept."""
    run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        run()
    return profile.events()
