"""What is done once in one process and once in two; each case returns numbers to compare.

Every case takes the folder of the run. What it reads and draws depends on seeds alone.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from toy_training import TINY_TRANSFORMER

from mscmreid.apis import load_config
from mscmreid.apis import test as run_test
from mscmreid.datasets.loading import reid_collate
from mscmreid.datasets.samplers import CrossModalityBatchSampler
from mscmreid.engine.runner.data_parallel import ReIDDistributedDataParallel
from mscmreid.engine.runner.sync_batch_norm import convert_sync_batch_norm
from mscmreid.evaluation.metric import VIReIDMetric
from mscmreid.models import cast_once
from mscmreid.models.gather import gather_rows, named_columns
from mscmreid.models.losses import (
    BatchHardTripletLoss,
    BranchOrthogonality,
    CenterGuidedPairMining,
    DiscriminativeCenter,
    EnhancedSquaredDifference,
    ModalitySharedEnhancement,
    QuadrupleCenterTripletLoss,
    WeightedRegularizedTriplet,
)
from mscmreid.registry import MODELS
from mscmreid.structures import MODALITIES, ReIDDataSample, Rows

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ("mscm", "agw", "caj", "deen", "dns", "pmt")
EPOCH = {"pmt": 6}
"""Where a system's last stage begins; the others know none."""
LOSSES = dict(
    qct=QuadrupleCenterTripletLoss,
    triplet=BatchHardTripletLoss,
    wrt=WeightedRegularizedTriplet,
    esd=EnhancedSquaredDifference,
    cpm=CenterGuidedPairMining,
    orthogonality=BranchOrthogonality,
    msel=ModalitySharedEnhancement,
    dcl=DiscriminativeCenter,
    within=partial(BatchHardTripletLoss, within_modality=True),
)
SIZE = (64, 32)
NUM_IDS, NUM_INSTANCES = 3, 2  # half a batch is three rows a modality: the middle person is in both halves
TOY = {
    "model.backbone.depth": 18,
    "model.backbone.base_channels": 8,
    "image_size": SIZE,
    "model.backbone.init_cfg": None,
    "model.head.num_classes": 5,
    "optim_wrapper.dtype": "float32",
}


