"""Several data sets as one: people and cameras kept apart, labels over all, each with its own folder and cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layouts import make_llcm, make_regdb, make_sysu

from mscmreid.datasets import ConcatReIDDataset, CrossModalityBatchSampler, LoadCorruptedImage, load_image
from mscmreid.registry import DATASETS

MEMBERS = dict(
    sysu=dict(type="SYSUMM01", split="trainval"),
    regdb=dict(type="RegDB", split="train", split_id=2),
    llcm=dict(type="LLCM", split="train"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    make_sysu(root / "SYSU-MM01", train=(1, 2), val=(7, 8))
    make_regdb(root / "RegDB")
    make_llcm(root / "LLCM")
    return root


def built(home: Path, **options) -> ConcatReIDDataset:
    config = dict(
        type="ConcatReIDDataset", datasets=MEMBERS, data_root=str(home), image_size=(16, 8), check_counts=False
    )
    return DATASETS.build(config | options)


def alone(home: Path) -> list:
    folders = ("SYSU-MM01", "RegDB", "LLCM")
    return [
        DATASETS.build(dict(config, data_root=str(home / folder), image_size=(16, 8), check_counts=False))
        for config, folder in zip(MEMBERS.values(), folders, strict=True)
    ]


def test_rows_are_the_members_rows_with_people_and_cameras_apart(home):
    dataset, members = built(home), alone(home)
    rows, parts = dataset.rows(), [member.rows() for member in members]
    assert rows["path"] == [
        f"{folder}/{path}"
        for folder, part in zip(("SYSU-MM01", "RegDB", "LLCM"), parts, strict=True)
        for path in part["path"]
    ]
    ends = np.cumsum([len(member) for member in members])
    own = [slice(end - len(member), end) for end, member in zip(ends, members, strict=True)]
    for column in ("pid", "cam_id"):
        sets = [set(rows[column][part].tolist()) for part in own]
        assert not sets[0] & sets[1] | sets[1] & sets[2] | sets[0] & sets[2]
        for described, part, member in zip(dataset.metainfo["members"], own, parts, strict=True):
            first = described["first_" + column.removesuffix("_id")]
            assert (rows[column][part] - first == member[column]).all()
    assert sorted(set(rows["label"].tolist())) == list(range(dataset.metainfo["num_classes"]))
    assert dataset.metainfo["num_classes"] == sum(member.metainfo["num_classes"] for member in members)
    of_label = {}
    for label, pid in zip(rows["label"].tolist(), rows["pid"].tolist(), strict=True):
        assert of_label.setdefault(label, pid) == pid
    assert sorted(of_label) == [label for label, _ in sorted(of_label.items(), key=lambda pair: pair[1])]
    meta = dataset.metainfo
    assert (meta["dataset_name"], meta["split"]) == ("SYSU-MM01+RegDB+LLCM", "trainval+2+train")
    assert meta["data_root"] == str(home)


@pytest.mark.parametrize("cache", [True, False])
def test_items_are_the_members_images(home, cache):
    dataset = built(home, cache=cache)
    rows = dataset.rows()
    for index in range(0, len(dataset), 3):
        item = dataset[index]
        assert (item["inputs"].numpy() == load_image(str(home / rows["path"][index]), (16, 8))).all()
        sample = item["data_samples"]
        assert (sample.label, sample.pid, sample.sample_idx) == (rows["label"][index], rows["pid"][index], index)
    if cache:
        paths = {member.cache.path for member in dataset.members}
        assert len(paths) == 3 and all(str(home) in path for path in paths)


def test_batches_mix_the_sets(home):
    dataset = built(home)
    sampler = CrossModalityBatchSampler(dataset, num_ids=6, num_instances=2, seed=0)
    rows = dataset.rows()
    seen = set()
    for batch in sampler:
        labels = rows["label"][batch]
        assert (labels[:12] == labels[12:]).all() and len(set(labels.tolist())) == 6
        assert (rows["modality"][batch[:12]] == "visible").all()
        seen |= {path.split("/")[0] for path in (rows["path"][index] for index in batch)}
    assert seen == {"SYSU-MM01", "RegDB", "LLCM"}


def test_rows_can_be_chosen_and_relabelled(home):
    dataset = built(home, indices=[0, len(built(home)) - 1])
    assert len(dataset) == 2 and dataset[1]["data_samples"].img_path.startswith(str(home / "LLCM"))
    dataset.relabel(np.array([0, -1]))
    assert dataset.rows()["label"].tolist() == [0, -1] and dataset.metainfo["num_classes"] == 1


def test_a_pipeline_knows_the_members_folder(home):
    whole = built(home, pipeline=[LoadCorruptedImage("gaussian_noise", 3)], cache=False)
    part = alone(home)[1]
    part.pipeline.transforms[:] = [LoadCorruptedImage("gaussian_noise", 3)]
    first = len(alone(home)[0])
    assert (whole[first]["inputs"] == part[0]["inputs"]).all()


def test_mistakes_are_told(home):
    with pytest.raises(ValueError, match="needs at least one"):
        built(home, datasets={})
    with pytest.raises(ValueError, match=r"datasets.regdb: expected a training split.*RegDB test"):
        built(home, datasets=dict(regdb=dict(type="RegDB", split="test", split_id=1)))
    with pytest.raises(FileNotFoundError, match=r"SYSU-MM01 is missing.*LLCM.SYSU-MM01"):
        built(home / "LLCM")
    with pytest.raises(ValueError, match="found split='test'"):
        built(home, split="test")
