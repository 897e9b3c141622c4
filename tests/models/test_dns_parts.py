"""DNS's losses, modules and view operations alone, against numbers of its released code."""

from __future__ import annotations

import dns_recipes
import numpy as np
import pytest
import torch
from torch import nn

from mscmreid.apis.config import load_config
from mscmreid.models.losses.circle import circle_loss
from mscmreid.models.losses.distances import squared_self_distances
from mscmreid.models.losses.mmd import domain_alignment, mmd
from mscmreid.models.losses.teacher import OtherModalityTeacher
from mscmreid.models.necks.pooling import generalized_mean
from mscmreid.models.plugins import CSS, HSS
from mscmreid.models.plugins.hss import shifted_profiles
from mscmreid.models.views import ChannelToAll, HueShift, Normalize, RandomErase
from mscmreid.models.views.channels import copy_channel
from mscmreid.models.views.hue import shift_hue
from mscmreid.registry import MODELS

TOLERANCE = 1e-4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CASES = dns_recipes.LOSS_CASES


@pytest.fixture(scope="module")
def numbers(golden) -> dict:
    """Values and arrays of the loss cases and modules."""
    return {**golden("dns_losses.json")["values"], **golden("dns_losses.npz")}


def leaf(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).requires_grad_()


def modality_of(features: torch.Tensor) -> torch.Tensor:
    return torch.arange(2).repeat_interleave(len(features) // 2)


def norms(x: torch.Tensor) -> np.ndarray:
    return x.grad.flatten(1).norm(dim=1).numpy()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("name", "margin", "scale"), [("circle", 0.45, 64.0), ("circle_m25_g32", 0.25, 32.0)])
def test_circle_equals_the_released_one(case, name, margin, scale, numbers, deviation):
    array, labels = dns_recipes.pair_case(*CASES[case])
    x, labels = leaf(array), torch.from_numpy(labels)
    value = circle_loss(x, labels, margin, scale)
    value.backward()
    assert deviation(f"dns, {name}: value", value.item(), numbers[f"{name}_{case}"]) < TOLERANCE
    assert deviation(f"dns, {name}: row gradients", norms(x), numbers[f"{name}_{case}_rows"]) < TOLERANCE
    divided = circle_loss(x, labels, margin, scale, divide_by_rows=True)
    torch.testing.assert_close(divided, value / len(x))


@pytest.mark.parametrize("case", CASES)
def test_mmd_equals_the_released_one(case, numbers, deviation):
    x = leaf(dns_recipes.pair_case(*CASES[case])[0])
    modality = modality_of(x)
    value = mmd(squared_self_distances(x), modality == 0, modality == 1)
    value.backward()
    assert deviation("dns, mmd: value", value.item(), numbers[f"mmd_{case}"]) < TOLERANCE
    assert deviation("dns, mmd: row gradients", norms(x), numbers[f"mmd_{case}_rows"]) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_domain_alignment_equals_the_released_one(case, numbers, deviation):
    z, shifted = (leaf(a) for a in dns_recipes.two_spaces(*CASES[case])[:2])
    value = domain_alignment(z, shifted, modality_of(z))
    value.backward()
    assert deviation("dns, da: value", value.item(), numbers[f"da_{case}"]) < TOLERANCE
    assert deviation("dns, da: row gradients", norms(z), numbers[f"da_{case}_rows"]) < TOLERANCE
    assert deviation("dns, da: row gradients", norms(shifted), numbers[f"da_{case}_rows_shifted"]) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_teacher_equals_the_released_one(case, numbers, deviation):
    z, shifted, labels = dns_recipes.two_spaces(*CASES[case])
    P, _, dim, _, seed = CASES[case]
    loss = OtherModalityTeacher(dim, P + 2, features=("feat_bn", "feat_shifted"))
    names = ("visible.weight", "infrared.weight", "teacher_visible", "teacher_infrared")
    weights = dns_recipes.classifiers(P + 2, dim, seed + 300)
    loss.load_state_dict({name: torch.from_numpy(w) for name, w in zip(names, weights, strict=True)})
    z, shifted = leaf(z), leaf(shifted)
    read = (z, shifted, torch.from_numpy(labels), modality_of(z))
    value = loss(*read)
    value.backward()
    assert deviation("dns, dd: value", value.item(), numbers[f"dd_{case}"]) < TOLERANCE
    assert deviation("dns, dd: row gradients", norms(z), numbers[f"dd_{case}_rows"]) < TOLERANCE
    assert deviation("dns, dd: row gradients", norms(shifted), numbers[f"dd_{case}_rows_shifted"]) < TOLERANCE
    for modality in ("visible", "infrared"):
        gradient = norms(getattr(loss, modality).weight)
        assert deviation("dns, dd: classifier gradients", gradient, numbers[f"dd_{case}_grad_{modality}"]) < TOLERANCE
        teacher = getattr(loss, f"teacher_{modality}").numpy()
        assert deviation("dns, dd: teachers", teacher, numbers[f"dd_{case}_teacher_{modality}"]) < TOLERANCE
    second = loss(*read).item()
    assert deviation("dns, dd: second call", second, numbers[f"dd_{case}_second_call"]) < TOLERANCE
    teachers = loss.teacher_visible.clone(), loss.teacher_infrared.clone()
    loss.eval()(*read)  # evaluation teaches nobody
    assert torch.equal(loss.teacher_visible, teachers[0]) and torch.equal(loss.teacher_infrared, teachers[1])


