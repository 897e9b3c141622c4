"""Stems, trunk and plugins: shapes, positions, averages, ImageNet weights."""

from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from mscmreid.models import MultiStreamResNet
from mscmreid.models.backbones.resnet import torchvision_name
from mscmreid.structures import Rows

FOUR = dict(visible=["visible_1", "visible_2"], infrared=["infrared_1", "infrared_2"])
MSCM_PLUGINS = dict(
    non_local=dict(type="NonLocal", last=dict(stage2=2, stage3=3)), mimb=dict(type="MIMB", after="stage3")
)


def small(**keys) -> MultiStreamResNet:
    torch.manual_seed(0)
    keys = dict(depth=18, image_size=(64, 32), base_channels=8, streams=FOUR) | keys
    return MultiStreamResNet(**keys)


def rows_of(*parts: tuple[str, int]) -> Rows:
    return Rows.cat([Rows.make(torch.arange(n), m, i, torch.arange(n)) for i, (m, n) in enumerate(parts)])


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
@pytest.mark.parametrize("size", [(96, 48), (64, 32), (128, 80)])
def test_any_depth_and_any_multiple_of_16_works(depth, size):
    with torch.device("meta"):
        net = MultiStreamResNet(depth, size, FOUR, plugins=MSCM_PLUGINS)
        x, rows = net({"visible_1": torch.empty(3, 3, *size)}, rows_of(("visible", 3)))
    assert x["map"].shape == (3, net.out_channels, size[0] // 16, size[1] // 16)
    assert net.out_channels == (2048 if depth >= 50 else 512)
    assert len(rows) == 3


def test_the_trunk_has_torchvisions_parameters_and_no_others():
    net = MultiStreamResNet(18, (64, 32), dict(visible=["visible"], infrared=["infrared"]))
    theirs = {k: v.shape for k, v in resnet18().state_dict().items() if k.startswith("layer")}
    assert {torchvision_name(k): v.shape for k, v in net.trunk.state_dict().items()} == theirs


def test_inference_takes_the_mean_over_the_stems_of_a_modality():
    net = small().eval()
    x = torch.randn(2, 3, 64, 32)
    maps = [net.streams[name](x)["stem"] for name in FOUR["infrared"]]
    torch.testing.assert_close(net.streams({"infrared": x})["stem"], (maps[0] + maps[1]) / 2)
    torch.testing.assert_close(net.streams({"infrared_2": x})["stem"], maps[1])


@pytest.mark.parametrize("private", ["stem", "stage1", "stage2", "stage3"])
def test_streams_are_private_up_to_the_stage_that_the_config_names(private, tmp_path):
    theirs = resnet18()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "resnet18.pth"))
    net = small(private=private, base_channels=64, init_cfg=init_cfg)
    net.init_weights()
    order = ["stem", "stage1", "stage2", "stage3", "stage4"]
    count = order.index(private) + 1
    assert all(list(stream) == order[:count] for stream in net.streams.values()) and list(net.trunk) == order[count:]
    net.eval().double(), theirs.eval().double()
    x = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    theirs.layer4[0].conv1.stride = theirs.layer4[0].downsample[0].stride = (1, 1)
    expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(y))))
    for name in ("visible", "infrared_2"):  # equal weights in all streams
        outputs, _ = net({name: x}, rows_of(("visible", 2)))
        torch.testing.assert_close(outputs["map"], expected, rtol=1e-9, atol=1e-9)


def test_a_private_stage_learns_from_its_own_images_only():
    net = small(private="stage2", with_cp=True).train()
    outputs, _ = net({"visible_1": torch.randn(2, 3, 64, 32)}, rows_of(("visible", 2)))
    outputs["map"].square().mean().backward()
    learns = {
        name.split(".")[1] for name, p in net.named_parameters() if name.startswith("streams") and p.grad is not None
    }
    assert learns == {"visible_1"} and net.trunk["stage3"][0].conv1.weight.grad is not None


class Part(torch.nn.Module):
    """A plugin that adds an output and a loss, in training only."""

    def __init__(self, channels, after) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(channels["x"], 3)
        self.after = after

    def forward(self, x, maps, rows):
        part = self.linear(x.mean((2, 3)))
        return (x, rows, dict(feat_part=part, loss_part=part.square().mean())) if self.training else (x, rows)


def test_a_plugin_may_add_outputs_and_may_be_taken_away():
    net = small(plugins=dict(part=dict(type=Part, after="stage3"), mimb=None))
    assert list(net.plugins) == ["part"] and net.plugins["part"]["stage3"].after == "stage3"
    outputs, _ = net.train()({"visible_1": torch.randn(2, 3, 64, 32)}, rows_of(("visible", 2)))
    assert set(outputs) == {"map", "feat_part", "loss_part"} and outputs["feat_part"].shape == (2, 3)
    twice = small(plugins=dict(part=dict(type=Part, after=["stage3", "stage4"]))).train()
    with pytest.raises(ValueError, match="there is an output 'feat_part' already"):
        twice({"visible_1": torch.randn(2, 3, 64, 32)}, rows_of(("visible", 2)))


