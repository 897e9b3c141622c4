"""Parts of one system in the config of another: they build, train and let every parameter learn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from toy_training import evaluate_model, toy_config, train_steps

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datasets"))
from layouts import make_sysu

NON_LOCAL = dict(type="NonLocal", last=dict(stage2=2, stage3=3))
MIMB = dict(type="MIMB", after="stage3")
MFA = dict(type="MFA", after=["stage1", "stage2", "stage3"])
DEE = dict(type="DEE", after="stage3", num_branches=2, dropout=0.0)
QCT = dict(type="QuadrupleCenterTripletLoss", margin=0.7)
CPM_OF_STREAMS = dict(type="CenterGuidedPairMining", margin=0.2, groups=[0, 2, 1, 3])  # V1, I1, V2, I2
CPM_OF_BRANCHES = dict(type="CenterGuidedPairMining", margin=0.2)
ORTHOGONALITY = dict(type="BranchOrthogonality", weight=0.01)
WRT = dict(type="WeightedRegularizedTriplet")
ESD = dict(type="EnhancedSquaredDifference")

# name -> (config it starts from, plugins, metric losses, rows of a training batch an image)
COMBINATIONS = {
    "MIMB with CPM on four streams": ("mscm_sysu.py", dict(a=NON_LOCAL, b=MIMB), dict(cpm=CPM_OF_STREAMS), 2),
    "ESD on four streams": ("mscm_sysu.py", dict(a=NON_LOCAL, b=MIMB), dict(esd=ESD), 2),
    "QFE and DEE with QCT": ("mscm_sysu.py", dict(a=DEE), dict(qct=QCT, orthogonality=ORTHOGONALITY), 6),
    "MFA, MIMB and DEE in one trunk": (
        "mscm_sysu.py",
        dict(a=MFA, b=MIMB, c=DEE),
        dict(wrt=WRT, cpm=CPM_OF_BRANCHES),
        6,
    ),
    "DEEN with QCT and WRT": ("deen_sysu.py", dict(a=MFA, b=DEE), dict(qct=QCT, wrt=WRT), 3),
    "DEEN with MSCMNet's non-local blocks": ("deen_sysu.py", dict(a=NON_LOCAL, b=DEE), dict(cpm=CPM_OF_BRANCHES), 3),
    "CAJ's shared stem with MIMB and QCT": ("caj_sysu.py", dict(a=MIMB), dict(qct=QCT), 1.5),
    "AGW with MFA and ESD": ("agw_sysu.py", dict(a=MFA), dict(esd=ESD), 1),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sysu(tmp_path_factory.mktemp("data") / "SYSU-MM01", train=(1, 2), val=(7, 8))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_combination_trains_two_steps(name, folder):
    base, plugins, losses, rows_an_image = COMBINATIONS[name]
    options = {
        "model.backbone.plugins": dict(plugins, _delete_=True),
        "model.head.losses": dict(losses, ce=dict(type="CrossEntropy"), _delete_=True),
    }
    cfg = toy_config(base, folder, options)
    steps = train_steps(cfg)
    assert steps.num_rows == [8 * rows_an_image] * 2
    for log in steps.logs:
        assert set(log) == {"loss", "loss_ce", "acc", *(f"loss_{n}" for n in losses)}
        assert all(torch.isfinite(value) for value in log.values())
        assert all(log[f"loss_{n}"] != 0 for n in losses)
    assert steps.without_gradient() == []
    weights = {n: g for n, g in steps.gradients.items() if n.endswith("weight")}
    assert [n for n, gradient in weights.items() if gradient == 0] == []
    branches = sum(plugin["num_branches"] for plugin in plugins.values() if plugin["type"] == "DEE")
    _, results = evaluate_model(cfg, steps.model, "val")
    assert len(results) >= 1
    with torch.no_grad():
        features = steps.model.extract_features(torch.zeros(1, 3, 64, 32), "visible")
    assert features["feat_bn"].shape == (1, (1 + branches) * steps.model.backbone.out_channels)
