"""What must fit together before a run may start."""

from types import SimpleNamespace

import pytest
from torch import nn

from mscmreid.engine.runner.checks import check_num_classes, check_split


def test_classes_must_be_those_of_the_data():
    model = nn.Module()
    model.head = nn.Module()
    model.head.num_classes = 395
    check_num_classes(model, SimpleNamespace(metainfo=dict(num_classes=395)))
    check_num_classes(nn.Module(), SimpleNamespace(metainfo={}))
    with pytest.raises(ValueError, match="the data has 206, the config says 395"):
        check_num_classes(model, SimpleNamespace(metainfo=dict(num_classes=206)))


def test_a_numbered_split_must_be_the_one_of_training():
    first, second = dict(dataset_name="RegDB", split="1"), dict(dataset_name="RegDB", split="2")
    with pytest.raises(ValueError, match="trained on split 1 of RegDB"):
        check_split(first, second, "f")
    check_split(first, first, "f")
    check_split(None, second, "f")
    check_split(dict(dataset_name="SYSU-MM01", split="trainval"), dict(dataset_name="SYSU-MM01", split="test"), "f")
    check_split(first, dict(dataset_name="LLCM", split="2"), "f")