def test_rows_follow_the_order_of_the_inputs():
    net = small().eval()
    x = {"infrared_1": torch.randn(2, 3, 64, 32), "visible_2": torch.randn(3, 3, 64, 32)}
    together, _ = net(x, rows_of(("infrared", 2), ("visible", 3)))
    alone, _ = net({"visible_2": x["visible_2"]}, rows_of(("visible", 3)))
    torch.testing.assert_close(together["map"][2:], alone["map"])


def test_recomputing_maps_changes_no_gradient():
    grads = []
    for with_cp in (False, True):
        net = small(with_cp=with_cp, plugins=MSCM_PLUGINS).train()
        torch.manual_seed(1)
        net({"visible_1": torch.randn(4, 3, 64, 32)}, rows_of(("visible", 4)))[0]["map"].square().mean().backward()
        grads.append({n: p.grad for n, p in net.named_parameters() if p.grad is not None})
    assert "streams.visible_1.stem.conv1.weight" in grads[1]
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad)


def test_imagenet_weights_reach_every_stem_and_the_trunk(tmp_path):
    theirs = resnet18()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    net = MultiStreamResNet(
        18, (64, 32), FOUR, init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "resnet18.pth"))
    )
    net.init_weights()
    for stream in net.streams.values():
        stem = stream["stem"]
        assert torch.equal(stem.conv1.weight, theirs.conv1.weight)
        assert torch.equal(stem.bn1.running_var, theirs.bn1.running_var)
    assert torch.equal(net.trunk["stage4"][1].conv2.weight, theirs.layer4[1].conv2.weight)


def test_imagenet_weights_of_another_width_are_refused(tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    net = small(init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "resnet18.pth")))
    with pytest.raises(ValueError, match=r"do not fit.*depth and base_channels"):
        net.init_weights()


def test_offline_the_error_says_how_to_go_on(monkeypatch):
    def offline(self, **keys):
        raise URLError("no route")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", offline)
    net = MultiStreamResNet(18, (64, 32), FOUR, init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18"))
    with pytest.raises(FileNotFoundError, match=r"init_cfg\.checkpoint=FILE.*init_cfg=None"):
        net.init_weights()


def test_a_missing_weights_file_is_named(tmp_path):
    net = small(init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "none.pth")))
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        net.init_weights()


def test_non_local_blocks_sit_behind_the_last_blocks_of_a_stage():
    with torch.device("meta"):
        net = MultiStreamResNet(50, (64, 32), FOUR, plugins=MSCM_PLUGINS)
    points = ["stage2_block2", "stage2_block3", "stage3_block3", "stage3_block4", "stage3_block5"]
    assert list(net.plugins["non_local"]) == points and list(net.plugins["mimb"]) == ["stage3"]


def test_a_stage_with_fewer_blocks_gets_one_behind_each():
    net = small(plugins=dict(a=dict(type="NonLocal", last=dict(stage3=3))))
    assert list(net.plugins["a"]) == ["stage3_block0", "stage3_block1"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (dict(depth=26), "depth must be one of"),
        (dict(image_size=(100, 32)), "multiples of 16"),
        (dict(streams=dict(visible=["a"])), "at least one stream for each"),
        (dict(streams=dict(visible=["a"], infrared=["a"])), "stand once"),
        (dict(streams=dict(visible=["visible", "b"], infrared=["c"])), "only if it is"),
        (dict(private="stage4"), "the trunk keeps a stage"),
        (dict(private="stage2", plugins=dict(a=dict(type="NonLocal", after="stage2"))), "must be one of .'stage3"),
        (dict(plugins=[]), "must be a dict"),
        (dict(plugins=dict(a=dict(type="MIMB"))), "exactly one of 'after' and 'last'"),
        (dict(plugins=dict(a=dict(type="MIMB", after="stage5"))), "position must be one of"),
        (dict(plugins=dict(a=dict(type="MIMB", after="stage3", sources=["stage4"]))), "sources must be among"),
    ],
)
def test_mistakes_in_the_config_are_named(keys, message):
    with pytest.raises(ValueError, match=message):
        small(**keys)


def test_mistakes_in_the_inputs_are_named():
    net = small()
    x = torch.randn(2, 3, 64, 32)
    with pytest.raises(ValueError, match="keyed by stream"):
        net({"thermal": x}, rows_of(("infrared", 2)))
    with pytest.raises(ValueError, match="2 images came in, but rows describes 3"):
        net({"visible": x}, rows_of(("visible", 3)))
