"""What holds for all metric losses: order, precision, finiteness, tracing, errors."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mscmreid.models.gather import named_columns
from mscmreid.models.losses import (
    BatchHardTripletLoss,
    BranchOrthogonality,
    CenterGuidedPairMining,
    EnhancedSquaredDifference,
    QuadrupleCenterTripletLoss,
    WeightedRegularizedTriplet,
)
from mscmreid.registry import MODELS
from mscmreid.structures import Rows

LOSSES = {
    "qct": QuadrupleCenterTripletLoss(margin=6.0),
    "qct-own": QuadrupleCenterTripletLoss(margin=6.0, alpha=0.5),
    "batch-hard": BatchHardTripletLoss(),
    "wrt": WeightedRegularizedTriplet(),
    "esd": EnhancedSquaredDifference(),
    "cpm-branch": CenterGuidedPairMining(),
    "cpm-stream": CenterGuidedPairMining(groups=(0, 2, 1, 3)),
    "orthogonality": BranchOrthogonality(),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def batch(num_ids: int = 4, num_instances: int = 3, dim: int = 16, seed: int = 0) -> tuple[Tensor, Rows]:
    """Four streams of ids x instances, expanded to three branches: the largest batch any system makes."""
    label = torch.arange(num_ids).repeat_interleave(num_instances)
    visible = torch.arange(len(label))
    rows = Rows.cat(
        [
            Rows.make(label, "visible", 0, visible),
            Rows.make(label, "visible", 1, visible),
            Rows.make(label, "infrared", 2, visible + len(label)),
            Rows.make(label, "infrared", 3, visible + len(label)),
        ]
    ).expand_branches(3)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(rows), dim, generator=generator) + 0.3 * rows.label[:, None], rows


def call(loss: nn.Module, features: Tensor, rows: Rows) -> Tensor:
    columns = named_columns(rows)
    return loss(features, *(columns[name] for name in loss.reads[1:]))


def value_and_gradient(loss: nn.Module, features: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    features = features.detach().clone().requires_grad_()
    value = call(loss, features, rows)
    (gradient,) = torch.autograd.grad(value, features)
    return value.detach(), gradient


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_row_order_does_not_matter(loss: nn.Module, seed: int) -> None:
    features, rows = batch(seed=seed)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    value, gradient = value_and_gradient(loss, features.double(), rows)
    shuffled, shuffled_gradient = value_and_gradient(loss, features[order].double(), rows[order])
    torch.testing.assert_close(shuffled, value)
    torch.testing.assert_close(shuffled_gradient, gradient[order])
    assert gradient.abs().max() > 0  # the case is no trivial one


@every_loss
def test_one_image_of_each_identity_is_enough(loss: nn.Module) -> None:
    value, gradient = value_and_gradient(loss, *batch(num_instances=1))
    assert value.isfinite() and gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("fill", [0.0, 1.0, 300.0])
def test_equal_features_have_a_finite_gradient(loss: nn.Module, fill: float) -> None:
    features, rows = batch()
    value, gradient = value_and_gradient(loss, torch.full_like(features, fill), rows)
    assert value.isfinite() and gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_tiny_and_huge_features_have_a_finite_gradient(loss: nn.Module, scale: float) -> None:
    features, rows = batch()
    value, gradient = value_and_gradient(loss, scale * features, rows)
    assert value.isfinite() and gradient.isfinite().all()


@every_loss
def test_one_identity_alone_is_finite(loss: nn.Module) -> None:
    value, gradient = value_and_gradient(loss, *batch(num_ids=1))
    assert value.isfinite() and gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("modality", [0, 1])
def test_an_identity_of_one_modality_is_finite(loss: nn.Module, modality: int) -> None:
    features, rows = batch()
    keep = (rows.label != 2) | (rows.modality == modality)
    value, gradient = value_and_gradient(loss, features[keep], rows[keep])
    assert value.isfinite() and gradient.isfinite().all()
    value, gradient = value_and_gradient(loss, features[rows.modality == modality], rows[rows.modality == modality])
    assert value.isfinite() and gradient.isfinite().all()


def test_qct_pulls_only_rows_that_have_the_other_modality() -> None:
    """Margin 0 leaves the pull: mean distance to the other modality's centre over the rows that have one."""
    features = torch.tensor([[0.0], [4.0], [100.0]])
    label, modality = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
    loss = QuadrupleCenterTripletLoss(margin=0.0)
    assert loss(features, label, modality, modality).item() == pytest.approx(4.0 / 2)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_computed_in_fp32(loss: nn.Module, dtype: torch.dtype) -> None:
    features, rows = batch()
    half = features.to(dtype)
    expected, _ = value_and_gradient(loss, half.float(), rows)
    value, gradient = value_and_gradient(loss, half, rows)
    assert value.dtype == torch.float32 and gradient.dtype == dtype
    assert value == expected


