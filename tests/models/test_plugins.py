"""Non-local and MIMB against their formulas, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mscmreid.models.plugins.mimb import MIMB, MIMBLayer, num_attention_heads
from mscmreid.models.plugins.nonlocal_block import NonLocal, dot_product_attention


@pytest.mark.parametrize(("channels", "positions"), [(3, 10), (10, 3), (1, 8)])
def test_attention_equals_its_formula_in_both_orders(channels, positions):
    theta, phi, g = torch.randn(3, 2, channels, positions, dtype=torch.float64)
    expected = torch.zeros(2, channels, positions, dtype=torch.float64)
    for b in range(2):
        for i in range(positions):
            for j in range(positions):
                f = float(theta[b, :, i] @ phi[b, :, j]) / positions
                expected[b, :, i] += f * g[b, :, j]
    torch.testing.assert_close(dot_product_attention(theta, phi, g), expected)


@pytest.mark.parametrize(("inner", "expected"), [(None, 8), (1, 1)])
def test_non_local_starts_as_the_identity_and_every_part_of_it_learns(inner, expected):
    block = NonLocal({"x": 16}, inner_channels=inner)
    assert block.g.out_channels == expected
    x = torch.randn(2, 16, 4, 2)
    torch.testing.assert_close(block(x, {}, None)[0], x)
    torch.nn.init.ones_(block.out_bn.weight)
    block(x, {}, None)[0].pow(3).sum().backward()
    assert all(p.grad is not None for p in block.parameters())


def plain_attention(layer: torch.nn.MultiheadAttention, query, key, value):
    """Multi-head attention, head by head."""
    wq, wk, wv = layer.in_proj_weight.chunk(3)
    bq, bk, bv = layer.in_proj_bias.chunk(3)
    q, k, v = query @ wq.T + bq, key @ wk.T + bk, value @ wv.T + bv
    size = q.shape[-1] // layer.num_heads
    heads = []
    for h in range(layer.num_heads):
        part = slice(h * size, (h + 1) * size)
        weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / size**0.5, dim=-1)
        heads.append(weights @ v[..., part])
    return torch.cat(heads, dim=-1) @ layer.out_proj.weight.T + layer.out_proj.bias


@pytest.mark.parametrize("ratio", [None, 2, 4])
def test_a_mimb_layer_equals_its_formula(ratio):
    torch.manual_seed(0)
    size, channels = (6, 3), 16
    source_size = None if ratio is None else (6 * ratio, 3 * ratio)
    layer = MIMBLayer(channels, size, None if ratio is None else 8, source_size)
    x = torch.randn(2, channels, *size)
    source = None if ratio is None else torch.randn(2, 8, *source_size)

    def norm(module, t):
        mean, var = t.mean(-1, keepdim=True), t.var(-1, unbiased=False, keepdim=True)
        return (t - mean) / torch.sqrt(var + 1e-5) * module.weight + module.bias

    z = norm(layer.norm, layer.narrow(x).reshape(2, 4, 18))
    o = z
    if ratio is not None:
        kernel, padding = {2: (4, 1), 4: (6, 2)}[ratio]
        weight, bias = layer.source_narrow.weight, layer.source_narrow.bias
        assert weight.shape[2:] == (kernel, kernel)
        o = norm(layer.source_norm, F.conv2d(source, weight, bias, ratio, padding).reshape(2, 4, 18))
        z = z + 0.1 * o
    z = z + plain_attention(layer.attention, o, o, z)
    hidden = norm(layer.mlp_norm, z) @ layer.mlp_expand.weight.T + layer.mlp_expand.bias
    z = z + (hidden / (1 + torch.exp(-1.702 * hidden))) @ layer.mlp_project.weight.T + layer.mlp_project.bias
    expected = layer.broad(z.reshape(2, 4, *size))
    torch.testing.assert_close(layer(x, source), expected, rtol=1e-4, atol=1e-5)


def test_heads_are_a_divisor_of_the_embedding_at_or_below_its_ninth():
    assert num_attention_heads(288) == 32
    for embedding in range(1, 400):
        heads = num_attention_heads(embedding)
        allowed = [h for h in range(1, max(1, embedding // 9) + 1) if embedding % h == 0]
        assert heads == max(allowed)


def test_mimb_without_a_source_has_no_layer_for_one():
    sizes = {"x": (6, 3), "stage2": (12, 6)}
    block = MIMB({"x": 16, "stage2": 8}, sizes, sources=["stage2", "self"])
    names = {n.split(".")[2] for n, _ in block.named_parameters() if n.startswith("layers.1.")}
    assert "source_narrow" not in names and "source_norm" not in names
    x, rows = block(torch.randn(2, 16, 6, 3), {"stage2": torch.randn(2, 8, 12, 6)}, "the record")
    assert x.shape == (2, 16, 6, 3) and rows == "the record"


def test_a_source_that_is_no_whole_factor_larger_is_refused():
    with pytest.raises(ValueError, match="whole factor"):
        MIMBLayer(16, (6, 3), 8, (13, 6))


def test_layer_norms_compute_in_fp32_under_autocast():
    layer = MIMBLayer(16, (6, 3), None, None)
    seen = []
    layer.norm.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.randn(2, 16, 6, 3), None)
    assert seen == [torch.float32]
    assert np.isfinite(out.float().detach().numpy()).all()
