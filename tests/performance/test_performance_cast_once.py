"""Weights that are cast together for a training step: autocast's numbers, fewer kernels, nothing left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from test_performance_compile import CountGraphs
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toy_models import pixel_batch, profiled, toy_model

from mscmreid.engine import AutocastOptimWrapper, ReIDOptimWrapperConstructor
from mscmreid.models import cast_once
from mscmreid.models.cast_once import WeightsCastOnce

BEHIND_EVERY_RAMP = 10**6


class Copies(TorchDispatchMode):
    """Counts the casts and copies of tensors that a program asks for, on whatever device.

    Not what a processor's own kernels do inside (torch's CPU convolution lays out each weight gradient anew), nor
    numbers of no dimension.
    """

    KINDS = ("_to_copy", "clone", "copy_", "_foreach_copy_")

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in self.KINDS and any(isinstance(x, Tensor) and x.ndim for x in tree_leaves(args)):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def losses_and_gradients(model: nn.Module, dtype: torch.dtype, together: bool) -> tuple[dict, dict]:
    model.set_iteration(BEHIND_EVERY_RAMP)
    data = model.data_preprocessor(pixel_batch(), training=True)
    torch.manual_seed(2)  # dropout
    with WeightsCastOnce(model, dtype if together else torch.float32)(), torch.autocast("cpu", dtype=dtype):
        losses = model(**data, mode="loss")
    sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
    return losses, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ("mscm_sysu.py", torch.bfloat16),
        ("mscm_sysu.py", torch.float16),
        ("deen_sysu.py", torch.bfloat16),
        ("dns_sysu.py", torch.bfloat16),
        ("pmt_sysu.py", torch.bfloat16),
    ],
)
def test_losses_and_gradients_are_autocasts(config, dtype, monkeypatch):
    monkeypatch.setattr(cast_once, "GROUP", 2**12)  # several groups in a toy, too
    expected, gradients = losses_and_gradients(toy_model("", config).train(), dtype, together=False)
    model = toy_model("", config).train()
    own = dict(model.named_parameters())
    losses, found = losses_and_gradients(model, dtype, together=True)
    assert losses.keys() == expected.keys() and found.keys() == gradients.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=1e-6)
    for name, gradient in gradients.items():
        assert (gradient is None) == (found[name] is None), name
        if gradient is not None:
            assert found[name].dtype is torch.float32 and found[name].stride() == gradient.stride()
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-5 * float(gradient.abs().max()))
    assert all(own[name] is p for name, p in model.named_parameters()) and len(own) == len(found)


class Shared(nn.Module):
    """A weight in two places, one that computes in float32, one that is frozen, one that is not used."""

    float32_parts = ("exact",)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.exact, self.frozen, self.idle = (nn.Linear(3, 3) for _ in range(5))
        self.b.weight = self.a.weight
        self.frozen.requires_grad_(False)
        self.norm = nn.LayerNorm(3)


def test_which_weights_are_cast_and_that_they_come_back_after_an_error():
    model = Shared()
    own = dict(model.named_parameters(remove_duplicate=False))
    with pytest.raises(KeyError), WeightsCastOnce(model, torch.bfloat16)():
        types = {name: p.dtype for name, p in model._modules.items() for p in p._parameters.values()}
        assert types == dict(
            a=torch.bfloat16,
            b=torch.bfloat16,
            exact=torch.float32,
            frozen=torch.float32,
            idle=torch.bfloat16,
            norm=torch.float32,
        )
        assert model.a.weight is model.b.weight
        (model.a(torch.ones(1, 3).bfloat16()) + model.b(torch.ones(1, 3).bfloat16())).sum().backward()
        raise KeyError
    assert own == dict(model.named_parameters(remove_duplicate=False))
    torch.testing.assert_close(model.a.weight.grad, torch.full((3, 3), 2.0))
    assert model.idle.weight.grad is None


def test_pieces_begin_where_kernels_are_fast():
    model = nn.Sequential(nn.Linear(8, 1), nn.Linear(64, 64), nn.Conv2d(64, 1, 3).to(memory_format=torch.channels_last))
    with WeightsCastOnce(model, torch.bfloat16)():
        starts = {tuple(p.shape): p.storage_offset() for m in model for p in m._parameters.values()}
        assert model[2].weight.stride() == (576, 1, 192, 64)
    assert starts[64, 64] % 64 == starts[64,] % 64 == starts[1, 64, 3, 3] % 64 == 0


def test_a_compiled_step_is_one_graph():
    torch._dynamo.reset()
    model, counter = toy_model("agw").train(), CountGraphs()
    model.compile(backend=counter, fullgraph=True)
    wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3), dtype="bfloat16")
    for seed in range(2):
        model.set_iteration(seed)
        model.train_step(pixel_batch(seed), wrapper)
    assert counter.count == 1
    torch._dynamo.reset()


def test_checkpointed_blocks_get_the_same_gradients():
    found = []
    for with_cp in (False, True):
        model = toy_model("agw").train()
        model.backbone.trunk.with_cp = with_cp
        found.append(losses_and_gradients(model, torch.bfloat16, together=True)[1])
    for name, gradient in found[0].items():
        if gradient is not None:
            torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=1e-5 * float(gradient.abs().max()))


def test_accumulated_and_clipped_updates_are_autocasts():
    weights = []
    for together in (True, False):
        model = toy_model("agw").train()
        wrapper = AutocastOptimWrapper(
            torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
            dtype="bfloat16",
            accumulative_counts=2,
            clip_grad=dict(max_norm=5.0),
        )
        wrapper.initialize_count_status(model, 0, 4)
        if not together:
            wrapper.weights = WeightsCastOnce(model, torch.float32)
        for seed in range(4):
            model.set_iteration(seed)
            model.train_step(pixel_batch(seed), wrapper)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)
    assert (weights[0] - torch.cat([p.detach().flatten() for p in toy_model("agw").parameters()])).abs().max() > 1e-3


def training_step(config: str) -> Callable[[], None]:
    """A bfloat16 training step behind the views, with ResNet-50's layers at an eighth of the width."""
    model = toy_model("", config, depth=12 if "pmt" in config else 50).train()
    model.set_iteration(BEHIND_EVERY_RAMP)
    data = model.data_preprocessor(pixel_batch(), training=True)
    optimizer = dict(type="SGD", lr=1e-4, momentum=0.9, nesterov=True)
    wrapper = ReIDOptimWrapperConstructor(dict(optimizer=optimizer, dtype="bfloat16"))(model)

    def step() -> None:
        with wrapper.optim_context(model):
            losses = model(**data, mode="loss")
        wrapper.update_params(model.parse_losses(losses)[0])

    return step


