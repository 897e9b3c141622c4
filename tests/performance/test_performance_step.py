"""What a training step is made of: fused update, whole batches accumulated, attention without its matrix."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from toy_models import pixel_batch, toy_model

from mscmreid.engine import AutocastOptimWrapper, ReIDOptimWrapperConstructor, ReIDRunner
from mscmreid.engine.runner.allocator import keep_freed_memory


@pytest.mark.parametrize(
    "optimizer", [dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True), dict(type="AdamW", lr=0.1)]
)
def test_the_update_is_fused_and_equals_the_plain_one(optimizer):
    weights = []
    for options in ({}, dict(fused=False, foreach=False)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
        wrapper = ReIDOptimWrapperConstructor(dict(optimizer=optimizer | options, dtype="float32"))(model)
        assert bool(wrapper.optimizer.defaults["fused"]) is not bool(options)
        for seed in range(3):
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))
            wrapper.update_params(model(x).square().mean())
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_an_optimizer_without_a_fused_update_and_a_choice_in_the_config_stay():
    model = nn.Linear(2, 2)
    plain = ReIDOptimWrapperConstructor(dict(optimizer=dict(type="RMSprop", lr=0.1), dtype="float32"))(model)
    assert "fused" not in plain.optimizer.defaults
    chosen = ReIDOptimWrapperConstructor(dict(optimizer=dict(type="SGD", lr=0.1, foreach=True), dtype="float32"))(model)
    assert chosen.optimizer.defaults["foreach"] and not chosen.optimizer.defaults["fused"]


def test_accumulated_gradients_are_the_mean_over_whole_batches():
    def gradients(model) -> torch.Tensor:
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    single = []
    for seed in (0, 1):
        model = toy_model("mscm").eval()  # batch norms fixed: the two batches do not influence each other
        model.set_iteration(seed)
        data = model.data_preprocessor(pixel_batch(seed), training=True)
        losses = model(**data, mode="loss")
        (losses["loss_ce"] + losses["loss_qct"]).backward()
        single.append(gradients(model))

    model = toy_model("mscm").eval()
    wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0), "float32", accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 2)
    kept = []
    wrapper.optimizer.register_step_pre_hook(lambda *args: kept.append(gradients(model)))
    for seed in (0, 1):
        model.set_iteration(seed)
        model.train_step(pixel_batch(seed), wrapper)
    assert len(kept) == 1  # one update for two batches of P x K
    torch.testing.assert_close(kept[0], (single[0] + single[1]) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_mimb_never_writes_its_attention_matrix(training):
    model = toy_model("mscm").train(training)
    data = model.data_preprocessor(pixel_batch(), training=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        model(**data, mode="loss")["loss_ce"].backward()
    names = {event.key for event in profile.key_averages()}
    assert any("scaled_dot_product" in name and "flash" in name for name in names)
    assert "aten::_softmax" not in names


def test_attention_falls_back_where_no_fused_kernel_may_be_used():
    model = toy_model("mscm").eval()
    x = torch.randn(2, 3, 64, 32)
    expected = model.extract_features(x, "visible")["feat_bn"]
    with sdpa_kernel(SDPBackend.MATH):
        found = model.extract_features(x, "visible")["feat_bn"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_users_choice_of_allocation_is_respected(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    assert keep_freed_memory() is False


@pytest.mark.parametrize("kept", [True, False])
def test_the_log_says_whether_freed_memory_is_kept(kept, monkeypatch):
    monkeypatch.setattr(Runner, "_log_env", lambda *_: None)  # it asks compilers for their versions
    runner, lines = object.__new__(ReIDRunner), []
    runner._keeps_freed_memory, runner.logger = kept, SimpleNamespace(info=lines.append)
    runner._log_env({})
    assert [line.startswith("freed memory is kept") for line in lines] == [True] * kept
