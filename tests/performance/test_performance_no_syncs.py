"""All tensors of a model live on its GPU, and between two log intervals the host never waits for it.

Shown without a GPU, by tensors without values (reading one, or mixing two devices, is an error, whatever operator does
it) and by counting the operators that read, in a real run. The backward pass of such tensors needs a real device.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toy_models import SYSTEMS, pixel_batch, toy_model
from toy_training import ALL_CONFIGS

from mscmreid.engine import AutocastOptimWrapper
from mscmreid.models.views import View

ROOT = Path(__file__).resolve().parents[2]
READS = ("aten._local_scalar_dense", "aten.nonzero", "aten.equal.", "aten._unique", "aten.masked_select")
BY_ROW = ("geometry", "intensity", "erase", "channels", "rowwise")


class Reads(TorchDispatchMode):
    """Counts the operators on ``device``, and names those that hand values or shapes to the host."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.operators = 0
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        sources = {t.device.type for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        if self.device in sources:
            self.operators += 1
            if name.startswith(READS):
                self.found.append(name)
        out = func(*args, **(kwargs or {}))
        targets = {t.device.type for t in tree_leaves(out) if isinstance(t, Tensor)}
        if self.device in sources and "copy" in name and self.device not in targets:
            self.found.append(name)
        return out


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The views compute whole batches, as on a GPU; what chance decides is drawn on the host, with values."""
    draw = View.draw

    def draw_with_values(self, *args):
        with unset_fake_temporarily():
            return draw(self, *args)

    monkeypatch.setattr(View, "draw", draw_with_values)
    for module in BY_ROW:
        monkeypatch.setattr(f"mscmreid.models.views.{module}.goes_by_row", lambda x: False, raising=False)


def losses_and_features_on_a_gpu(model) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Losses of a training batch and the features of a test batch, by a model that is moved to CUDA, without values."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.train().to("cuda")
        data = model.data_preprocessor(pixel_batch(), training=True)
        losses = model(**data, mode="loss")
        with torch.no_grad():
            samples = model.eval().test_step(pixel_batch())
    return losses, [value for sample in samples for value in sample.values() if isinstance(value, Tensor)]


@pytest.mark.parametrize("config", ALL_CONFIGS)
def test_views_network_losses_and_prediction_stay_on_the_gpu_and_read_nothing(config, as_on_a_gpu):
    model = toy_model("", config)
    with Reads("cuda") as reads:
        losses, features = losses_and_features_on_a_gpu(model)
    assert reads.found == [] and reads.operators > 100
    assert len(features) >= 2 * 8  # feat_pool and feat_bn of eight images
    assert {value.device.type for value in (*losses.values(), *features)} == {"cuda"}


@pytest.mark.parametrize("part", ["data_preprocessor", "backbone", "neck", "head"])
def test_a_tensor_left_on_the_cpu_is_found_in_every_part(part, as_on_a_gpu, monkeypatch):
    model = toy_model("mscm")
    owner = getattr(model, part)
    name = "loss" if part == "head" else "forward"
    method = getattr(owner, name)

    def with_a_table_on_the_cpu(*args, **kwargs):
        out = method(*args, **kwargs)
        first = next(t for t in tree_leaves((out, args)) if isinstance(t, Tensor) and t.is_floating_point())
        return out, first + torch.zeros(first.shape[-1:] or 1)

    monkeypatch.setattr(owner, name, with_a_table_on_the_cpu)
    with pytest.raises(Exception, match=r"two different devices|same device"):
        losses_and_features_on_a_gpu(model)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_whole_step_with_its_update_needs_no_value(system, as_on_a_gpu):
    model = toy_model(system).train()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for module in model.modules():  # a model whose tensors have no values
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    tensors[name] = tensor if tensor is None else mode.from_tensor(tensor)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, foreach=True)
        optim_wrapper = AutocastOptimWrapper(optimizer, dtype="bfloat16", clip_grad=dict(max_norm=10.0))
        for iteration in range(2):
            model.set_iteration(iteration)
            with Reads("cpu") as reads:
                logs = model.train_step(pixel_batch(iteration), optim_wrapper)
            assert reads.found == [] and reads.operators > 300
    assert {"loss", "acc"} <= set(logs)


class ReadsByIteration(Hook):
    """Last of all hooks: how many reads there were so far."""

    priority = "VERY_LOW"

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.counts = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.counts.append(len(self.reads.found))


def test_a_run_with_all_its_hooks_reads_once_an_interval(tmp_path, as_on_a_gpu, monkeypatch):
    sys.path.insert(0, str(ROOT / "tests" / "datasets"))
    from layouts import make_sysu

    from mscmreid.apis import load_config
    from mscmreid.registry import RUNNERS

    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)
    options = {
        "data_root": str(make_sysu(tmp_path / "SYSU-MM01", train=(1, 2, 5, 6, 8), val=(7,), test=(3, 9, 10))),
        "work_dir": str(tmp_path / "run"),
        "image_size": (32, 16),
        "model.backbone.depth": 18,
        "model.backbone.base_channels": 4,
        "model.head.num_classes": 6,
        "optim_wrapper.clip_grad": dict(max_norm=10.0),
        "optim_wrapper.optimizer": dict(type="SGD", lr=1e-3, momentum=0.9, _delete_=True),
        "train_dataloader.batch_sampler.num_ids": 2,
        "train_dataloader.batch_sampler.num_instances": 2,
        "train_dataloader.batch_sampler.num_batches": 12,
        "train_cfg.max_epochs": 1,
        "train_cfg.val_begin": 2,
        "param_scheduler": [dict(type="LinearLR", start_factor=0.1, begin=0, end=10, by_epoch=False)],
        "default_hooks.logger.interval": 5,
        "visualizer.vis_backends": [dict(type="LocalVisBackend")],
        "log_level": "WARNING",
    }
    runner = RUNNERS.build(load_config(ROOT / "configs" / "mscm_synthetic.py", options))
    reads = Reads("cpu")
    hook = ReadsByIteration(reads)
    runner.register_hook(hook)
    with reads:
        runner.train()
    assert len(hook.counts) == 12
    new = [after - before for before, after in zip(hook.counts, hook.counts[1:], strict=False)]  # of iterations 2 to 12
    intervals = {4, 9, 11}  # the 5th and the 10th iteration, and the last of the epoch
    quiet = [count for iteration, count in enumerate(new, start=1) if iteration not in intervals]
    assert quiet == [0] * len(quiet), sorted(set(reads.found))
    assert reads.operators > 12 * 300


def test_the_counter_sees_what_it_looks_for():
    with Reads("cpu") as reads:
        x = torch.ones(3)
        x.sum().item()
        bool(x.any())
        x.nonzero()
        torch.equal(x, x.clone())
    assert len(reads.found) == 4
    with FakeTensorMode(), Reads("cuda") as reads:
        x = torch.ones(3, device="cuda")
        x.cpu()
        torch.zeros(3).copy_(x)
        with pytest.raises(Exception, match=r"item|scalar"):
            x.sum().item()
        with pytest.raises(Exception, match="nonzero"):
            x[x > 0]
    assert len(reads.found) >= 3
