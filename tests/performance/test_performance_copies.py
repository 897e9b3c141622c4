"""What a forward pass copies: casts and changes of layout, counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toy_models import profiled, toy_model, unsettle

from mscmreid.models.attention import BatchFirstAttention
from mscmreid.models.folding import inference_copy
from mscmreid.models.plugins.mfa import CrossStageNonLocal

CASTS, LAYOUTS = "aten::_to_copy", "aten::clone"


def copies(run, *kinds: str) -> int:
    """How many tensors a call casts or lays out anew; numbers in an expression, of no dimension, do not count."""
    return sum(event.name in kinds and bool(event.input_shapes[0]) for event in profiled(run))


def features(model: nn.Module, dtype: torch.dtype, modality: str = "visible") -> dict[str, torch.Tensor]:
    x = torch.randn(3, 3, *model.image_size, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
        return model.extract_features(x, modality)


# Casts in bfloat16: the images; into float32 for GeM; in MIMB for its norms, residual sums and back for its products;
# DEEN's attentions without a softmax and DNS's profiles, in float32 for their sums. Layouts: the images; before MIMB's
# norms, whose positions convolutions leave apart, and behind its blocks; DEEN's folded positions; DNS's profiles.
@pytest.mark.parametrize(
    ("config", "casts", "layouts"),
    [
        ("mscm_sysu.py", 36, 12),
        ("agw_sysu.py", 2, 1),
        ("caj_sysu.py", 2, 1),
        ("deen_sysu.py", 26, 10),
        ("dns_sysu.py", 6, 5),
        ("pmt_sysu.py", 10, 0),
    ],
)
def test_the_copies_of_a_forward_pass_are_known(config, casts, layouts):
    model = toy_model("", config).eval()
    full, half = inference_copy(model), inference_copy(model, dtype=torch.bfloat16)
    assert copies(lambda: features(full, torch.float32), CASTS) == 0
    assert copies(lambda: features(full, torch.float32), LAYOUTS) <= layouts
    assert copies(lambda: features(half, torch.bfloat16), CASTS) <= casts
    assert copies(lambda: features(half, torch.bfloat16), LAYOUTS) <= layouts


@pytest.mark.parametrize("config", ["mscm_sysu.py", "deen_sysu.py", "dns_sysu.py", "pmt_sysu.py"])
def test_held_weights_give_what_weights_cast_at_every_call_give(config):
    model = toy_model("", config).eval()
    unsettle(model)
    for modality in ("visible", "infrared"):
        cast = features(inference_copy(model), torch.bfloat16, modality)
        held = features(inference_copy(model, dtype=torch.bfloat16), torch.bfloat16, modality)
        for name, value in cast.items():
            torch.testing.assert_close(held[name], value, rtol=0, atol=1e-3 * float(value.abs().max()))


def test_what_computes_in_float32_keeps_its_weights():
    held = inference_copy(toy_model("deen").eval(), dtype=torch.bfloat16)
    of_attention = [m for m in held.modules() if isinstance(m, CrossStageNonLocal)]
    assert of_attention
    for module in of_attention:
        assert module.out_conv.weight.dtype is torch.float32
        assert module.theta.weight.dtype is torch.bfloat16
    assert all(p.dtype is torch.float32 for m in held.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters())


@pytest.mark.parametrize("kind", ["self", "shared queries and keys", "cross"])
def test_attention_is_that_of_torchs_module(kind):
    torch.manual_seed(0)
    module = BatchFirstAttention(18, 2)
    nn.init.normal_(module.in_proj_bias)
    o, z = torch.randn(3, 5, 18, requires_grad=True), torch.randn(3, 7, 18)
    inputs = {"self": (o, o, o), "shared queries and keys": (o, o, z[:, :5]), "cross": (o, z, z.flip(0))}[kind]
    leaves = [o, *module.parameters()]
    expected = nn.MultiheadAttention.forward(module, *inputs, need_weights=False)[0]
    gradients = torch.autograd.grad(expected.square().sum(), leaves)
    found, weights = module(*inputs)
    assert weights is None
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for own, theirs in zip(torch.autograd.grad(found.square().sum(), leaves), gradients, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)
    assert module(*inputs, need_weights=True)[1].shape == (3, 5, inputs[1].shape[1])


def test_attention_copies_no_weight_in_half_precision():
    module = BatchFirstAttention(16, 2).to(torch.bfloat16).eval()
    x = torch.randn(4, 32, 16).to(torch.bfloat16)
    with torch.inference_mode():
        assert copies(lambda: module(x, x, x), CASTS, LAYOUTS) == 0


@pytest.mark.parametrize("channels_last", [True, False])
def test_dot_product_attention_lies_as_its_input_does(channels_last):
    from mscmreid.models.plugins.nonlocal_block import dot_product_attention

    generator = torch.Generator().manual_seed(0)
    for size in ((2, 6, 4, 3), (2, 24, 4, 3)):  # fewer channels than positions, and more
        layout = torch.channels_last if channels_last else torch.contiguous_format
        maps = [torch.randn(size, generator=generator).contiguous(memory_format=layout) for _ in range(3)]
        theta, phi, g = (m.flatten(2) for m in maps)
        y = dot_product_attention(theta, phi, g)
        torch.testing.assert_close(y, torch.einsum("bcm,bcn,bdn->bdm", theta, phi, g) / 12, rtol=1e-5, atol=1e-5)
        assert y.unflatten(2, size[2:]).is_contiguous(memory_format=layout)
