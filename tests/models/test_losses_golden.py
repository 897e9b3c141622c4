"""The metric losses against numbers of the released implementations: values and the gradient norm of every row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes import loss_case

from mscmreid.models.losses import (
    BatchHardTripletLoss,
    CenterGuidedPairMining,
    EnhancedSquaredDifference,
    QuadrupleCenterTripletLoss,
    WeightedRegularizedTriplet,
)

DATA = Path(__file__).parent.parent / "data"
TOLERANCE = 1e-4  # of the largest golden entry; largest seen on a CPU: values 2.1e-6, gradients 2.4e-5

LOSSES = {
    "qct": (QuadrupleCenterTripletLoss(margin=0.7), "quadruple_center_triplet_margin0.7"),
    "qct3": (QuadrupleCenterTripletLoss(margin=3.0), "quadruple_center_triplet_margin3.0"),
    "tri": (BatchHardTripletLoss(margin=0.3), "batch_hard_triplet_margin0.3"),
    "wrt": (WeightedRegularizedTriplet(), "weighted_regularized_triplet"),
    "adp0": (WeightedRegularizedTriplet(), "enhanced_squared_difference_square0"),  # CAJ's code without the square
    "adp1": (EnhancedSquaredDifference(), "enhanced_squared_difference_square1"),
    "cpm": (CenterGuidedPairMining(margin=0.2, groups=(0, 1, 2, 3)), "center_guided_pair_mining_margin0.2"),
}


@pytest.mark.parametrize("case", ["c0", "c1", "c2", "c3"])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_norms_equal_the_released_ones(name: str, case: str) -> None:
    loss, long_name = LOSSES[name]
    spec = json.loads((DATA / "losses.json").read_text())["cases"][case]
    golden = spec["losses"][long_name]
    golden_norms = np.load(DATA / "losses_grads.npz", allow_pickle=False)[f"{case}_{name}_grad_norm_per_row"]

    array, labels = loss_case(spec["P"], spec["K"], spec["dim"], spec["scale"], spec["seed"])
    features = torch.from_numpy(array).requires_grad_()
    stream = torch.arange(4).repeat_interleave(len(array) // 4)
    value = loss(features, torch.from_numpy(labels), stream // 2, stream)
    value.backward()

    value_deviation = abs(value.item() - golden)
    norm_deviation = np.abs(features.grad.norm(dim=1).numpy() - golden_norms).max()
    print(f"{case} {name}: value off by {value_deviation:.1e} of {golden:.3g}, row gradients by {norm_deviation:.1e}")
    assert value_deviation <= TOLERANCE * abs(golden)
    assert norm_deviation <= TOLERANCE * golden_norms.max()
