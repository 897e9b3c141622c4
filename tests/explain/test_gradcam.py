"""Grad-CAM of a similarity: the true gradient, the same for both images, and about the weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "performance"))
from toy_models import SIZE, toy_model, unsettle

from mscmreid.explain.gradcam import METHODS, scale, similarity_gradient, similarity_maps
from mscmreid.models.necks.pooling import GeM
from mscmreid.models.plugins.mfa import CrossStageNonLocal

SYSTEMS = ("agw", "caj", "deen", "mscm", "dns", "pmt")


def ready(system: str, seed: int = 0):
    model = toy_model(system).eval()
    unsettle(model, seed)
    for module in model.modules():
        if isinstance(module, CrossStageNonLocal):  # products of maps, which random batch norms do not keep in bounds
            torch.nn.init.zeros_(module.out_bn.weight)
    return model


def pairs(seed: int = 0, num: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(num, 3, *SIZE, generator=generator) for _ in range(2))


@pytest.mark.parametrize("system", SYSTEMS)
def test_maps_of_every_system_are_of_both_images_and_between_0_and_1(system):
    model, (first, second) = ready(system), pairs()
    wanted = [p.requires_grad for p in model.parameters()]
    maps = similarity_maps(model, first, "visible", second, "infrared")
    grid = model.backbone.grid if system == "pmt" else (SIZE[0] // 16, SIZE[1] // 16)
    for found in (maps.first, maps.second):
        assert found.shape == (3, *grid) and not found.requires_grad
        assert torch.isfinite(found).all() and found.min() >= 0 and found.max() == 1
    features = [model.extract_features(x, m)["feat_bn"] for x, m in ((first, "visible"), (second, "infrared"))]
    torch.testing.assert_close(maps.similarity, (features[0] * features[1]).sum(1), atol=1e-5, rtol=0)
    assert [p.requires_grad for p in model.parameters()] == wanted  # the model is as it was
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.backbone.modules())


@pytest.mark.parametrize("system", ["mscm", "deen", "pmt"])
@pytest.mark.parametrize("method", METHODS)
def test_swapping_the_images_swaps_the_maps(system, method):
    model, (first, second) = ready(system), pairs()
    maps = similarity_maps(model, first, "visible", second, "infrared", method=method)
    swapped = similarity_maps(model, second, "infrared", first, "visible", method=method)
    torch.testing.assert_close(maps.first, swapped.second, atol=1e-3, rtol=0)
    torch.testing.assert_close(maps.second, swapped.first, atol=1e-3, rtol=0)


@pytest.mark.parametrize("system", ["agw", "deen"])
def test_a_pair_s_maps_do_not_depend_on_the_other_pairs(system):
    model, (first, second) = ready(system), pairs()
    maps = similarity_maps(model, first, "visible", second, "visible")
    alone = similarity_maps(model, first[1:2], "visible", second[1:2], "visible")
    torch.testing.assert_close(maps.second[1:2], alone.second, atol=1e-3, rtol=0)


def similarity_behind(model, changed: np.ndarray, num_branches: int) -> float:
    """The twin: pooling, batch norm and cosine of two images' maps in float64, without torch and hooks."""
    bn = model.neck.bn
    mean, var, weight, bias = (
        t.detach().double().numpy() for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias)
    )
    if isinstance(model.neck.pool, GeM):
        pooled = ((changed**3).mean((2, 3)) + 1e-12) ** (1 / 3)
    else:
        pooled = changed.mean((2, 3))
    rows = (pooled - mean) / np.sqrt(var + bn.eps) * weight + bias
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    one, other = rows[0::2], rows[1::2]  # branch by branch, both images in each
    return float((one * other).sum() / num_branches)


@pytest.mark.parametrize(("system", "num_branches"), [("agw", 1), ("deen", 3)])
def test_the_gradient_is_that_of_finite_differences_behind_the_map(system, num_branches):
    model = ready(system)
    similarity, last, gradient = similarity_gradient(model, torch.cat(pairs(num=1)), ["visible", "infrared"])
    start, found = last.map.double().numpy(), gradient.double().numpy()
    assert similarity_behind(model, start, num_branches) == pytest.approx(float(similarity), abs=1e-5)
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction = rng.normal(size=start.shape) * start
        ahead, behind = (similarity_behind(model, start + h * direction, num_branches) for h in (1e-5, -1e-5))
        assert (found * direction).sum() == pytest.approx((ahead - behind) / 2e-5, rel=1e-3, abs=1e-5)


