"""The example of docs/adding_a_method.md is what the page shows, and it runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datasets"))
from layouts import make_sysu

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "docs" / "examples" / "my_project"
CONFIG = PROJECT / "configs" / "my_method_synthetic.py"
TRANSFORMER = PROJECT / "configs" / "my_transformer_synthetic.py"


@pytest.fixture(scope="module")
def my_method():
    """The example's package; its classes are registered once."""
    sys.path.insert(0, str(PROJECT))
    import my_method

    yield my_method
    sys.path.remove(str(PROJECT))


def test_the_page_shows_the_files_as_they_are():
    blocks = re.findall(r"```python\n(.*?)\n```", (ROOT / "docs" / "adding_a_method.md").read_text(), flags=re.S)
    files = [CONFIG, *(PROJECT / "my_method" / f"{n}.py" for n in ("loss", "centers", "plugin", "backbone"))]
    files += [TRANSFORMER, PROJECT / "my_method" / "view.py"]
    assert blocks == [path.read_text().rstrip() for path in files]


def test_the_loss_equals_a_loop_in_any_order_of_rows(my_method):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(24, 5, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 4, (24,), generator=generator)
    modality = torch.randint(0, 2, (24,), generator=generator)
    labels[-1] = 9  # a person in one modality only
    distances = []
    for i in range(23):
        own, other = (
            [features[j] for j in range(24) if labels[j] == labels[i] and (modality[j] == modality[i]) == same]
            for same in (True, False)
        )
        if other:
            distances.append((sum(own) / len(own) - sum(other) / len(other)).norm())
    expected = torch.stack(distances).mean()
    loss = my_method.loss.HeteroCenterLoss()
    torch.testing.assert_close(loss(features, labels, modality), expected)
    order = torch.randperm(24, generator=generator)
    torch.testing.assert_close(loss(features[order], labels[order], modality[order]), expected)


def test_the_loss_with_state_follows_the_centres_and_pulls_to_the_other_modality(my_method):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(12, 3, generator=generator, requires_grad=True)
    label, modality = torch.arange(12) % 3, torch.arange(12) // 3 % 2
    loss = my_method.centers.SlowCenterLoss(in_channels=3, num_classes=4, momentum=0.75, begin=2)
    centers = {(m, y): torch.zeros(3) for m in range(2) for y in range(4)}
    for epoch in range(4):
        loss.set_iteration(10 * epoch, epoch)
        value = loss(features, label, modality)
        for m, y in centers:
            members = [features[i].detach() for i in range(12) if (modality[i], label[i]) == (m, y)]
            if members:
                centers[m, y] = 0.75 * centers[m, y] + 0.25 * sum(members) / len(members)
        pulls = [(features[i] - centers[1 - int(modality[i]), int(label[i])]).norm() for i in range(12)]
        torch.testing.assert_close(value, sum(pulls) / 12 * (epoch >= 2))
    value.backward()
    assert features.grad.abs().max() > 0 and loss.centers[3].abs().max() == 0 < loss.centers[2].abs().max()


def test_the_plugin_starts_as_the_identity(my_method):
    x = torch.randn(2, 32, 4, 3)
    gate = my_method.plugin.ChannelGate({"x": 32})
    torch.testing.assert_close(gate(x, {}, None)[0], x)


def test_the_view_draws_one_curve_an_image(my_method):
    view = my_method.view.RandomGamma((0.5, 2.0))
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(4, 3, 1, 1)
    draws = view.draw(torch.Generator().manual_seed(0), 4, (16, 16))
    out = view.apply(x, draws)
    for image, gamma in zip(out, draws["gamma"], strict=True):
        assert 0.5 <= gamma <= 2.0
        expected = [round(255 * (v / 255) ** gamma.item()) for v in range(256)]
        assert (image[0].flatten().int() - torch.tensor(expected)).abs().max() <= 1
    assert out.dtype == torch.uint8 and torch.equal(out[..., 0, 0], x[..., 0, 0])


@pytest.mark.parametrize("config", [CONFIG, TRANSFORMER], ids=lambda path: path.stem)
def test_the_config_trains_by_the_command_of_the_page(tmp_path, config):
    data = make_sysu(tmp_path / "data", train=(1, 2), val=(7, 8))
    options = [f"data_root={data}", "image_size=(32,16)", "model.head.num_classes=4"]
    options += ["model.backbone.base_channels=4"] if config == CONFIG else []
    options += ["train_dataloader.batch_sampler.num_ids=2", "train_dataloader.batch_sampler.num_batches=2"]
    options += ["train_cfg.max_epochs=1", "train_cfg.val_begin=1", "default_hooks.logger.interval=1"]
    command = [sys.executable, "tools/train.py", str(config.relative_to(ROOT)), "--work-dir", str(tmp_path / "run")]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(PROJECT), str(ROOT)]))
    done = subprocess.run(
        [*command, "--cfg-options", *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    logged = next((tmp_path / "run").glob("*/vis_data/scalars.json")).read_text().splitlines()
    names = ["hetero_center", "slow_center"] if config == CONFIG else ["triplet"]
    steps = [entry for entry in map(json.loads, logged) if f"train/loss_{names[0]}" in entry]
    assert len(steps) == 2 and all(f"train/loss_{name}" in step for name in names for step in steps)
    weights = torch.load(tmp_path / "run" / "epoch_1.pth", weights_only=True)["state_dict"]
    if config == CONFIG:
        assert all(step["train/loss_hetero_center"] > 0 for step in steps)
        assert any("plugins.gate.stage4.squeeze" in name for name in weights)
        assert weights["head.losses.slow_center.centers"].abs().max() > 0
    else:
        assert {"backbone.class_token", "neck.bn.weight", "head.classifier.weight"} <= set(weights)
