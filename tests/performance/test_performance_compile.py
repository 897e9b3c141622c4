"""The forward pass of every system is one graph: training with all losses, and inference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_models import NUM, SIZE, SYSTEMS, pixel_batch, toy_model, training_batch

from mscmreid.engine import AutocastOptimWrapper
from mscmreid.structures import ReIDDataSample


class CountGraphs:
    """A backend of torch.compile that counts the graphs it is given and runs them as they are."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, example_inputs: list[Tensor]):
        self.count += 1
        return graph.forward


@pytest.fixture(autouse=True)
def forget_compiled():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def step(model, inputs, rows) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses and gradients."""
    torch.manual_seed(2)  # dropout
    model.zero_grad()
    losses = model(inputs, rows, mode="loss")
    sum(value for name, value in losses.items() if name.startswith("loss")).backward()
    return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_training_step_is_one_graph_with_the_same_losses_and_gradients(system):
    model = toy_model(system).train()
    inputs, rows = training_batch(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    names = list(state)
    losses, grads = step(model, inputs, rows)
    model.load_state_dict(state)
    counter = CountGraphs()
    model.compile(backend=counter, fullgraph=True)
    compiled_losses, compiled_grads = step(model, inputs, rows)
    assert counter.count == 1
    assert list(model.state_dict()) == names
    assert losses.keys() == compiled_losses.keys() and grads.keys() == compiled_grads.keys()
    for name, value in losses.items():
        torch.testing.assert_close(compiled_losses[name], value, rtol=1e-5, atol=1e-6)
    largest = max(grad.abs().max() for grad in grads.values())
    for name, grad in grads.items():
        assert (compiled_grads[name] - grad).abs().max() <= 1e-4 * largest, name


def test_a_ramped_loss_weight_compiles_once():
    model = toy_model("mscm").train()
    for name in model.head.schedules:
        model.head.schedules[name] = (1.0, 0, 100)
    inputs, rows = training_batch(model)
    counter = CountGraphs()
    model.compile(backend=counter, fullgraph=True)
    found = []
    for iteration in range(4):
        model.set_iteration(iteration)
        found.append(model(inputs, rows, mode="loss")["loss_qct"].item())
    assert counter.count == 1
    assert all(value > 0 for value in found)
    assert found[3] > 3 * found[0]  # the features hardly change: the weight is 4 times the first one


@pytest.mark.parametrize("system", SYSTEMS)
def test_extraction_is_one_graph_with_the_same_features(system):
    model = toy_model(system).eval()
    x = torch.randn(NUM, 3, *SIZE)
    expected = model.extract_features(x, "infrared")
    counter = CountGraphs()
    model.compile(backend=counter, fullgraph=True)
    found = model.extract_features(x, "infrared")
    assert counter.count == 1
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_testing_a_compiled_model_traces_no_data_samples():
    model = toy_model("mscm").eval()
    samples = [ReIDDataSample(metainfo=dict(modality=name)) for name in ("visible", "infrared", "visible")]
    batch = dict(inputs=torch.randint(0, 256, (3, 3, *SIZE), dtype=torch.uint8), data_samples=samples)
    with torch.no_grad():
        expected = [sample.feat_bn.clone() for sample in model.test_step(batch)]
        counter = CountGraphs()
        model.compile(backend=counter, fullgraph=True)
        found = [sample.feat_bn for sample in model.val_step(batch)]
    assert counter.count == 1
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_mmengines_training_step_runs_one_graph(dtype):
    model = toy_model("mscm").train()
    optim_wrapper = AutocastOptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3), dtype=dtype)
    counter = CountGraphs()
    model.compile(backend=counter, fullgraph=True)
    for seed in range(3):
        logs = model.train_step(pixel_batch(seed), optim_wrapper)
        assert all(torch.isfinite(value) for value in logs.values())
    assert counter.count == 1