def test_the_gradient_through_a_transformer_s_last_block_is_that_of_finite_differences():
    model = ready("pmt")
    x = torch.cat(pairs(num=1))
    modality = ["visible", "infrared"]
    _, last, gradient = similarity_gradient(model, x, modality)
    norm = model.backbone.layers[-1].norm1
    direction = torch.zeros(2, 1 + last.map[0, 0].numel(), last.map.shape[1])
    direction[:, 1:] = torch.randn(2, *direction[0, 1:].shape, generator=torch.Generator().manual_seed(0))

    def similarity(step: float) -> float:
        handle = norm.register_forward_hook(lambda module, inputs, value: value + step * direction)
        features = model.extract_features(x, modality)["feat_bn"].double()
        handle.remove()
        return float(features[0] @ features[1])

    expected = (similarity(0.05) - similarity(-0.05)) / 0.1
    found = float((gradient.flatten(2).transpose(1, 2) * direction[:, 1:]).sum())
    assert abs(expected) > 1e-4 and found == pytest.approx(expected, rel=0.03)


def test_both_methods_agree_where_a_gradient_is_the_same_at_every_place():
    maps, gradient = torch.rand(2, 3, 4, 2), torch.randn(2, 3, 1, 1).expand(2, 3, 4, 2)
    torch.testing.assert_close(METHODS["gradcam"](maps, gradient), METHODS["hirescam"](maps, gradient))
    expected = [[sum(maps[n, c] * gradient[n, c, 0, 0] for c in range(3)) for n in range(2)]]
    torch.testing.assert_close(METHODS["gradcam"](maps, gradient), torch.stack(expected[0]))


def test_hirescam_adds_up_to_the_derivative_along_the_map():
    model = ready("agw")
    _, last, gradient = similarity_gradient(model, torch.cat(pairs(num=1)), ["visible", "infrared"])
    start = last.map.double().numpy()
    ahead, behind = (similarity_behind(model, (1 + h) * start, 1) for h in (1e-5, -1e-5))
    total = float(METHODS["hirescam"](last.map, gradient).sum())
    assert total == pytest.approx((ahead - behind) / 2e-5, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("part", ["neck", "whole"])
def test_other_weights_give_other_maps(system, part):
    """A map that stays when the weights are drawn anew would show the images, not the network (Adebayo et al. 2018)."""
    model, (first, second) = ready(system), pairs()
    maps = similarity_maps(model, first, "visible", second, "infrared")
    again = similarity_maps(model, first, "visible", second, "infrared")
    torch.testing.assert_close(maps.first, again.first)  # the control: nothing but the weights moves them
    other = ready(system, seed=1)
    if part == "whole":
        for parameter in other.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter.std().item() or 0.02)
    else:
        other.load_state_dict(
            {**other.state_dict(), **{f"backbone.{k}": v for k, v in model.backbone.state_dict().items()}}
        )
    found = similarity_maps(other, first, "visible", second, "infrared")
    changed = torch.cat([maps.first - found.first, maps.second - found.second]).abs().flatten(1).mean(1)
    assert (changed > 0.02).sum() >= 4, changed  # of six maps


def test_an_empty_map_stays_empty():
    assert scale(torch.zeros(1, 2, 2)).eq(0).all()
    assert scale(torch.tensor([[[0.0, 2.0]]])).tolist() == [[[0.0, 1.0]]]


def test_mistakes_are_told():
    model, (first, second) = ready("agw"), pairs()
    with pytest.raises(ValueError, match="as many first as second"):
        similarity_maps(model, first, "visible", second[:1], "visible")
    with pytest.raises(ValueError, match="the model's features are feat_pool, feat_bn; found 'sum'"):
        similarity_maps(model, first, "visible", second, "visible", "sum")
    with pytest.raises(ValueError, match="method must be one of"):
        similarity_maps(model, first, "visible", second, "visible", method="lime")
    assert all(p.requires_grad for p in model.backbone.parameters())
