"""Official checkpoints: what is read, what is left out, what is refused."""

from __future__ import annotations

import os

import pytest
import torch

from mscmreid.models import CrossModalReID
from mscmreid.models.official import convert, official_name, read_official


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.fixture
def expected():
    backbone = dict(type="MultiStreamResNet", depth=18, image_size=(64, 32), base_channels=8)
    model = CrossModalReID(backbone=backbone, neck=dict(type="BNNeck"), head=dict(type="ReIDHead", num_classes=5))
    return model.state_dict()


@pytest.fixture
def official(expected):
    state = {official_name(name, expected): value for name, value in expected.items()}
    return state | {
        "visible_module.visible.layer1.0.conv1.weight": torch.ones(1),
        "base_resnet.base.conv1.weight": torch.ones(1),
    }


def test_conversion_keeps_every_value_and_says_what_is_left_out(official, expected):
    result = convert(official, expected)
    assert result.state_dict.keys() == expected.keys()
    assert all(torch.equal(result.state_dict[n], v) for n, v in expected.items())
    assert set(result.left_out) == {"visible_module.visible.layer1.0.conv1.weight", "base_resnet.base.conv1.weight"}


def test_a_missing_entry_is_refused(official, expected):
    del official["bottleneck.weight"]
    with pytest.raises(ValueError, match=r"missing: bottleneck\.weight"):
        convert(official, expected)


def test_another_shape_is_refused(official, expected):
    official["classifier.weight"] = torch.ones(7, 64)
    with pytest.raises(ValueError, match=r"another shape: classifier\.weight \(7, 64\) instead of \(5, 64\)"):
        convert(official, expected)


def test_an_entry_nobody_knows_is_refused(official, expected):
    with pytest.raises(ValueError, match=r"unknown: transformer\.weight"):
        convert(official | {"transformer.weight": torch.ones(1)}, expected)


def test_a_file_that_would_execute_code_is_refused_and_executes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"net": Harmful()}, "bad.t")
    with pytest.raises(ValueError, match=r"expected tensors, numbers, strings .* nothing of it was executed"):
        read_official("bad.t")
    assert not (tmp_path / "harmed").exists()


def test_files_that_are_no_official_checkpoint_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.t"):
        read_official(tmp_path / "none.t")
    (tmp_path / "text.t").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.t: expected a released checkpoint, found no torch file"):
        read_official(tmp_path / "text.t")
    torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "ours.t")
    with pytest.raises(ValueError, match=r"expected the released layout.*found \['state_dict'\]"):
        read_official(tmp_path / "ours.t")


def test_weights_saved_from_a_data_parallel_model_are_read_too(tmp_path):
    torch.save({"net": {"module.classifier.weight": torch.ones(2, 3)}}, tmp_path / "parallel.t")
    assert set(read_official(tmp_path / "parallel.t")) == {"classifier.weight"}
