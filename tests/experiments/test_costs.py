"""What a model costs: the counts agree with formulas and with the model itself."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mscmreid.apis.config import load_config
from mscmreid.experiments.costs import costs_table, measure, model_info
from mscmreid.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ("mscm", "agw", "caj", "deen")


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request) -> Config:
    return load_config(ROOT / "configs" / f"{request.param}_synthetic.py")


@pytest.fixture(scope="module")
def info(system):
    return model_info(system)


def test_the_parts_add_up_to_the_model(system, info):
    model = MODELS.build(system.model)
    assert info.num_parameters == sum(info.parameters.values()) == sum(p.numel() for p in model.parameters())
    classifier = model.head.classifier.weight.numel()
    assert info.parameters["classifier"] == classifier == 150 * model.backbone.out_channels
    assert {"stems", "trunk", "neck"} <= set(info.parameters)


def test_features_are_as_long_as_those_of_the_model(system, info):
    model = MODELS.build(system.model).eval()
    feature = model.extract_features(torch.zeros(1, 3, *model.image_size), "infrared")["feat_bn"]
    assert info.feature_size == feature.shape[1]


def test_a_step_costs_several_times_a_forward_pass(system, info):
    """Forward and backward pass cost about three forward passes of each of an image's rows."""
    views = system.model.data_preprocessor.views
    rows_an_image = len(views) / 2
    assert info.batch_size == system.train_dataloader.batch_size
    assert 2.3 < info.training_flops / (rows_an_image * info.inference_flops) < 3.1
    assert info.training_memory > info.batch_size * info.inference_memory


def test_operations_of_a_convolution_follow_the_formula():
    with torch.device("meta"):
        conv, x = nn.Conv2d(3, 8, kernel_size=5, stride=2, padding=2), torch.empty(2, 3, 32, 16)
    forward = 2 * 2 * (16 * 8) * 8 * (3 * 5 * 5)  # multiply and add, images, positions, channels out, window
    assert measure(lambda: conv(x))[0] == forward
    # the image needs no gradient, so only the weight's comes on top
    assert measure(lambda: conv(x).sum().backward())[0] == 2 * forward


def test_peak_memory_is_what_lives_at_once():
    x = torch.empty(1000, device="meta")

    def dropped() -> None:
        a = x + 1
        b = a + 1
        del a
        c = b + 1
        del b, c

    def kept() -> None:
        maps = [x + 1, x + 2, x + 3]
        maps.append(maps[0].view(10, 100))  # a view has no memory of its own
        maps[1].add_(1)

    assert measure(dropped)[1] == 2 * 4000
    assert measure(kept)[1] == 3 * 4000


def test_memory_that_the_backward_pass_needs_is_counted():
    x = torch.empty(1000, device="meta", requires_grad=True)
    forward = measure(lambda: x.sin().sin().sin())[1]
    assert forward == 3 * 4000  # the first two are kept for the backward pass
    with torch.no_grad():
        assert measure(lambda: x.sin().sin().sin())[1] == 2 * 4000


def test_a_config_without_views_or_people_in_a_batch_is_refused(system):
    for key in ("model.data_preprocessor.views", "train_dataloader.sampler"):
        cfg = system.copy()
        cfg.merge_from_dict({key: [] if "views" in key else dict(_delete_=True, type="DefaultSampler")})
        with pytest.raises(ValueError, match="num_instances"):
            model_info(cfg)


def load_tool():
    spec = importlib.util.spec_from_file_location(
        "model_info_tool", ROOT / "tools" / "analysis_tools" / "model_info.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_prints_parts_table_and_json(monkeypatch, capsys, tmp_path):
    configs = [str(ROOT / "configs" / f"{name}_synthetic.py") for name in ("mscm", "deen")]
    monkeypatch.setattr(sys, "argv", ["model_info.py", *configs, "--json", str(tmp_path / "costs.json")])
    load_tool().main()
    text = capsys.readouterr().out
    costs = json.loads((tmp_path / "costs.json").read_text())
    assert list(costs) == ["mscm_synthetic", "deen_synthetic"]
    for name, content in costs.items():
        assert f"{name}: {content['num_parameters']:,} parameters, features of {content['feature_size']}" in text

    small = ["--cfg-options", "image_size=(64,32)", "--json", str(tmp_path / "small.json")]
    monkeypatch.setattr(sys, "argv", ["model_info.py", configs[1], *small])
    load_tool().main()
    smaller = json.loads((tmp_path / "small.json").read_text())["deen_synthetic"]
    assert smaller["inference_flops"] < 0.7 * costs["deen_synthetic"]["inference_flops"]

    monkeypatch.setattr(sys, "argv", ["model_info.py", *configs, "--markdown"])
    load_tool().main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert f"| {costs['deen_synthetic']['num_parameters']:,} |" in lines[3]


def test_the_table_leaves_a_part_empty_that_a_model_does_not_have(info):
    other = model_info(load_config(ROOT / "configs" / "agw_synthetic.py"))
    lines = costs_table({"one": info, "agw": other}).splitlines()
    assert lines[0].startswith("| model | parameters | stems |") and len(lines) == 4
