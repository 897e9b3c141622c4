"""Batch norms folded into convolutions: the same features, fewer passes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toy_models import SIZE, SYSTEMS, toy_model, unsettle

from mscmreid.models.folding import conv_bn_pairs, fold_batch_norms, inference_copy


def unsettled(system: str):
    model = toy_model(system).eval()
    unsettle(model)
    return model


def features(model, modality: str) -> dict[str, torch.Tensor]:
    return model.extract_features(torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(5)), modality)


@pytest.mark.parametrize("system", SYSTEMS)
def test_features_are_those_of_the_unfolded_model(system):
    model = unsettled(system)
    folded = inference_copy(model)
    for modality in ("visible", "infrared"):
        expected, found = features(model, modality), features(folded, modality)
        for name, value in expected.items():
            assert (found[name] - value).abs().max() <= 1e-5 * value.abs().max()


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_batch_norm_over_maps_is_left_and_the_model_itself_is_untouched(system):
    model = unsettled(system)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = inference_copy(model)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) > 10
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("depth", [18, 50])
def test_both_kinds_of_block_are_folded_in_channels_last(depth):
    from mscmreid.models import MultiStreamResNet

    net = MultiStreamResNet(depth, SIZE, base_channels=8).eval()
    total = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert fold_batch_norms(net) == total
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(RuntimeError, match=r"model\.eval\(\)"):
        fold_batch_norms(toy_model("agw").train())


def test_what_does_not_say_that_a_batch_norm_follows_is_left_alone():
    class PreActivation(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv1(self.bn1(x))

    module = PreActivation().eval()
    assert conv_bn_pairs(module) == () and fold_batch_norms(module) == 0
    between = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)).eval()
    assert fold_batch_norms(between) == 0
    no_statistics = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).eval()
    assert fold_batch_norms(no_statistics) == 0
    assert fold_batch_norms(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval()) == 1


def test_a_test_run_extracts_with_a_folded_copy_of_the_present_weights():
    from types import SimpleNamespace

    from mscmreid.engine.runner.loops import ReIDTestLoop

    model = unsettled("mscm")
    loop = object.__new__(ReIDTestLoop)
    loop._runner, loop.fold_batch_norms, loop._copy = SimpleNamespace(model=model), True, None
    loop.precision = "float32"
    copied = loop.inference_model()
    assert copied is not model and copied is loop.inference_model()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in copied.modules())
    loop.fold_batch_norms = False
    assert loop.inference_model() is model
