"""DEEN's plugins against their formulas in plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mscmreid.models.build import build_part
from mscmreid.models.plugins.dee import DEE, DilatedBranch
from mscmreid.models.plugins.mfa import MFA, channel_attention, fold_positions, position_attention, previous_map
from mscmreid.structures import Rows


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rows(n: int) -> Rows:
    return Rows.make(torch.arange(n), "infrared", 3, torch.arange(n) + 10)


def loop_channel_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    y = torch.zeros_like(g)
    batch, channels = g.shape[:2]
    for b in range(batch):
        for c in range(channels):
            for other in range(channels):
                energy = sum(
                    t * p for t, p in zip(theta[b, c].flatten(), phi[b, other].flatten(), strict=True)
                )  # over the positions
                y[b, c] += energy / channels * g[b, other]
    return y


def loop_fold(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    half = height * width // 2
    folded = torch.zeros(batch, 2 * channels, half, dtype=x.dtype)
    for b in range(batch):
        for c in range(channels):
            for position in range(height * width):
                value = x[b, c, position // width, position % width]
                folded[b, 2 * c + position // half, position % half] = value
    return folded


def loop_position_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    width = theta.shape[3]
    theta_f, phi_f, g_f = loop_fold(theta), loop_fold(phi), loop_fold(g)
    y = torch.zeros_like(theta)
    half = theta_f.shape[2]
    for b in range(len(theta)):
        for i in range(half):
            for j in range(phi_f.shape[2]):
                energy = (theta_f[b, :, i] * phi_f[b, :, j]).sum() / phi_f.shape[2]
                for row in range(theta_f.shape[1]):
                    position = row % 2 * half + i
                    y[b, row // 2, position // width, position % width] += energy * g_f[b, row, j]
    return y


@pytest.mark.parametrize("channels", [2, 30])  # fewer and more channels than positions: both orders of the product
def test_channel_attention_equals_its_loops(channels: int) -> None:
    theta, phi, g = maps(2, channels, 2, 3), maps(2, channels, 2, 3, seed=1), maps(2, channels, 4, 6, seed=2)
    torch.testing.assert_close(channel_attention(theta, phi, g), loop_channel_attention(theta, phi, g))


@pytest.mark.parametrize("channels", [1, 7])
def test_position_attention_equals_its_loops(channels: int) -> None:
    theta, phi, g = maps(2, channels, 2, 3), maps(2, channels, 4, 3, seed=1), maps(2, channels, 4, 3, seed=2)
    torch.testing.assert_close(position_attention(theta, phi, g), loop_position_attention(theta, phi, g))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_channel_is_read_as_two_half_channels(memory_format: torch.memory_format) -> None:
    x = maps(2, 3, 4, 5).contiguous(memory_format=memory_format)
    torch.testing.assert_close(fold_positions(x), loop_fold(x))


def test_an_odd_number_of_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="even number of positions, found 3 x 5"):
        fold_positions(maps(1, 2, 3, 5))
    with pytest.raises(ValueError, match="even number of positions, found 3 x 5"):
        make_mfa(low_size=(6, 10), size=(3, 5))


def make_mfa(low_size: tuple[int, int], size: tuple[int, int], after: str = "stage2") -> MFA:
    low = previous_map(after)
    block = MFA(channels={"x": 8, low: 4}, sizes={"x": size, low: low_size}, after=after)
    return block.double()


def warm(block: nn.Module) -> None:
    """Batch norms that let something through."""
    generator = torch.Generator().manual_seed(3)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = torch.rand(module.weight.shape, dtype=torch.float64, generator=generator) + 0.5
            module.running_var.fill_(4.0)


@pytest.mark.parametrize("after", ["stage1", "stage3"])
@pytest.mark.parametrize(("low_size", "size"), [((4, 6), (4, 6)), ((8, 6), (4, 3)), ((7, 4), (4, 2))])
def test_mfa_equals_its_formulas(after: str, low_size: tuple[int, int], size: tuple[int, int]) -> None:
    block = make_mfa(low_size, size, after).eval()
    warm(block)
    stride = 1 if low_size == size else 2
    x, low = maps(2, 8, *size), maps(2, 4, *low_size, seed=1)

    cnl, pnl = block.cnl, block.pnl
    y = loop_channel_attention(cnl.theta(x), cnl.phi(low), cnl.g(low))
    assert cnl.phi(low).shape[2:] == size and cnl.g(low).shape[2:] == low_size
    z = x + cnl.out_bn(cnl.out_conv(y))  # the stride of out_conv brings it to x's size
    assert cnl.out_conv.stride == (stride, stride)
    y = loop_position_attention(pnl.theta(z), pnl.phi(low), pnl.g(low))
    expected = z + pnl.out_bn(pnl.out_conv(y))

    record = rows(2)
    found, found_rows = block(x, {previous_map(after): low, "other": None}, record)
    torch.testing.assert_close(found, expected)
    assert (found - x).abs().max() > 0.01
    assert found_rows is record


def test_mfa_starts_as_the_identity_and_trains_every_parameter() -> None:
    block = make_mfa((8, 6), (4, 3))
    x, low = maps(2, 8, 4, 3), maps(2, 4, 8, 6, seed=1)
    assert torch.equal(block(x, {"stage1": low}, rows(2))[0], x)
    warm(block)
    block(x, {"stage1": low}, rows(2))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


def test_mfa_stays_finite_where_its_sums_leave_fp16() -> None:
    block = make_mfa((32, 32), (32, 32), after="stage2")
    warm(block)
    block = block.float()
    x, low = 40 * maps(2, 8, 32, 32).float().abs(), 40 * maps(2, 4, 32, 32, seed=1).float().abs()
    assert channel_attention(x[:, :4], low, low).max() > torch.finfo(torch.float16).max  # so the case is the one meant
    expected = block(x, {"stage1": low}, rows(2))[0]
    with torch.autocast("cpu", dtype=torch.float16):
        found = block(x, {"stage1": low}, rows(2))[0]
    assert found.isfinite().all()
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize(
    ("channels", "sizes", "after", "message"),
    [
        ({"x": 8, "stem": 4}, {"x": (4, 4), "stem": (4, 4)}, "stem", "expected a stage"),
        ({"x": 8, "stem": 4}, {"x": (4, 4), "stem": (4, 4)}, "stage3", "reads the map 'stage2'"),
        ({"x": 8, "stem": 4}, {"x": (2, 2), "stem": (8, 8)}, "stage1", "keeps or halves"),
    ],
)
def test_mfa_refuses_places_it_does_not_fit(channels: dict, sizes: dict, after: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MFA(channels=channels, sizes=sizes, after=after)


def loop_branch(branch: DilatedBranch, x: Tensor) -> Tensor:
    """The dilated convolutions pixel by pixel."""
    n, _, height, width = x.shape
    inner = branch.expand.in_channels
    mean = torch.zeros(n, inner, height, width, dtype=x.dtype)
    for dilation, conv in zip((1, 2, 3), branch.dilated, strict=True):
        for h in range(height):
            for w in range(width):
                for i in range(3):
                    for j in range(3):
                        hh, ww = h + (i - 1) * dilation, w + (j - 1) * dilation
                        if 0 <= hh < height and 0 <= ww < width:
                            mean[:, :, h, w] += x[:, :, hh, ww] @ conv.weight[:, :, i, j].T / 3
    hidden = mean.clamp_min(0)
    out = torch.einsum("nihw,oi->nohw", hidden, branch.expand.weight[:, :, 0, 0])
    return out + branch.expand.bias[None, :, None, None]


@torch.no_grad()
def test_a_branch_equals_its_loops() -> None:
    branch = DilatedBranch(8).double()
    x = maps(2, 8, 5, 4)
    torch.testing.assert_close(branch(x), loop_branch(branch, x))


@pytest.mark.parametrize("num_branches", [1, 2, 3])
def test_dee_gives_the_plain_rows_then_branch_by_branch(num_branches: int) -> None:
    block = DEE(channels={"x": 8}, num_branches=num_branches).double().eval()
    x = maps(2, 8, 5, 4)
    found, found_rows = block(x, {}, rows(2))
    torch.testing.assert_close(found, torch.cat([x, *(branch(x) for branch in block.branches)]))
    assert found_rows.branch.tolist() == [b for b in range(num_branches + 1) for _ in range(2)]
    assert found_rows.image.tolist() == [10, 11] * (num_branches + 1)
    assert found_rows.label.tolist() == [0, 1] * (num_branches + 1)


def test_dee_drops_out_of_all_rows_in_training_only() -> None:
    torch.manual_seed(0)
    block = DEE(channels={"x": 8}, dropout=0.5).train()
    x = torch.ones(2, 8, 5, 4)
    dropped = block(x, {}, rows(2))[0] == 0
    assert all(0.3 < part.float().mean() < 0.7 for part in dropped.split(2))
    assert not (block.eval()(x, {}, rows(2))[0] == 0).any()


def test_dee_needs_a_branch() -> None:
    with pytest.raises(ValueError, match="num_branches >= 1, found 0"):
        DEE(channels={"x": 8}, num_branches=0)


def test_both_are_built_by_name_with_what_the_trunk_gives() -> None:
    place = dict(channels={"x": 8, "stem": 4}, sizes={"x": (4, 4), "stem": (4, 4)}, after="stage1")
    x = torch.ones(2, 8, 4, 4)
    for cfg in (dict(type="MFA"), dict(type="DEE", num_branches=2, dropout=0.0)):
        found, found_rows = build_part(cfg, **place)(x, {"stem": torch.ones(2, 4, 4, 4)}, rows(2))
        assert len(found) == len(found_rows)
        assert found.shape[1:] == x.shape[1:]


def test_both_compile_without_a_graph_break() -> None:
    mfa = make_mfa((8, 6), (4, 3)).eval()
    warm(mfa)
    dee = DEE(channels={"x": 8}, dropout=0.0).double()

    def forward(x: Tensor, low: Tensor, record: Rows) -> tuple[Tensor, Tensor]:
        fused, record = mfa(x, {"stage1": low}, record)
        out, record = dee(fused, {}, record)
        return out, record.branch

    torch._dynamo.reset()
    inputs = maps(2, 8, 4, 3), maps(2, 4, 8, 6, seed=1), rows(2)
    found = torch.compile(forward, fullgraph=True, backend="aot_eager")(*inputs)
    torch.testing.assert_close(found, forward(*inputs))