class StatefulLoss(nn.Module):
    """A classifier of its own, its slow teacher, and the slow mean of all features: a loss with every kind of state."""

    reads = ("feat_bn", "label")

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.student = nn.Linear(in_channels, num_classes, bias=False)
        self.register_buffer("teacher", self.student.weight.detach().clone())
        self.register_buffer("mean", torch.zeros(in_channels))

    def forward(self, features: Tensor, label: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            self.teacher.lerp_(self.student.weight, 0.2)
            self.mean.lerp_(features.mean(0), 0.2)
        own = self.student(features - self.mean)
        target = nn.functional.softmax((features - self.mean) @ self.teacher.T, dim=1).detach()
        return dict(ce=nn.functional.cross_entropy(own, label), distill=nn.functional.cross_entropy(own, target))


def rank_and_size() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


class People:
    """Five people, three random images each in each modality."""

    def rows(self) -> dict:
        labels = np.repeat(np.arange(5), 6)
        return dict(pid=labels + 10, modality=np.tile(np.repeat(MODALITIES, 3), 5), label=labels)

    def __getitem__(self, index: int) -> dict:
        columns = self.rows()
        sample = ReIDDataSample(
            metainfo=dict(
                img_path=f"{index}.png",
                pid=int(columns["pid"][index]),
                cam_id=1,
                modality=str(columns["modality"][index]),
                label=int(columns["label"][index]),
                sample_idx=index,
            )
        )
        generator = torch.Generator().manual_seed(index)
        return dict(
            inputs=torch.randint(0, 256, (3, *SIZE), generator=generator, dtype=torch.uint8), data_samples=sample
        )


def sampled() -> list[int]:
    """This process's rows of two global batches."""
    batches = CrossModalityBatchSampler(People(), NUM_IDS, NUM_INSTANCES, seed=7, num_batches=2)
    return [index for batch in batches for index in batch]


def batch() -> dict:
    """This process's share of the first global batch."""
    share = 2 * NUM_IDS * NUM_INSTANCES // rank_and_size()[1]
    return reid_collate([People()[i] for i in sampled()[:share]])


def toy_system(system: str) -> tuple:
    """Config and model in training mode, with the same weights whenever it is called."""
    init_default_scope("mscmreid")
    options = dict(TOY)
    if system == "deen":  # masks are drawn by each process for its own rows
        options["model.backbone.plugins.dee.dropout"] = 0.0
    if system == "dns":
        options["model.backbone.plugins.css.dropout"] = 0.0
    if system.startswith("pmt"):
        del options["model.backbone.base_channels"]
        options |= {**TINY_TRANSFORMER, "model.backbone.dropout": 0.0, "model.backbone.drop_path": 0.0}
        # with AdamW's own the first update is the gradient's sign, of gradients that are nothing but rounding, too
        options["optim_wrapper.optimizer.eps"] = 0.1
    if system == "stateful":
        options["model.head.losses.teacher"] = dict(type=StatefulLoss, weight=0.5)
    name = "agw" if system == "stateful" else system.split()[0]
    cfg = load_config(ROOT / "configs" / f"{name}_sysu.py", options)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    return cfg, model.train()


def compute_in_double(backbone: nn.Module) -> None:
    """Let it work in float64, with float32 images coming in and a float32 map going out."""

    def to_double(module, args: tuple) -> tuple:
        return {stem: x.double() for stem, x in args[0].items()}, *args[1:]

    def to_float(module, args: tuple, out: tuple) -> tuple:
        return {name: x.float() for name, x in out[0].items()}, *out[1:]

    backbone.double().register_forward_pre_hook(to_double)
    backbone.register_forward_hook(to_float)


def one_step(system: str, norm: str, num_steps: int = 1) -> dict:
    """Losses, gradients and the state after training steps with this process's share of the global batch.

    The backbone works in float64 (but for MSCMNet's, whose layer norms are in float32 whatever comes in): rounding
    then moves no value over the edge of a ReLU, so what is left of a difference is a fault.

    Args:
        system: of SYSTEMS, or 'pmt first stage'.
        norm: 'frozen': batch norms use and keep their running statistics; 'synced': they use the global batch's;
            'own': they use this process's rows.
        num_steps: how many; losses and gradients are those of the last.
    """
    cfg, model = toy_system(system)
    if norm == "frozen":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
    if system != "mscm":
        compute_in_double(model.backbone)
    bare = model
    if rank_and_size()[1] > 1:
        bare = convert_sync_batch_norm(model) if norm == "synced" else model
        model = ReIDDistributedDataParallel(bare)
    bare.set_iteration(10**6, EPOCH.get(system, 0))  # behind the ramps of the losses' weights
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: value.clone() for name, value in bare.state_dict().items()}
    grads: dict[str, Tensor] = {}

    def keep_gradients(optimizer, args, kwargs) -> None:
        grads.update({n: p.grad.clone() for n, p in bare.named_parameters() if p.grad is not None})

    optim_wrapper.optimizer.register_step_pre_hook(keep_gradients)
    for _ in range(num_steps):
        losses = model.train_step(batch(), optim_wrapper)
    return dict(
        losses={k: float(v.detach()) for k, v in losses.items()},
        grads=grads,
        before=before,
        state=dict(bare.state_dict()),
    )


def steps(folder: Path) -> dict:
    """Every system with frozen and with synced batch norms, and MSCMNet with each process's own."""
    found = {f"{system} {norm}": one_step(system, norm) for system in SYSTEMS for norm in ("frozen", "synced")}
    found |= {"mscm own": one_step("mscm", "own"), "stateful frozen": one_step("stateful", "frozen", 3)}
    return {**found, "pmt first stage frozen": one_step("pmt first stage", "frozen")}


