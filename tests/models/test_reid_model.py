"""Neck, head and the model around them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mscmreid.engine.optimizers.optim_wrapper_constructor import parameter_groups
from mscmreid.models import AveragePool, BNNeck, CrossModalReID, GeM, ReIDHead
from mscmreid.models.inference import InferenceFeatures
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


class Bank(nn.Module):
    """A loss with state that looks up rows by a column of the record's, and hears of the epoch."""

    reads = ("feat_pool", "label", "data_samples")
    gathers = False
    heard: tuple = ()

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.ones(num_classes, in_channels))
        self.register_buffer("bank", torch.zeros(num_classes, in_channels))

    def set_iteration(self, iteration: int, epoch: int) -> None:
        self.heard = (iteration, epoch)

    def forward(self, features, label, data_samples):
        self.bank[label] = features.detach()
        return dict(pull=(features - self.proxies[label]).square().mean(), count=self.proxies.sum() * len(data_samples))


def test_a_loss_may_have_state_read_samples_and_say_several_things():
    torch.manual_seed(0)
    head = dict(type="ReIDHead", num_classes=5, losses=dict(bank=dict(type=Bank, weight=0.5)))
    model = CrossModalReID(backbone=dict(BACKBONE), neck=dict(type="BNNeck"), head=head)
    model.set_iteration(7, 2)
    assert model.head.losses["bank"].heard == (7, 2)
    rows = Rows.make(torch.arange(4), "visible", 0, torch.arange(4))
    losses = model({"visible_1": torch.randn(4, 3, 64, 32)}, rows, [ReIDDataSample()] * 4, mode="loss")
    assert set(losses) == {"loss_bank_pull", "loss_bank_count", "acc"}
    assert losses["loss_bank_count"].item() == pytest.approx(0.5 * 5 * 64 * 4)
    assert {"head.losses.bank.proxies", "head.losses.bank.bank"} <= set(model.state_dict())
    assert model.state_dict()["head.losses.bank.bank"][:4].abs().sum() > 0
    groups = parameter_groups(model, 0.1, 0.0, dict(custom_keys={"head.losses.bank": dict(lr_mult=3.0)}))
    of_bank = [g for g in groups if any(p is model.head.losses["bank"].proxies for p in g["params"])]
    assert len(of_bank) == 1 and of_bank[0]["lr"] == pytest.approx(0.3) and len(of_bank[0]["params"]) == 1


def test_a_config_may_take_a_loss_away_and_let_one_read_another_feature():
    triplet = dict(type="BatchHardTripletLoss")
    head = ReIDHead(4, 5, losses=dict(ce=None, a=triplet, b=dict(triplet, reads=dict(feat_pool="feat_bn"))))
    pool, bn = torch.randn(6, 4), torch.randn(6, 4)
    rows = Rows.make(torch.tensor([0, 0, 1, 1, 2, 2]), "visible", 0, torch.arange(6))
    losses = head.loss(dict(feat_pool=pool, feat_bn=bn, loss_plugin=pool.sum()), rows)
    assert set(losses) == {"loss_plugin", "loss_a", "loss_b", "acc"}
    assert losses["loss_a"] == head.losses["a"](pool, rows.label) != losses["loss_b"]
    assert losses["loss_b"] == head.losses["b"](bn, rows.label)
    with pytest.raises(ValueError, match=r"reads \('feat_pool', 'label'\), it cannot read something else for"):
        ReIDHead(4, 5, losses=dict(a=dict(triplet, reads=dict(feature="feat_bn"))))
    missing = ReIDHead(4, None, losses=dict(a=dict(triplet, reads=dict(feat_pool="feat_parts"))))
    with pytest.raises(ValueError, match=r"a loss reads \['feat_parts'\]; there are the outputs"):
        missing.loss(dict(feat_pool=pool), rows)
    with pytest.raises(ValueError, match="different names"):
        missing.loss(dict(feat_pool=pool, label=pool), rows)


@pytest.mark.parametrize("branches", ["concat", "mean", "sum"])
def test_branches_of_an_image_become_one_unit_feature(branches):
    generator = torch.Generator().manual_seed(0)
    outputs = dict(feat_bn=torch.randn(6, 4, generator=generator))  # images 1, 0, 2; then their second branches
    rows = Rows.make(torch.full((3,), -1), "visible", -1, torch.tensor([1, 0, 2])).expand_branches(2)
    found = InferenceFeatures(("feat_bn",), branches).of_images(outputs, rows, 3)["feat_bn"]
    for row, image in enumerate((1, 0, 2)):
        first, second = outputs["feat_bn"][row], outputs["feat_bn"][row + 3]
        u, v = first / first.norm(), second / second.norm()
        expected = dict(concat=torch.cat([u, v]), mean=first + second, sum=u + v)[branches]
        torch.testing.assert_close(found[image], expected / expected.norm())


def test_an_unknown_way_to_combine_features_is_refused():
    for keys in (dict(branches="max"), dict(flip=True), dict(features=())):
        with pytest.raises(ValueError, match=r"inference\."):
            InferenceFeatures(**keys)
    with pytest.raises(ValueError, match=r"names \['feat_cls'\], but the model's outputs are"):
        InferenceFeatures(("feat_cls",)).of_images(dict(feat_bn=torch.ones(1, 2)), None, 1)


def test_every_trainable_parameter_gets_a_gradient():
    model = tiny()
    names = ["visible_1", "visible_2", "infrared_1", "infrared_2"]
    label = torch.tensor([0, 1, 2, 3])
    rows = Rows.cat([Rows.make(label, n[:-2], i, torch.arange(4)) for i, n in enumerate(names)])
    losses = model({n: torch.randn(4, 3, 64, 32) for n in names}, rows, mode="loss")
    losses["loss_ce"].backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