@every_loss
def test_autocast_around_changes_nothing(loss: nn.Module) -> None:
    features, rows = batch()
    expected, expected_gradient = value_and_gradient(loss, features, rows)
    features.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = call(loss, features, rows)
    (gradient,) = torch.autograd.grad(value, features)
    assert value == expected and torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "orthogonality"])
def test_a_common_shift_costs_no_precision(name: str) -> None:
    """Features as ReLU networks make them, far from the origin against their spread (not for inner products)."""
    loss = LOSSES[name]
    features, rows = batch()
    shifted = (features + 1000.0).float()
    _, exact = value_and_gradient(loss, shifted.double(), rows)
    _, gradient = value_and_gradient(loss, shifted, rows)
    assert (gradient - exact).abs().max() <= 1e-3 * exact.abs().max()


@pytest.mark.parametrize("name", [name for name in LOSSES if not name.startswith("cpm")])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """Not CPM, whose gradient is stopped on purpose; its twin in plain loops shows it."""
    features, rows = batch(num_ids=2, num_instances=1, dim=3)
    features = features.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: call(LOSSES[name], f, rows), (features,))


@every_loss
def test_it_compiles_without_a_graph_break(loss: nn.Module) -> None:
    features, rows = batch()
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected, expected_gradient = value_and_gradient(loss, features, rows)
    value, gradient = value_and_gradient(compiled, features, rows)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


class CountOperators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@every_loss
def test_no_operator_waits_for_the_device_and_none_is_called_per_row(loss: nn.Module) -> None:
    counts = []
    for num_instances in (1, 6):
        features, rows = batch(num_instances=num_instances)
        with CountOperators() as operators:
            value_and_gradient(loss, features, rows)
        waiting = {"_local_scalar_dense", "item", "nonzero", "_unique2", "unique_dim", "masked_select", "is_nonzero"}
        assert not waiting & set(operators.seen)
        assert operators.seen["index"] == 0
        counts.append(operators.seen.total())
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "cfg",
    [
        dict(type="QuadrupleCenterTripletLoss", margin=0.7, alpha=0.0),
        dict(type="BatchHardTripletLoss", margin=0.3),
        dict(type="WeightedRegularizedTriplet"),
        dict(type="EnhancedSquaredDifference"),
        dict(type="CenterGuidedPairMining", margin=0.2),
        dict(type="CenterGuidedPairMining", margin=0.2, groups=[0, 2, 1, 3]),
        dict(type="BranchOrthogonality"),
    ],
    ids=lambda cfg: cfg["type"],
)
def test_it_is_built_by_name_and_holds_no_parameters(cfg: dict) -> None:
    loss = MODELS.build(cfg)
    assert call(loss, *batch()).ndim == 0
    assert not loss.state_dict()


def test_its_settings_are_printed() -> None:
    assert repr(QuadrupleCenterTripletLoss(margin=0.5)) == "QuadrupleCenterTripletLoss(margin=0.5, alpha=0.0)"
    assert repr(WeightedRegularizedTriplet()) == "WeightedRegularizedTriplet()"


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (QuadrupleCenterTripletLoss, dict(margin=-0.1)),
        (QuadrupleCenterTripletLoss, dict(alpha=1.5)),
        (BatchHardTripletLoss, dict(margin=-1)),
        (CenterGuidedPairMining, dict(margin=-1)),
        (CenterGuidedPairMining, dict(groups="stream")),
        (CenterGuidedPairMining, dict(groups=(0, 1, 2))),
        (CenterGuidedPairMining, dict(groups=(0, 1, 2, 2))),
    ],
)
def test_senseless_settings_are_refused(cls: type[nn.Module], arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        cls(**arguments)


@every_loss
def test_features_that_are_no_matrix_are_refused(loss: nn.Module) -> None:
    features, rows = batch()
    for wrong in (features[:, :, None], features.long(), features[:0]):
        with pytest.raises(ValueError, match=r"expects float features \(N, D\)"):
            call(loss, wrong, rows)


def test_a_column_of_another_length_is_refused_by_name() -> None:
    features, rows = batch()
    with pytest.raises(ValueError, match="'label' must have one entry"):
        LOSSES["qct"](features, rows.label[:-1], rows.modality, rows.stream)


def test_another_number_of_values_is_refused() -> None:
    features, rows = batch()
    with pytest.raises(ValueError, match=r"reads \('feat_pool', 'label', 'modality', 'branch'\), found 2 values"):
        LOSSES["cpm-branch"](features, rows.label)
