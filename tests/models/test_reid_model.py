"""Neck, head and the model around them."""

from __future__ import annotations

import pytest
import torch

from mscmreid.models import AveragePool, BNNeck, CrossModalReID, GeM, ReIDHead
from mscmreid.structures import ReIDDataSample, Rows

BACKBONE = dict(
    type="MultiStreamResNet",
    depth=18,
    image_size=(64, 32),
    base_channels=8,
    streams=dict(visible=["visible_1", "visible_2"], infrared=["infrared_1", "infrared_2"]),
)


def tiny(**keys) -> CrossModalReID:
    torch.manual_seed(0)
    head = dict(type="ReIDHead", num_classes=5, losses=dict(ce=dict(type="CrossEntropy")))
    return CrossModalReID(backbone=dict(BACKBONE), neck=dict(type="BNNeck"), head=head, **keys)


def test_gem_is_the_cube_root_of_the_mean_cube():
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    expected = torch.tensor([[sum(float(v) ** 3 for v in c.flatten()) / 20 for c in n] for n in x]) ** (1 / 3)
    torch.testing.assert_close(GeM(3)(x), expected.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(GeM(1)(x), AveragePool()(x), rtol=1e-5, atol=1e-6)
    assert torch.isfinite(GeM(3)(torch.zeros(1, 2, 3, 3))).all()


def test_features_are_fp32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        outputs = BNNeck(3)(dict(map=torch.rand(4, 3, 2, 2).bfloat16()), None)
    assert outputs["feat_pool"].dtype == outputs["feat_bn"].dtype == torch.float32


def test_the_necks_shift_is_never_trained_but_travels_with_the_checkpoint():
    neck = BNNeck(4)
    assert not neck.bn.bias.requires_grad
    assert "bn.bias" in neck.state_dict()


def test_a_metric_loss_can_start_late_and_ramp_in():
    triplet = dict(type="BatchHardTripletLoss", weight=2.0, start_iter=10, ramp_iters=4)
    head = ReIDHead(4, 5, losses=dict(triplet=triplet))
    seen = []
    for iteration in (0, 9, 10, 11, 13, 100):
        head.set_iteration(iteration)
        seen.append(head.weight("triplet"))
    assert seen == [0, 0, 0.5, 1.0, 2.0, 2.0]


def test_the_classifier_reads_feat_bn_and_the_metric_loss_feat_pool():
    head = ReIDHead(4, 5, losses=dict(ce=dict(type="CrossEntropy"), triplet=dict(type="BatchHardTripletLoss")))
    pool, bn = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    rows = Rows.make(torch.tensor([0, 0, 1, 1, 2, 2]), "visible", 0, torch.arange(6))
    losses = head.loss(dict(feat_pool=pool, feat_bn=bn), rows)
    losses["loss_ce"].backward()
    assert pool.grad is None and bn.grad is not None
    losses["loss_triplet"].backward()
    assert pool.grad is not None
    assert 0 <= losses["acc"] <= 100


def test_features_of_mixed_modalities_come_back_in_order():
    model = tiny().eval()
    x = torch.randn(5, 3, 64, 32)
    modality = ["infrared", "visible", "infrared", "visible", "visible"]
    together = model.extract_features(x, modality)
    for i, name in enumerate(modality):
        alone = model.extract_features(x[i : i + 1], name)
        for feature in ("feat_pool", "feat_bn"):
            torch.testing.assert_close(together[feature][i : i + 1], alone[feature], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(together["feat_bn"].norm(dim=1), torch.ones(5))


def test_prediction_writes_features_and_mirrored_features_into_the_samples():
    model = tiny(inference=dict(flip="add")).eval()
    x = torch.randn(3, 3, 64, 32)
    samples = [ReIDDataSample() for _ in range(3)]
    image = torch.tensor([2, 0, 1])  # the visible image stands third
    rows = Rows.cat(
        [
            Rows.make(torch.full((1,), -1), "visible", -1, image[:1]),
            Rows.make(torch.full((2,), -1), "infrared", -1, image[1:]),
        ]
    )
    with torch.no_grad():
        model({"visible": x[:1], "infrared": x[1:]}, rows, samples, mode="predict")
    plain = model.extract_features(x, ["visible", "infrared", "infrared"])
    mirrored = model.extract_features(x.flip(3), ["visible", "infrared", "infrared"])
    for i, position in enumerate(image):
        torch.testing.assert_close(samples[position].feat_bn, plain["feat_bn"][i], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(samples[position].feat_pool_flip, mirrored["feat_pool"][i], rtol=1e-4, atol=1e-6)


def test_extracting_features_says_what_is_wrong():
    model = tiny()
    x = torch.randn(2, 3, 64, 32)
    with pytest.raises(RuntimeError, match=r"model\.eval\(\)"):
        model.extract_features(x, "visible")
    model.eval()
    with pytest.raises(ValueError, match=r"must be \(N, 3, 64, 32\), found \(2, 3, 32, 64\)"):
        model.extract_features(x.transpose(2, 3), "visible")
    with pytest.raises(ValueError, match="modality must be one of"):
        model.extract_features(x, "thermal")
    with pytest.raises(ValueError, match="2 images need as many modalities"):
        model.extract_features(x, ["visible"])
    with pytest.raises(ValueError, match="at least one image"):
        model.extract_features(x[:0], "visible")


def test_every_trainable_parameter_gets_a_gradient():
    model = tiny()
    names = ["visible_1", "visible_2", "infrared_1", "infrared_2"]
    label = torch.tensor([0, 1, 2, 3])
    rows = Rows.cat([Rows.make(label, n[:-2], i, torch.arange(4)) for i, n in enumerate(names)])
    losses = model({n: torch.randn(4, 3, 64, 32) for n in names}, rows, mode="loss")
    losses["loss_ce"].backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
