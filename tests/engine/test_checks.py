"""What must fit together before a run may start."""

from types import SimpleNamespace

import pytest
from torch import nn

from mscmreid.engine.runner.checks import check_num_classes, check_split, local_batch_size, local_dataloader


def test_the_global_batch_is_shared_evenly():
    assert [local_batch_size(48, world, 6, 4) for world in (1, 2, 4, 8)] == [48, 24, 12, 6]
    assert local_batch_size(10, 5, None, None) == 2


@pytest.mark.parametrize(
    "batch_size, world, p, k, message",
    [
        (24, 1, 6, 4, "2 x 6 x 4 = 48, found 24"),
        (48, 5, 6, 4, "24 images a modality cannot be split evenly over 5"),
        (48, 16, 6, 4, "cannot be split evenly"),
        (10, 3, None, None, "10 images cannot be split evenly over 3"),
    ],
)
def test_a_batch_that_does_not_fit_is_explained(batch_size, world, p, k, message):
    with pytest.raises(ValueError, match=message):
        local_batch_size(batch_size, world, p, k)


def test_the_config_is_not_changed():
    cfg = dict(batch_size=48, sampler=dict(num_ids=6, num_instances=4))
    assert local_dataloader(cfg, 2)["batch_size"] == 24
    assert cfg["batch_size"] == 48


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