def half_precision(folder: Path) -> dict:
    """Gradients of a bfloat16 step with the weights cast together, in several groups, and as autocast casts them."""
    group, cast_once.GROUP = cast_once.GROUP, 2**12
    found = {}
    for name, dtype in (("together", torch.bfloat16), ("one by one", torch.float32)):
        _, bare = toy_system("mscm")
        model = ReIDDistributedDataParallel(bare) if rank_and_size()[1] > 1 else bare
        data = bare.data_preprocessor(batch(), training=True)
        with cast_once.WeightsCastOnce(model, dtype)(), torch.autocast("cpu", dtype=torch.bfloat16):
            losses = model(**data, mode="loss")
        (losses["loss_ce"] + losses["loss_qct"]).backward()
        found[name] = {n: p.grad.clone() for n, p in bare.named_parameters() if p.grad is not None}
    cast_once.GROUP = group
    return found


def draws(folder: Path) -> dict:
    """This process's rows of the sampler, and its views."""
    _, model = toy_system("mscm")
    model.set_iteration(3)
    data = model.data_preprocessor(batch(), training=True)
    return dict(sampled=torch.tensor(sampled()), views=data["inputs"], image=data["rows"].image)


def made_up_rows() -> tuple[Tensor, Rows]:
    """(36, 5) inputs of a linear layer and their rows: 4 images a modality, three streams, three branches."""
    rows = []
    for stream, modality in enumerate(("visible", "visible", "infrared")):
        image = torch.arange(4) + (4 if modality == "infrared" else 0)
        extra = dict(box=torch.stack([image, image / 3], dim=1))
        rows.append(Rows.make(torch.tensor([0, 0, 1, 2]), modality, stream, image, 7 * image, extra).expand_branches(3))
    inputs = torch.randn(36, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return inputs, Rows.cat(rows)


def local_rows() -> tuple[Tensor, Rows]:
    """This process's half of the images, each stream's and branch's rows of them."""
    inputs, rows = made_up_rows()
    rank, world_size = rank_and_size()
    mine = torch.div(rows.image % 4, 4 // world_size, rounding_mode="floor") == rank
    return inputs[mine], rows[mine]


def columns_of(rows: Rows) -> dict[str, Tensor]:
    """All columns by name."""
    return {name: value for name, value in vars(rows).items() if name != "extra"} | rows.extra


def gathered(folder: Path) -> dict:
    """``gather_rows`` of this process's rows, and the gradient of a weighted sum of all rows."""
    inputs, rows = local_rows()
    inputs = inputs.clone().requires_grad_()
    found = gather_rows(dict(named_columns(rows), features=inputs))
    features = found.pop("features")
    extra = {name: found.pop(name) for name in rows.extra}
    all_rows = replace(rows, **found, extra=extra)
    weight = 1.0 + all_rows.image + 10.0 * all_rows.stream + 100.0 * all_rows.branch
    (features.sum(1) * weight).sum().backward()
    return dict(
        features=features.detach(),
        grad=inputs.grad,
        local=columns_of(rows),
        rows=columns_of(all_rows),
        weight=1.0 + rows.image + 10.0 * rows.stream + 100.0 * rows.branch,
    )


def metric_losses(folder: Path) -> dict:
    """Every metric loss of features of a linear layer, gathered, and the layer's gradient as DDP would average it."""
    found = {}
    for name, kind in LOSSES.items():
        inputs, rows = local_rows()
        layer = torch.randn(5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
        loss_module = kind()
        own = dict(named_columns(rows), feat_pool=inputs @ layer)
        everyone = gather_rows(own)
        loss = loss_module(*(everyone[n] for n in loss_module.reads))
        loss.backward()
        grad, (_, world_size) = layer.grad, rank_and_size()
        if world_size > 1:
            dist.all_reduce(grad)
        with torch.no_grad():
            alone = loss_module(*(own[n] for n in loss_module.reads))
        found[name] = dict(loss=loss.detach(), grad=grad / world_size, of_own_rows=alone)
    return found


def batch_norm(folder: Path) -> dict:
    """A synced batch norm by itself after two passes: output, gradients, statistics."""
    rank, world_size = rank_and_size()
    generator = torch.Generator().manual_seed(4)
    x, weight = torch.randn(2, 6, 4, 3, 2, generator=generator)
    part = slice(rank * 6 // world_size, (rank + 1) * 6 // world_size)
    x = (2 * x[part] + 1).requires_grad_()
    found = {}
    for momentum in (0.1, None):
        norm = nn.BatchNorm2d(4, momentum=momentum)
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(5))
        norm = convert_sync_batch_norm(norm)
        for _ in range(2):
            out = norm(x)
        x.grad = None
        (out.square() * weight[part]).sum().backward()
        found[str(momentum)] = dict(
            kind=type(norm).__name__,
            out=out.detach(),
            grad=x.grad.clone(),
            grad_weight=norm.weight.grad,
            state=dict(norm.state_dict()),
        )
    return found


def metric_of_an_odd_set(folder: Path) -> dict:
    """The metric over 2 x 7 + 1 rows that a padding sampler shares out, and over the rows a protocol needs."""
    init_default_scope("mscmreid")
    generator = torch.Generator().manual_seed(6)
    features = nn.functional.normalize(torch.randn(15, 8, generator=generator), dim=1)
    samples = [
        dict(
            img_path=f"/data/{i:02d}.png",
            pid=i // 2 % 3,
            cam_id=1 + i % 2,
            modality=MODALITIES[i % 2],
            sample_idx=i,
            feat_bn=features[i],
            feat_pool=features[-1 - i],
        )
        for i in range(15)
    ]
    metric = VIReIDMetric(
        protocols=[dict(type="RegDBProtocol", direction=d) for d in ("visible-to-infrared", "infrared-to-visible")]
    )
    metric.dataset_meta = dict(dataset_name="toy", split="test", data_root="/data")
    for i in DefaultSampler(samples, shuffle=False):
        metric.process(None, [samples[i]])
    collected = len(metric.results)
    return dict(metrics=metric.evaluate(len(samples)), collected=collected, table=_table(metric))


def _table(metric: VIReIDMetric) -> dict:
    table = metric.last_table
    if table is None:  # another process evaluates
        return {}
    return dict(
        path=list(table.path), pid=torch.as_tensor(table.pid), feat_bn=torch.as_tensor(table.features["feat_bn"])
    )


def whole_test(folder: Path) -> list:
    """``mscmreid.apis.test`` of the checkpoint in the folder on its images: every value of the results."""
    import mmengine.runner.runner as runner_module

    rank, world_size = rank_and_size()
    runner_module.collect_env = dict  # asks compilers for their versions
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_WORLD_SIZE="2")
    cfg = load_config(
        ROOT / "configs" / "mscm_synthetic.py",
        {
            **TOY,
            "data_root": str(folder / "SYSU-MM01"),
            "test_dataloader.batch_size": 4,
            "visualizer.vis_backends": [dict(type="LocalVisBackend")],
            "log_level": "ERROR",
        },
    )
    results = run_test(
        cfg,
        folder / "toy.pth",
        work_dir=str(folder / f"test{world_size}"),
        out_features=str(folder / f"features{world_size}.npz"),
        launcher="pytorch" if world_size > 1 else "none",
    )
    return [dict(setting=r.setting, feature=r.feature, values=r.values, queries=r.num_queries) for r in results]


CASES = (gathered, metric_losses, batch_norm, draws, steps, half_precision, metric_of_an_odd_set, whole_test)
