"""The metric losses against numbers of the released implementations: values and the gradient norm of every row."""

from __future__ import annotations

import pytest
import torch
from recipes import loss_case

from mscmreid.models.losses import (
    BatchHardTripletLoss,
    BranchOrthogonality,
    CenterGuidedPairMining,
    EnhancedSquaredDifference,
    QuadrupleCenterTripletLoss,
    WeightedRegularizedTriplet,
)
from mscmreid.structures import Rows

TOLERANCE = 1e-4  # largest deviation seen on a CPU: values 2.1e-6, row gradients 2.4e-5

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
def test_value_and_gradient_norms_equal_the_released_ones(name: str, case: str, golden, deviation) -> None:
    loss, long_name = LOSSES[name]
    spec = golden("losses.json")["cases"][case]
    value, norms = spec["losses"][long_name], golden("losses_grads.npz")[f"{case}_{name}_grad_norm_per_row"]

    array, labels = loss_case(spec["P"], spec["K"], spec["dim"], spec["scale"], spec["seed"])
    features = torch.from_numpy(array).requires_grad_()
    stream = torch.arange(4).repeat_interleave(len(array) // 4)
    columns = dict(label=torch.from_numpy(labels), modality=stream // 2, stream=stream)
    found = loss(features, *(columns[name] for name in loss.reads[1:]))
    found.backward()
    found_norms = features.grad.norm(dim=1).numpy()

    if norms.any():
        assert deviation(f"losses, {name}: row gradients", found_norms, norms) < TOLERANCE
    else:  # no triplet is active, or every square is cut
        assert not found_norms.any()
    if value:
        assert deviation(f"losses, {name}: value", found.item(), value) < TOLERANCE
    else:
        assert found.item() == 0


def system_rows(num_streams: int, visible_streams: int, num_branches: int = 0) -> Rows:
    """Rows of the recorded training steps: four images of two identities a stream."""
    label = torch.tensor([3, 3, 7, 7])
    streams = []
    for s in range(num_streams):
        modality = "visible" if s < visible_streams else "infrared"
        streams.append(Rows.make(label, modality, s, torch.arange(4) + (4 if modality == "infrared" else 0)))
    return Rows.cat(streams).expand_branches(1 + num_branches)


@pytest.mark.parametrize(
    ("file", "prefix", "rows", "losses"),
    [
        ("mscm_forward.npz", "train", (4, 2, 0), {1: (1.0, QuadrupleCenterTripletLoss())}),
        ("agw_caj_forward.npz", "agw_train", (2, 1, 0), {1: (1.0, WeightedRegularizedTriplet())}),
        ("agw_caj_forward.npz", "caj_train", (3, 2, 0), {1: (1.0, EnhancedSquaredDifference())}),
        *(
            (
                "deen_forward.npz",
                f"{variant}_train",
                (2, 1, 2),
                {
                    1: (1.0, BatchHardTripletLoss()),
                    2: (0.8, CenterGuidedPairMining()),
                    3: (0.01, BranchOrthogonality()),
                },
            )
            for variant in ("sysu", "regdb")
        ),
    ],
    ids=["mscm", "agw", "caj", "deen-sysu", "deen-regdb"],
)
def test_losses_of_recorded_features_equal_the_recorded_ones(file, prefix, rows, losses, golden, deviation) -> None:
    """The features of a real training step, far from the made-up ones above; weights included."""
    reference = golden(file)
    features, recorded = torch.from_numpy(reference[f"{prefix}_pool"]), reference[f"{prefix}_losses"][0]
    record = system_rows(*rows)
    for column, (weight, loss) in losses.items():
        found = weight * loss(features, *(getattr(record, column) for column in loss.reads[1:]))
        name = f"{prefix} features, {type(loss).__name__}"
        assert deviation(name, found.item(), recorded[column]) < TOLERANCE
