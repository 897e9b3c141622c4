"""Maps of the attention: what the parts themselves compute, by position."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "performance"))
from toy_models import SIZE, toy_model, unsettle

from mscmreid.explain.attention import attention_maps, non_local_map, rollout
from mscmreid.explain.gradcam import scale
from mscmreid.models.plugins.nonlocal_block import dot_product_attention

WANTED = {
    "mscm": {
        "mimb stem",
        "mimb stage1",
        "mimb stage2",
        "mimb self",
        "non_local stage2_block0",
        "non_local stage2_block1",
    },
    "agw": {"non_local stage2_block0"},
    "caj": {"non_local stage2_block0"},
    "dns": {"hss stage3", "hss stage4"},
    "pmt": {"class token, last block", "class token, rollout"},
    "deen": set(),
}


def ready(system: str):
    model = toy_model(system).eval()
    unsettle(model)
    for name, parameter in model.named_parameters():
        if name.endswith("in_proj_weight"):  # at first a transformer attends to all places alike
            parameter.data *= 20
    return model


def images(num: int = 3) -> torch.Tensor:
    return torch.randn(num, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("system", WANTED)
def test_every_system_shows_the_attention_it_has(system):
    model, x = ready(system), images()
    maps = attention_maps(model, x, "infrared")
    assert set(maps) >= WANTED[system] and bool(maps) == bool(WANTED[system])
    for name, found in maps.items():
        assert found.shape[0] == 3 and found.ndim == 3, name
        assert torch.isfinite(found).all() and found.min() >= 0 and found.max() == 1, name
    assert not any(m._forward_hooks for m in model.modules())


def test_a_row_of_the_non_local_map_adds_up_to_what_the_block_adds():
    theta, phi, g = (
        torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(i), dtype=torch.double) for i in range(3)
    )
    positive = theta.abs(), phi.abs(), g.abs()[:, :1].repeat(1, 4, 1)  # one direction: lengths add up
    added = dot_product_attention(*positive).norm(dim=1)  # (B, M)
    for m in range(6):
        torch.testing.assert_close(non_local_map(*positive, m).sum(1), added[:, m])
    torch.testing.assert_close(
        non_local_map(theta, phi, g, None), torch.stack([non_local_map(theta, phi, g, m) for m in range(6)]).mean(0)
    )


def test_a_position_asks_for_its_own_row():
    model, x = ready("mscm"), images(1)  # AGW's and CAJ's blocks have one channel inside: all positions ask alike
    name = "non_local stage2_block0"
    block = model.backbone.plugins["non_local"]["stage2_block0"]
    kept = []
    block.register_forward_hook(lambda module, inputs, result: kept.append(inputs[0]))
    found = attention_maps(model, x, "visible", position=(1.0, 0.0))[name]
    with torch.no_grad():
        parts = [conv(kept[0]).flatten(2) for conv in (block.theta, block.phi, block.g)]
    height, width = kept[0].shape[2:]
    expected = non_local_map(*parts, (height - 1) * width).unflatten(1, (height, width))
    torch.testing.assert_close(found, scale(expected))
    assert not torch.allclose(found, attention_maps(model, x, "visible", position=(0.0, 0.0))[name])
    with pytest.raises(ValueError, match="each from 0 to 1"):
        attention_maps(model, x, "visible", position=(1.5, 0.0))


def test_the_class_token_s_attention_is_a_softmax_of_the_block_s_own_products():
    model, x = ready("pmt"), images(2)
    found = attention_maps(model, x, "visible")["class token, last block"]
    block = model.backbone.layers[-1]
    kept = []
    block.norm1.register_forward_hook(lambda module, inputs, value: kept.append(value))
    model.extract_features(x, "visible")
    attention, tokens = block.attention, kept[0]
    heads, size = attention.num_heads, tokens.shape[2] // attention.num_heads
    with torch.no_grad():
        q, k, _ = (tokens @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=2)
    q, k = (part.unflatten(2, (heads, size)).transpose(1, 2) for part in (q, k))
    weights = (q[:, :, :1] @ k.transpose(2, 3) / size**0.5).softmax(3).mean(1)[:, 0, 1:]
    torch.testing.assert_close(found, scale(weights.unflatten(1, model.backbone.grid)), atol=1e-4, rtol=1e-4)


def test_rollout_is_the_product_and_its_rows_are_shares():
    layers = [torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(i)).softmax(2) for i in range(3)]
    total = rollout(layers)
    torch.testing.assert_close(total.sum(2), torch.ones(2, 5))
    mixed = [(weights + torch.eye(5)) / 2 for weights in layers]
    torch.testing.assert_close(total, mixed[2] @ mixed[1] @ mixed[0])


@pytest.mark.parametrize("system", ["mscm", "pmt"])
def test_other_weights_give_other_attention(system):
    model, x = ready(system), images()
    before = attention_maps(model, x, "visible")
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter.std().item() or 0.02)
    after = attention_maps(model, x, "visible")
    for name, found in before.items():
        assert (found - after[name]).abs().mean() > 0.01, name