OUR_HSS = {
    "channel_attention.0": "reduce",
    "channel_attention.1": "bn",
    "conv_h": "attend_height",
    "conv_w": "attend_width",
}


def load(module: nn.Module, keys: dict, names: dict | None = None) -> nn.Module:
    state = {k: torch.from_numpy(np.asarray(v)) for k, v in dns_recipes.module_weights(keys).items()}
    for theirs, ours in (names or {}).items():
        state = {k.replace(theirs, ours): v for k, v in state.items()}
    module.load_state_dict(state)
    return module


def test_space_shift_equals_the_released_one(numbers, golden, deviation):
    module = load(HSS({"x": 64}), golden("dns_losses.json")["module_keys"]["hss"], OUR_HSS)
    array = dns_recipes.feature_map(5, 3, 64, 6, 3)
    shift = torch.from_numpy(numbers["shift"])
    for found, dim in zip(shifted_profiles(torch.from_numpy(array)), (3, 2), strict=True):
        expected = (torch.from_numpy(array) + shift).mean(dim)
        assert deviation("dns, hss: means of the shifted map", found.numpy(), expected.numpy()) < TOLERANCE
    found = module.eval()(torch.from_numpy(array), {}, None)[0].detach()
    assert deviation("dns, hss: evaluation", found.numpy(), numbers["hss_eval"]) < TOLERANCE
    module.train()
    raw = leaf(dns_recipes.draw(5, 3, 64, 6, 3, scale=1.2))  # the map before its ReLU
    assert np.array_equal(raw.detach().relu().numpy(), array)
    out, _ = module(raw.relu(), {}, None)
    out.square().sum().backward()
    assert deviation("dns, hss: training", out.detach().numpy(), numbers["hss_train"]) < TOLERANCE
    assert deviation("dns, hss: row gradients", norms(raw), numbers["hss_train_rows"]) < TOLERANCE
    assert deviation("dns, hss: running mean", module.bn.running_mean.numpy(), numbers["hss_running_mean"]) < TOLERANCE


def test_common_space_shift_equals_the_released_one(numbers, golden, deviation):
    module = load(CSS({"x": 32}, dropout=0.0), golden("dns_losses.json")["module_keys"]["css"])
    g = leaf(dns_recipes.draw(6, 5, 32, scale=2))
    out = module.shift(g)
    out.square().sum().backward()
    assert deviation("dns, css", out.detach().numpy(), numbers["css"]) < TOLERANCE
    assert deviation("dns, css: row gradients", norms(g), numbers["css_rows"]) < TOLERANCE


def test_second_features_come_from_the_averaged_map_in_training_only():
    module, x = CSS({"x": 8}, dropout=0.0), torch.rand(3, 8, 4, 2)
    same, _, outputs = module(x, {}, None)
    assert same is x
    torch.testing.assert_close(outputs, {"feat_shifted": module.shift(x.mean((2, 3)))})
    assert len(module.eval()(x, {}, None)) == 2


