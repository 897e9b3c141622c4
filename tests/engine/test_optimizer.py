"""Parameter groups, learning-rate schedules, mixed precision, accumulation."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from mscmreid.engine.optimizers.line_sgd import LineSGD
from mscmreid.engine.optimizers.optim_wrapper import AutocastOptimWrapper, usable_precision
from mscmreid.engine.optimizers.optim_wrapper_constructor import ReIDOptimWrapperConstructor, parameter_groups

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def network() -> nn.Module:
    model = nn.Module()
    model.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    model.neck = nn.BatchNorm1d(4)
    model.neck.bias.requires_grad_(False)
    model.head = nn.Linear(4, 5)
    return model


PARAMWISE = [
    dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
    dict(custom_keys={"backbone": dict(lr_mult=0.1), "backbone.1": dict(lr_mult=0.5, decay_mult=0.0)}),
    dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    dict(custom_keys={"head": dict(decay_mult=0.2)}, norm_decay_mult=0.5),
]


@pytest.mark.parametrize("paramwise", PARAMWISE)
def test_groups_give_every_parameter_what_mmengine_gives_it(paramwise):
    model = network()
    groups = parameter_groups(model, 0.1, 0.01, paramwise)
    slow = DefaultOptimWrapperConstructor(
        dict(optimizer=dict(type="SGD", lr=0.1, weight_decay=0.01)), copy.deepcopy(paramwise)
    )(model)
    twin = {id(p): (g["lr"], g["weight_decay"]) for g in slow.optimizer.param_groups for p in g["params"]}
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert found == twin
    assert len({(g["lr"], g["weight_decay"]) for g in groups}) == len(groups) < len(slow.optimizer.param_groups)
    assert sum(len(g["params"]) for g in groups) == len(found)  # none twice


def test_a_key_that_matches_nothing_and_an_unknown_option_are_errors():
    with pytest.raises(ValueError, match="bakbone"):
        parameter_groups(network(), 0.1, 0.0, dict(custom_keys=dict(bakbone=dict(lr_mult=0.1))))
    with pytest.raises(ValueError, match="lr_mul"):
        parameter_groups(network(), 0.1, 0.0, dict(custom_keys=dict(backbone=dict(lr_mul=0.1))))
    with pytest.raises(ValueError, match="dwconv"):
        parameter_groups(network(), 0.1, 0.0, dict(dwconv_decay_mult=0.1))


def schedule_of(name: str) -> tuple[int, list[list[float]], dict]:
    """(epochs, learning rates of every epoch for backbone, neck and classifier, options of the first group)."""
    cfg = Config.fromfile(CONFIGS / "_base_" / "schedules" / f"{name}.py")
    model = network()
    wrapper_cfg = cfg.optim_wrapper.to_dict()
    paramwise = wrapper_cfg.pop("paramwise_cfg")
    del wrapper_cfg["constructor"]
    wrapper = ReIDOptimWrapperConstructor(wrapper_cfg, paramwise)(model)
    schedulers = [PARAM_SCHEDULERS.build(dict(s, optimizer=wrapper)) for s in cfg.param_scheduler]
    group_of = {id(p): g for g in wrapper.optimizer.param_groups for p in g["params"]}
    parameters = (model.backbone[0].weight, model.neck.weight, model.head.weight)
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append([group_of[id(p)]["lr"] for p in parameters])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return cfg.train_cfg.max_epochs, rates, wrapper.optimizer.param_groups[0]


def test_mscmnets_published_learning_rates_of_every_epoch_and_group(golden):
    expected = golden("lr_schedules.json")["mscm_epoch_lr_[backbone,bottleneck,classifier]"]
    epochs, found, options = schedule_of("mscm")
    assert epochs == len(expected) == 150
    assert found == [pytest.approx(rates, rel=1e-12) for rates in expected]
    assert (options["momentum"], options["nesterov"], options["weight_decay"]) == (0.9, True, 5e-4)


@pytest.mark.parametrize("name, epochs", [("agw", 81), ("caj", 100)])
def test_agws_and_cajs_published_learning_rates(golden, name, epochs):
    expected = golden("lr_schedules.json")["agw_caj_epoch_lr_(backbone is 0.1x)"][:epochs]
    found = schedule_of(name)[1]
    assert len(found) == epochs
    assert found == [pytest.approx([0.1 * lr, lr, lr], rel=1e-12) for lr in expected]


def test_float16_on_a_cpu_goes_on_in_float32():
    assert usable_precision("float16", "cpu") == "float32"
    assert usable_precision("float16", "cuda") == "float16"
    assert usable_precision("bfloat16", "cpu") == "bfloat16"
    with pytest.raises(ValueError, match="fp8"):
        usable_precision("fp8", "cpu")


def wrapper(model: nn.Module, **options) -> AutocastOptimWrapper:
    return AutocastOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), **options)


def test_bfloat16_is_used_inside_the_context_only():
    model = nn.Linear(4, 4)
    x = torch.randn(2, 4)
    with wrapper(model, dtype="bfloat16").optim_context(model):
        assert model(x).dtype is torch.bfloat16
    assert model(x).dtype is torch.float32
    with wrapper(model, dtype="float32").optim_context(model):
        assert model(x).dtype is torch.float32


def test_two_accumulated_halves_equal_one_batch():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    whole, halves = nn.Linear(4, 1), nn.Linear(4, 1)
    halves.load_state_dict(whole.state_dict())
    wrapper(whole, dtype="float32").update_params(whole(x).square().mean())
    accumulating = wrapper(halves, dtype="float32", accumulative_counts=2)
    accumulating.initialize_count_status(halves, 0, 2)
    before = halves.weight.detach().clone()
    accumulating.update_params(halves(x[:4]).square().mean())
    assert torch.equal(halves.weight, before)
    accumulating.update_params(halves(x[4:]).square().mean())
    assert torch.allclose(halves.weight, whole.weight, atol=1e-6)


def test_the_gradient_norm_is_kept_on_the_device():
    model = nn.Linear(4, 1)
    optimizer = wrapper(model, dtype="float32", clip_grad=dict(max_norm=0.1))
    optimizer.update_params(model(torch.ones(1, 4)).sum())
    assert isinstance(optimizer.grad_norm, torch.Tensor)
    assert optimizer.grad_norm.item() == pytest.approx(5**0.5)


class CpuScaler(torch.amp.GradScaler):
    """The scaler of float16, which our wrapper leaves out on a CPU."""

    def __init__(self, device, enabled=True, **options):
        super().__init__("cpu", enabled=True, **options)


def test_the_loss_scale_is_saved_and_restored(monkeypatch):
    monkeypatch.setattr(torch.amp, "GradScaler", CpuScaler)
    model = nn.Linear(4, 1)
    first = wrapper(model, dtype="float32", loss_scale=dict(init_scale=8.0, growth_interval=1))
    first.update_params(model(torch.ones(1, 4)).sum())
    assert first.scaler.get_scale() == 16.0
    second = wrapper(model, dtype="float32", loss_scale=dict(init_scale=8.0))
    second.load_state_dict(first.state_dict())
    assert second.scaler.get_scale() == 16.0


def test_an_infinite_gradient_is_left_out_and_halves_the_scale(monkeypatch):
    monkeypatch.setattr(torch.amp, "GradScaler", CpuScaler)
    model = nn.Linear(4, 1)
    before = model.weight.detach().clone()
    scaled = wrapper(model, dtype="float32", loss_scale=dict(init_scale=8.0))
    scaled.update_params(model(torch.full((1, 4), 1e38)).sum() * 10)
    assert torch.equal(model.weight, before)
    assert scaled.scaler.get_scale() == 4.0


@pytest.mark.parametrize("options", [dict(), dict(fused=True), dict(dampening=0.1)])
def test_momentum_after_an_overflow_in_the_first_step_is_that_of_torchs_plain_sgd(options, monkeypatch):
    monkeypatch.setattr(torch.amp, "GradScaler", CpuScaler)
    weights = []
    for chosen in (options, dict(options, fused=False)):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        optimizer = dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.01, **chosen)
        cfg = dict(optimizer=optimizer, dtype="float32", loss_scale=dict(init_scale=8.0))
        scaled = ReIDOptimWrapperConstructor(cfg)(model)
        for size in (1e38, 1.0, 2.0):
            loss = model(torch.full((1, 3, 3, 3), size)).sum() * 10
            freed = [torch.full((4, 3, 3, 3), 7e8) for _ in range(50)]  # what unset memory then holds
            del freed
            scaled.update_params(loss)
        assert scaled.scaler.get_scale() == 4.0
        weights.append(model.weight.detach())
    torch.testing.assert_close(*weights, rtol=1e-6, atol=1e-6)


def test_a_parameter_whose_first_gradient_comes_later_begins_its_momentum_then():
    weights = []
    for fused in (True, False):
        model = nn.ModuleList([nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)])
        optimizer = dict(type="SGD", lr=0.1, momentum=0.9, fused=fused)
        optimizer = ReIDOptimWrapperConstructor(dict(optimizer=optimizer))(model).optimizer
        for p in model.parameters():
            nn.init.ones_(p)
        for used in (1, 2, 2):
            for p in list(model.parameters())[:used]:
                p.grad = torch.full_like(p, 0.5)
            optimizer.step()
        weights.append(torch.cat([p.detach() for p in model.parameters()]))
    torch.testing.assert_close(*weights)


def test_a_wrong_loss_scale_is_an_error():
    with pytest.raises(ValueError, match="loss_scale"):
        wrapper(nn.Linear(1, 1), loss_scale="static")


def steps_in_channels_last(make, count: int = 3) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    """A weight in channels_last after some steps of an optimizer."""
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(8, 6, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last))
    unused = nn.Parameter(torch.ones(2))
    optimizer = make([weight, unused])
    for _ in range(count):
        weight.grad = torch.randn(weight.shape, generator=generator).contiguous(memory_format=torch.channels_last)
        optimizer.step()
    return weight, optimizer


@pytest.mark.parametrize(
    "options",
    [
        dict(momentum=0.9, nesterov=True),
        dict(momentum=0.5, dampening=0.1),
        dict(weight_decay=0.01),
        dict(maximize=True),
    ],
)
def test_sgd_on_lines_is_torchs_to_the_bit(options):
    theirs, reference = steps_in_channels_last(lambda p: torch.optim.SGD(p, lr=0.1, fused=True, **options))
    ours, optimizer = steps_in_channels_last(lambda p: LineSGD(p, lr=0.1, fused=True, **options))
    assert torch.equal(ours, theirs) and ours.stride() == theirs.stride()
    state, expected = optimizer.state_dict(), reference.state_dict()
    assert state["param_groups"] == expected["param_groups"] and state["state"].keys() == expected["state"].keys()
    for number, entries in expected["state"].items():
        for name, value in entries.items():
            assert torch.equal(state["state"][number][name], value)
            assert state["state"][number][name].stride() == value.stride()
    assert LineSGD([ours], lr=0.1, fused=True).step(lambda: 5.0) == 5.0


def test_sgd_on_a_cpu_copies_no_gradient():
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = ReIDOptimWrapperConstructor(dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9)))(model).optimizer
    assert type(optimizer) is LineSGD
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step()
    names = [event.name for event in profile.events()]
    assert "aten::_fused_sgd_" in names and "aten::copy_" not in names


@pytest.mark.parametrize("make", [LineSGD, torch.optim.SGD, torch.optim.AdamW])
def test_momentum_of_another_memory_format_meets_its_weights(make):
    options = dict(lr=0.1, fused=True) if make is torch.optim.AdamW else dict(lr=0.1, momentum=0.9, fused=True)
    found = []
    for layout in (torch.channels_last, torch.contiguous_format):
        weight, optimizer = steps_in_channels_last(lambda p: make(p, **options))
        state = copy.deepcopy(optimizer.state_dict())
        for entries in state["state"].values():
            for name, value in entries.items():
                entries[name] = value.contiguous(memory_format=layout) if value.ndim == 4 else value
        AutocastOptimWrapper(optimizer, dtype="float32").load_state_dict(state)
        optimizer.step()
        found.append(weight.detach())
    assert torch.equal(*found)
