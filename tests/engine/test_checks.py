"""What must fit together before a run may start."""

from types import SimpleNamespace

import pytest
from torch import nn
from toy_runs import make_sysu

from mscmreid.datasets import SYSUMM01, ConcatReIDDataset
from mscmreid.engine.runner.checks import check_features, check_num_classes, check_people, check_split
from mscmreid.models.inference import InferenceFeatures


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


def test_people_who_were_trained_on_are_not_tested_on():
    trained = dict(dataset_name="Own", people={"Own": [1, 2, 3]})
    tested = dict(dataset_name="Own", people={"Own": [3, 4, 2]})
    with pytest.raises(
        ValueError, match=r"2 of the 3 people of Own .* f is trained on \(pids 2, 3\).*allow_shared_people"
    ):
        check_people(trained, tested, "f")
    check_people(trained, dict(tested, allow_shared_people=True), "f")
    for other in (dict(people={"Own": [4]}), dict(people={"Another": [1]}), dict(people={"Own": []}), {}, None):
        check_people(trained, other, "f")
        check_people(other, tested, "f") if other != dict(people={"Own": [4]}) else None


def test_data_sets_say_whose_images_they_have(tmp_path):
    make_sysu(tmp_path / "SYSU-MM01", train=(1, 2), val=(7,), test=(3, 2))
    options = dict(data_root=str(tmp_path / "SYSU-MM01"), image_size=(16, 8), cache=False, check_counts=False)
    train, test = SYSUMM01(split="trainval", **options), SYSUMM01(split="test", **options)
    assert train.metainfo["people"] == {"SYSU-MM01": [1, 2, 7]}
    both = ConcatReIDDataset(
        dict(
            a=dict(type="mscmreid.SYSUMM01", split="train", name="A", **options),
            b=dict(type="mscmreid.SYSUMM01", split="trainval", **options),
        )
    )
    assert both.metainfo["people"] == {"A": [1, 2], "SYSU-MM01": [1, 2, 7]}
    for trained in (train, both):
        with pytest.raises(ValueError, match=r"pids 2\)"):
            check_people(trained.metainfo, test.metainfo, "f")
    check_people(train.metainfo, SYSUMM01(split="test", allow_shared_people=True, **options).metainfo, "f")


def test_what_is_ranked_by_is_among_what_the_model_gives():
    model = SimpleNamespace(inference=InferenceFeatures(("feat_pool", "feat_bn")))

    def ranked_by(*features: str) -> None:
        check_features(model, SimpleNamespace(metrics=[SimpleNamespace(features=features)]), "test_evaluator")

    ranked_by("feat_bn", "feat_pool", "sum", "blend=0.1")
    with pytest.raises(
        ValueError, match=r"test_evaluator\.features: the model gives .*'feat_bnx'; did you mean 'feat_bn"
    ):
        ranked_by("feat_bn", "feat_bnx")
    with pytest.raises(ValueError, match="0 < A < 1"):
        ranked_by("blend=2")
    anything = SimpleNamespace(metrics=[SimpleNamespace(features=["x"]), SimpleNamespace()])
    check_features(SimpleNamespace(), anything, "val_evaluator")  # of a model that does not say what it gives