# The input, in each stem; GeM's; the casts of the weights and of their gradients; the losses' inputs. MSCMNet: MIMB's
# norms, sums and products, and back. DEEN: its attentions without a softmax, their sums and the batch norms behind.
# DNS: profiles. PMT: behind each norm, and the gradients of the branches, since a transformer's sums are in float32.
@pytest.mark.parametrize(
    ("config", "most"),
    [
        ("mscm_sysu.py", 66),
        ("agw_sysu.py", 10),
        ("caj_sysu.py", 10),
        ("deen_sysu.py", 67),
        ("dns_sysu.py", 29),
        ("pmt_sysu.py", 84),
    ],
)
def test_the_copies_of_a_training_step_are_known(config, most):
    step = training_step(config)
    with torch.backends.mkldnn.flags(enabled=False), Copies() as copies:  # the same kernels on every processor
        step()
    assert copies.found.total() <= most, copies.found


CONVOLUTIONS = ("aten::convolution", "aten::convolution_backward")


def ancestors(event) -> Iterator[str]:
    while event is not None:
        yield event.name
        event = event.cpu_parent


# Beside those above: casts inside sums of unequal precisions, biases of linear layers, numbers in an expression.
@pytest.mark.parametrize(
    ("config", "most", "of_layout"),
    [
        ("mscm_sysu.py", 131, 0),
        ("agw_sysu.py", 36, 0),
        ("caj_sysu.py", 38, 0),
        ("deen_sysu.py", 120, 0),
        ("dns_sysu.py", 104, 16),
        ("pmt_sysu.py", 260, 2),
    ],
)
def test_all_copies_of_a_training_step_on_a_cpu_are_known(config, most, of_layout):
    step = training_step(config)
    with torch.backends.mkldnn.flags(enabled=False):
        events = profiled(step)
    chains = [list(ancestors(event)) for event in events if event.name == "aten::copy_"]
    in_convolutions = [chain for chain in chains if set(chain) & set(CONVOLUTIONS)]
    # a convolution lays out its inputs and gradients, and copies its bias
    of_convolutions = sum("aten::contiguous" in chain for chain in in_convolutions)
    found = len(chains) - len(in_convolutions)
    assert found <= most and of_convolutions <= of_layout, (found, of_convolutions)
    assert not any("aten::_fused_sgd_" in chain for chain in chains)


@pytest.mark.parametrize(
    ("system", "most"), [("mscm", 14), ("agw", 2), ("caj", 3), ("deen", 7), ("dns", 18), ("pmt", 39)]
)
def test_all_copies_of_the_views_on_a_cpu_are_known(system, most):
    model = toy_model("", f"{system}_sysu.py").train()
    model.set_iteration(BEHIND_EVERY_RAMP)
    batch = pixel_batch()
    events = profiled(lambda: model.data_preprocessor(batch, training=True))
    assert sum(event.name == "aten::copy_" for event in events) <= most, system
