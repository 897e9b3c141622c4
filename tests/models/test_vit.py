"""The transformer against plain loops, and the ImageNet weights it takes: of torchvision's names and of timm's."""

from __future__ import annotations

import math
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer as TorchvisionTransformer

from mscmreid.models import VisionTransformer
from mscmreid.models.backbones.pretrained import load_imagenet_state
from mscmreid.models.backbones.vit import resize_positions
from mscmreid.structures import Rows

SMALL = dict(patch=8, stride=6, out_channels=16, depth=2, num_heads=2)
ADDRESS = "https://example.org/weights/tiny-0badcafe.pth"


def small(init_cfg: dict | str | None = None, **options) -> VisionTransformer:
    if isinstance(init_cfg, str):
        init_cfg = dict(type="Pretrained", checkpoint=init_cfg)
    return VisionTransformer(**{"image_size": (32, 20), **SMALL, "init_cfg": init_cfg, **options})


def tokens(net: VisionTransformer, images: Tensor) -> Tensor:
    number = torch.arange(len(images))
    return net.eval()({"visible": images}, Rows.make(number, "visible", 0, number))[0]["tokens"].detach()


def of_torchvision(seed: int = 0, side: int = 24) -> TorchvisionTransformer:
    """torchvision's own class at toy size, with nothing left at its start values."""
    torch.manual_seed(seed)
    net = TorchvisionTransformer(side, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=64, num_classes=5)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


def in_timms_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a file of timm's holds for the same network."""
    renamed = dict(
        cls_token=state["class_token"],
        pos_embed=state["encoder.pos_embedding"],
        **{f"patch_embed.proj.{p}": state[f"conv_proj.{p}"] for p in ("weight", "bias")},
        **{f"norm.{p}": state[f"encoder.ln.{p}"] for p in ("weight", "bias")},
        **{f"head.{p}": state[f"heads.head.{p}"] for p in ("weight", "bias")},
    )
    for i in range(2):
        theirs, block = f"encoder.layers.encoder_layer_{i}", f"blocks.{i}"
        for p in ("weight", "bias"):
            renamed[f"{block}.norm1.{p}"] = state[f"{theirs}.ln_1.{p}"]
            renamed[f"{block}.attn.qkv.{p}"] = state[f"{theirs}.self_attention.in_proj_{p}"]
            renamed[f"{block}.attn.proj.{p}"] = state[f"{theirs}.self_attention.out_proj.{p}"]
            renamed[f"{block}.norm2.{p}"] = state[f"{theirs}.ln_2.{p}"]
            renamed[f"{block}.mlp.fc1.{p}"] = state[f"{theirs}.mlp.0.{p}"]
            renamed[f"{block}.mlp.fc2.{p}"] = state[f"{theirs}.mlp.3.{p}"]
    return renamed


def loop_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = x - x.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * norm.weight + norm.bias


def loop_attention(x: list[Tensor], attention: nn.MultiheadAttention, heads: int) -> list[Tensor]:
    width = len(x[0]) // heads
    projected = [attention.in_proj_weight @ token + attention.in_proj_bias for token in x]
    out = []
    for i in range(len(x)):
        parts = []
        for h in range(heads):
            own = slice(h * width, (h + 1) * width)
            q = projected[i].split(len(x[0]))[0][own]
            keys = [p.split(len(x[0]))[1][own] for p in projected]
            values = [p.split(len(x[0]))[2][own] for p in projected]
            weights = [((q * k).sum() / math.sqrt(width)).exp() for k in keys]
            parts.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
        out.append(attention.out_proj.weight @ torch.cat(parts) + attention.out_proj.bias)
    return out


def loop_tokens(net: VisionTransformer, image: Tensor) -> Tensor:
    """The tokens of one image (3, H, W): a patch, a token and a head at a time."""
    height, width = image.shape[1:]
    patches = [net.class_token[0, 0]]
    for top in range(0, height - SMALL["patch"] + 1, SMALL["stride"]):
        for left in range(0, width - SMALL["patch"] + 1, SMALL["stride"]):
            pixels = image[:, top : top + SMALL["patch"], left : left + SMALL["patch"]]
            patches.append((net.patches.weight * pixels).sum((1, 2, 3)) + net.patches.bias)
    x = [token + position for token, position in zip(patches, net.position[0], strict=True)]
    for block in net.layers:
        attended = loop_attention([loop_norm(token, block.norm1) for token in x], block.attention, SMALL["num_heads"])
        x = [token + change for token, change in zip(x, attended, strict=True)]
        for i, token in enumerate(x):
            hidden = block.mlp[0].weight @ loop_norm(token, block.norm2) + block.mlp[0].bias
            hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
            x[i] = token + block.mlp[3].weight @ hidden + block.mlp[3].bias
    return torch.stack([loop_norm(token, net.norm) for token in x])


def test_the_transformer_equals_its_loops() -> None:
    torch.manual_seed(0)
    net = small().double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    images = torch.randn(2, 3, 32, 20, dtype=torch.float64)
    found = tokens(net, images)
    assert found.shape == (2, 1 + 5 * 3, 16)
    with torch.no_grad():
        torch.testing.assert_close(found, torch.stack([loop_tokens(net, image) for image in images]))