def test_gem_equals_the_released_one(numbers, deviation):
    found = generalized_mean(torch.from_numpy(dns_recipes.feature_map(7, 3, 10, 6, 3)), 3.0)
    assert deviation("dns, gem", found.numpy(), numbers["gem"]) < TOLERANCE


def test_views_equal_the_released_ones(golden, deviation):
    expected = golden("dns_views.npz")
    image = torch.from_numpy(dns_recipes.pixels01(91, 6, 5))[None]
    pixels = (image * 255).round().to(torch.uint8)
    normalised = Normalize(MEAN, STD).apply(pixels, {})
    assert np.abs(normalised[0].numpy() - expected["normalised"]).max() < 1e-6
    for choice, name in enumerate(("channel0", "channel1", "channel2", "gray")):
        found = copy_channel(normalised.clone(), torch.tensor([choice]))[0].numpy()
        assert np.abs(found - expected[f"exchange_{name}"]).max() < 1e-6
    turn = torch.from_numpy(expected["hue_factors"]).float()
    batch = image.expand(len(turn), -1, -1, -1)
    assert np.abs(shift_hue(batch, turn).numpy() - expected["hue"]).max() < 1e-5
    by_op = HueShift(MEAN, STD).apply(normalised.repeat(len(turn), 1, 1, 1), dict(turn=turn))
    back = by_op * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert np.abs(back.numpy() - expected["hue"]).max() < 1e-5
    assert torch.equal(shift_hue(batch, turn)[..., -1], batch[..., -1])  # the gray column stays


@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("erase_in_01", RandomErase(1.0, (0.02, 0.33), (0.3, 3.3), log_aspect=True, attempts=10)),
        ("erase_normalised", RandomErase(1.0)),
    ],
)
def test_erased_rectangles_are_distributed_as_the_released_ones(name, op, golden):
    expected = golden("dns_views.json")
    drawn = op.draw(torch.Generator().manual_seed(0), 40000, (288, 144))
    height, width = drawn["height"].double(), drawn["width"].double()
    found = (height > 0).double().mean().item()
    height, width = height[height > 0], width[width > 0]
    statistics = dict(
        found_a_rectangle=found,
        mean_area_share=(height * width / (288 * 144)).mean().item(),
        mean_log_aspect=(height / width).log().mean().item(),
    )
    for statistic, value in statistics.items():
        assert value == pytest.approx(expected[name][statistic], rel=0.03, abs=0.02), statistic
    for side, values in (("height", height), ("width", width)):
        quantiles = torch.quantile(values, torch.tensor(expected["quantiles"], dtype=torch.float64))
        assert quantiles.tolist() == pytest.approx(expected[name][f"{side}_quantiles"], rel=0.03), side


VIEWS = {
    "sysu": ("early late channel", "hue early late"),
    "llcm": ("late channel", "hue late"),
    "regdb": ("early channel", "early"),
}


@pytest.mark.parametrize("data", VIEWS)
def test_the_views_of_a_config_are_the_published_ones_in_their_order(data, repo_root):
    model = load_config(repo_root / "configs" / f"dns_{data}.py").model
    views = MODELS.build(model.data_preprocessor).views
    for view, own in zip(views.values(), VIEWS[data], strict=True):
        assert list(view.steps) == ["crop", "flip", "normalize", *own.split()]
    exchange = views["visible"].steps["channel"].op
    assert exchange.probs == pytest.approx([1 / 6] * 4 if data == "sysu" else [2 / 9] * 3 + [0])


def test_the_early_erase_fills_with_the_released_values(golden, repo_root):
    ops = load_config(repo_root / "configs" / "dns_sysu.py").model.data_preprocessor.views.visible.ops
    assert ops.early.fill == pytest.approx(golden("dns_views.json")["erase_in_01_fill_after_normalising"], abs=1e-6)


@pytest.mark.parametrize(("gray", "shares"), [(False, (2 / 9,) * 3 + (0.0,)), (True, (1 / 6,) * 4)])
def test_channel_exchange_happens_in_two_thirds_of_the_images(gray, shares):
    choice = ChannelToAll(prob=2 / 3, gray=gray).draw(torch.Generator().manual_seed(0), 20000, (4, 4))["choice"]
    counts = torch.bincount(choice, minlength=5).double() / len(choice)
    assert counts.tolist() == pytest.approx([*shares, 1 / 3], abs=0.015)