def test_pixels_in_no_patch_are_not_read_and_all_others_are() -> None:
    net = small(image_size=(33, 23)).double()  # patches end at row 32 and column 20
    images = torch.randn(1, 3, 33, 23, dtype=torch.float64, requires_grad=True)
    number = torch.zeros(1, dtype=torch.int64)
    net.eval()({"visible": images}, Rows.make(number, "visible", 0, number))[0]["tokens"].square().sum().backward()
    read = images.grad[0].abs().amax(0) > 0
    assert read[:32, :20].all() and not read[32:].any() and not read[:, 20:].any()


@pytest.mark.parametrize("grid", [(7, 3), (3, 2), (4, 4)])
def test_positions_are_resized_as_a_loop_over_half_pixel_centres_does(grid: tuple[int, int]) -> None:
    side, position = 4, torch.randn(1, 17, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    of_grid, expected = position[0, 1:].view(side, side, 3), [position[0, 0]]

    def neighbours(i: int, length: int) -> tuple[int, int, float]:
        at = max((i + 0.5) * side / length - 0.5, 0)
        low = int(at)
        return low, min(low + 1, side - 1), at - low

    for i in range(grid[0]):
        for j in range(grid[1]):
            (top, bottom, down), (left, right, across) = neighbours(i, grid[0]), neighbours(j, grid[1])
            upper = (1 - across) * of_grid[top, left] + across * of_grid[top, right]
            lower = (1 - across) * of_grid[bottom, left] + across * of_grid[bottom, right]
            expected.append((1 - down) * upper + down * lower)
    torch.testing.assert_close(resize_positions(position, grid), torch.stack(expected)[None])


def test_positions_of_no_square_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected position embeddings \(1, 1 \+ s \* s, C\), found \(1, 18, 3\)"):
        resize_positions(torch.zeros(1, 18, 3), (2, 2))


@pytest.mark.parametrize("names", ["torchvision", "old torchvision", "timm", "timm, under model"])
def test_with_the_weights_of_torchvisions_transformer_it_computes_what_that_does(tmp_path, names: str) -> None:
    reference = of_torchvision()
    state = reference.state_dict()
    if names == "old torchvision":
        state = {n.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v for n, v in state.items()}
    if names.startswith("timm"):
        state = in_timms_names(state) | {"pre_logits.fc.weight": torch.ones(3)}
    torch.save(dict(model=state) if names.endswith("model") else state, tmp_path / "tiny.pth")
    net = small(str(tmp_path / "tiny.pth"), image_size=(24, 24), stride=8)
    net.init_weights()
    for module in reference.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5  # as the released PMT has it
    reference.heads = nn.Identity()
    images = torch.randn(3, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(tokens(net, images)[:, 0], reference(images), rtol=1e-4, atol=1e-5)


def test_the_positions_of_a_file_are_resized_to_the_grid_and_all_else_is_copied(tmp_path) -> None:
    state = of_torchvision().state_dict()
    torch.save(state, tmp_path / "tiny.pth")
    net = small(str(tmp_path / "tiny.pth"))
    net.init_weights()
    assert torch.equal(net.position, resize_positions(state["encoder.pos_embedding"], (5, 3)))
    of_block = "encoder.layers.encoder_layer_1.self_attention.in_proj_weight"
    assert torch.equal(net.layers[1].attention.in_proj_weight, state[of_block])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("blocks.1.mlp.fc2.bias"), r"missing \['blocks.1.mlp.fc2.bias'\]"),
        (lambda state: state.update({"dist_token": torch.zeros(1, 1, 16)}), r"unknown \['dist_token'\]"),
        (lambda state: state.update({"norm.bias": torch.zeros(8)}), r"another shape \['norm.bias \(8,\) for \(16,\)'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_named(tmp_path, change, message: str) -> None:
    state = in_timms_names(of_torchvision().state_dict())
    change(state)
    torch.save(state, tmp_path / "tiny.pth")
    with pytest.raises(ValueError, match=message):
        small(str(tmp_path / "tiny.pth")).init_weights()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's hub cache in a folder of its own, without a network."""

    def unreachable(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_a_published_file_comes_from_its_address_or_the_cache(hub) -> None:
    with pytest.raises(FileNotFoundError, match=r"tiny-0badcafe\.pth.*no network.*init_cfg\.checkpoint=FILE"):
        load_imagenet_state(ADDRESS, "cls_token")
    state = in_timms_names(of_torchvision().state_dict())
    torch.save(state, hub / "tiny-0badcafe.pth")
    assert torch.equal(load_imagenet_state(ADDRESS, "cls_token")["norm.bias"], state["norm.bias"])
    net = small(ADDRESS)
    net.init_weights()
    assert net.initial_weights == ADDRESS


def test_a_file_that_is_not_what_its_name_says_is_refused(hub, monkeypatch) -> None:
    def other(url, path, hash_prefix, progress):
        raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "12345678")')

    monkeypatch.setattr(torch.hub, "download_url_to_file", other)
    with pytest.raises(ValueError, match=r"not the file that it should be.*0badcafe.*delete it"):
        load_imagenet_state(ADDRESS, "cls_token")
    (hub / "tiny-0badcafe.pth").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="not the file that it should be"):
        load_imagenet_state(ADDRESS, "cls_token")
