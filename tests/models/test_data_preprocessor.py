"""The data preprocessor: grouping, views, rows, and draws that depend on (seed, iteration, view) alone."""

import random

import numpy as np
import pytest
import torch
from torchvision import transforms

from mscmreid.models import data_preprocessor as module
from mscmreid.models.data_preprocessor import ReIDDataPreprocessor
from mscmreid.models.views import view_generator
from mscmreid.structures import MODALITIES, ReIDDataSample

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIZE = (48, 32)
CROP = dict(crop=dict(type="PadCrop", padding=10), flip=dict(type="HorizontalFlip", prob=0.5))
TAIL = dict(normalize=dict(type="Normalize"), erase=dict(type="RandomErase", prob=0.5))
V1 = dict(modality="visible", ops=dict(gray=dict(type="RandomGrayscale", prob=0.5), **CROP, **TAIL))
V2 = dict(modality="visible", ops=dict(**CROP, **TAIL, channel=dict(type="ChannelToAll")))
I1 = dict(modality="infrared", ops=dict(**CROP, **TAIL, gray=dict(type="InfraredGray")))
I2 = dict(
    modality="infrared",
    ops=dict(brightness=dict(type="RandomBrightness"), **CROP, **TAIL, scale=dict(type="ChannelScale")),
)
MSCM = dict(visible_1=V1, visible_2=V2, infrared_1=I1, infrared_2=I2)
NORMALIZE = dict(normalize=dict(type="Normalize"))
PLAIN = {m: dict(modality=m, ops=NORMALIZE) for m in MODALITIES}


def batch(modalities, seed=0, first=0):
    """Images whose pixels, path and label say which they are."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (len(modalities), 3, *SIZE), generator=generator, dtype=torch.uint8)
    samples = [
        ReIDDataSample(metainfo=dict(img_path=f"{first + i}.png", modality=m, label=first + i, pid=0, cam_id=1))
        for i, m in enumerate(modalities)
    ]
    return dict(inputs=images, data_samples=samples)


def rows_of(data, index):
    return dict(inputs=data["inputs"][index], data_samples=[data["data_samples"][i] for i in index])


def equal(a, b):
    """Whether two outputs have the same inputs, in the same order, and the same rows."""
    return (
        list(a["inputs"]) == list(b["inputs"])
        and all(torch.equal(a["inputs"][k], b["inputs"][k]) for k in a["inputs"])
        and all(
            torch.equal(getattr(a["rows"], c), getattr(b["rows"], c)) for c in ("label", "modality", "stream", "image")
        )
    )


def plain(image):
    return transforms.Normalize(MEAN, STD)(image.float() / 255)


BLOCKS = ["visible"] * 6 + ["infrared"] * 6


def test_each_view_goes_to_its_stem_in_the_order_of_the_config():
    out = ReIDDataPreprocessor(MEAN, STD, MSCM)(batch(BLOCKS), training=True)
    assert list(out["inputs"]) == ["visible_1", "visible_2", "infrared_1", "infrared_2"]
    for x in out["inputs"].values():
        assert x.shape == (6, 3, *SIZE) and x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last)
    rows = out["rows"]
    assert rows.stream.tolist() == [s for s in range(4) for _ in range(6)]
    assert rows.modality.tolist() == [0] * 12 + [1] * 12
    assert rows.label.tolist() == [*range(6), *range(6), *range(6, 12), *range(6, 12)]
    assert rows.image.tolist() == rows.label.tolist()
    assert rows.branch.tolist() == [0] * 24


def test_views_of_one_stem_are_concatenated_and_rows_follow():
    mirror = dict(mirror=dict(type="HorizontalFlip", prob=1.0), **NORMALIZE)
    views = dict(PLAIN, again=dict(modality="visible", stem="visible", ops=mirror))
    data = batch(BLOCKS)
    out = ReIDDataPreprocessor(MEAN, STD, views)(data, training=True)
    assert [(k, len(v)) for k, v in out["inputs"].items()] == [("visible", 12), ("infrared", 6)]
    assert out["rows"].stream.tolist() == [0] * 6 + [2] * 6 + [1] * 6
    assert out["rows"].modality.tolist() == [0] * 12 + [1] * 6
    images = torch.cat(list(out["inputs"].values()))
    for x, label, stream in zip(images, out["rows"].label.tolist(), out["rows"].stream.tolist(), strict=True):
        expected = plain(data["inputs"][label])
        assert torch.allclose(x, expected.flip(2) if stream == 2 else expected, atol=1e-6)


def test_order_of_modalities_in_the_batch_does_not_matter():
    data = batch(BLOCKS)
    mixed = rows_of(data, [6, 0, 7, 8, 1, 2, 9, 3, 4, 10, 11, 5])
    outs = [ReIDDataPreprocessor(MEAN, STD, MSCM)(d, training=True) for d in (data, mixed)]
    assert equal(*outs)


def test_images_and_labels_stay_together_in_any_order():
    data = batch(BLOCKS)
    index = list(range(12))
    random.Random(1).shuffle(index)
    out = ReIDDataPreprocessor(MEAN, STD, PLAIN)(rows_of(data, index), training=True)
    images = torch.cat(list(out["inputs"].values()))
    for x, label, modality in zip(images, out["rows"].label.tolist(), out["rows"].modality.tolist(), strict=True):
        assert torch.allclose(x, plain(data["inputs"][label]), atol=1e-6)
        assert data["data_samples"][label].modality == MODALITIES[modality]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_list_of_images_and_memory_format_do_not_matter(memory_format):
    data = batch(BLOCKS)
    reference = ReIDDataPreprocessor(MEAN, STD, MSCM)(data, training=True)
    other = dict(data, inputs=data["inputs"].contiguous(memory_format=memory_format))
    assert equal(reference, ReIDDataPreprocessor(MEAN, STD, MSCM)(other, training=True))
    other = dict(data, inputs=list(other["inputs"]))
    assert equal(reference, ReIDDataPreprocessor(MEAN, STD, MSCM)(other, training=True))


def test_input_images_are_left_alone():
    data = batch(BLOCKS)
    before = data["inputs"].clone()
    data["inputs"] = data["inputs"].contiguous(memory_format=torch.channels_last)
    ReIDDataPreprocessor(MEAN, STD, MSCM)(data, training=True)
    assert torch.equal(data["inputs"], before)


def test_same_seed_and_iteration_give_the_same_views_whatever_came_before():
    data = batch(BLOCKS)
    a, b = (ReIDDataPreprocessor(MEAN, STD, MSCM, seed=5) for _ in range(2))
    for _ in range(3):
        a(data, training=True)
    torch.manual_seed(7), np.random.seed(7)
    a.set_iteration(40), b.set_iteration(40)
    assert equal(a(data, training=True), b(data, training=True))
    assert equal(a(data, training=True), b(data, training=True))  # until told otherwise, it is iteration 40


def test_seed_iteration_and_view_each_change_the_draws():
    data = batch(BLOCKS)
    views = dict(a=V2, b=V2, infrared=I1)

    def run(seed, iteration):
        preprocessor = ReIDDataPreprocessor(MEAN, STD, views, seed=seed)
        preprocessor.set_iteration(iteration)
        return preprocessor(data, training=True)["inputs"]

    base = run(0, 0)
    for other in (run(1, 0), run(0, 1)):
        assert all(not torch.equal(base[k], other[k]) for k in base)
    assert not torch.equal(base["a"], base["b"])
    streams = {torch.rand(1, generator=view_generator(*key)).item() for key in np.ndindex(4, 50, 4)}
    assert len(streams) == 800


def test_without_a_hook_every_batch_is_another_iteration():
    data = batch(BLOCKS)
    counting, told = (ReIDDataPreprocessor(MEAN, STD, MSCM) for _ in range(2))
    for iteration in range(3):
        told.set_iteration(iteration)
        assert equal(counting(data, training=True), told(data, training=True))


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_together_see_what_one_process_sees(world_size, monkeypatch):
    data = batch(BLOCKS)
    whole = ReIDDataPreprocessor(MEAN, STD, MSCM)(data, training=True)
    each = 6 // world_size
    parts = []
    for rank in range(world_size):
        monkeypatch.setattr(module, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(module, "get_world_size", lambda: world_size)
        own = [*range(rank * each, (rank + 1) * each), *range(6 + rank * each, 6 + (rank + 1) * each)]
        parts.append(ReIDDataPreprocessor(MEAN, STD, MSCM)(rows_of(data, own), training=True))
    for stem, x in whole["inputs"].items():
        assert torch.equal(torch.cat([part["inputs"][stem] for part in parts]), x)
    key = whole["rows"].stream * 100 + whole["rows"].image
    keys = torch.cat([part["rows"].stream * 100 + part["rows"].image for part in parts])
    labels = torch.cat([part["rows"].label for part in parts])
    order = keys.argsort()
    assert torch.equal(keys[order], key) and torch.equal(labels[order], whole["rows"].label)


def test_inference_normalises_by_modality_and_remembers_the_place():
    data = batch(["infrared", "visible", "infrared"])
    for sample in data["data_samples"]:
        sample.pop("label")
    preprocessor = ReIDDataPreprocessor(MEAN, STD, MSCM)
    out = preprocessor(data)
    assert list(out["inputs"]) == ["visible", "infrared"]
    assert out["rows"].image.tolist() == [1, 0, 2]
    assert out["rows"].label.tolist() == [-1] * 3 and out["rows"].modality.tolist() == [0, 1, 1]
    for x, i in zip(torch.cat(list(out["inputs"].values())), out["rows"].image.tolist(), strict=True):
        assert torch.allclose(x, plain(data["inputs"][i]), atol=1e-6)
    assert out["data_samples"] == data["data_samples"]
    assert list(preprocessor(batch(["infrared"] * 2))["inputs"]) == ["infrared"]


def test_inference_needs_no_views_and_uses_no_iteration():
    preprocessor = ReIDDataPreprocessor(MEAN, STD, MSCM)
    first = ReIDDataPreprocessor(MEAN, STD, MSCM)(batch(BLOCKS), training=True)
    preprocessor(batch(BLOCKS))
    assert equal(preprocessor(batch(BLOCKS), training=True), first)
    assert len(ReIDDataPreprocessor(MEAN, STD)(batch(BLOCKS))["rows"]) == 12


def test_nothing_is_in_the_state_dict():
    assert ReIDDataPreprocessor(MEAN, STD, MSCM).state_dict() == {}


def without_label(data):
    data["data_samples"][3].pop("label")
    return data


def other_modality(data):
    data["data_samples"][3].set_metainfo(dict(modality="thermal"))
    return data


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (lambda: without_label(batch(BLOCKS)), r"label.*3\.png"),
        (lambda: other_modality(batch(BLOCKS)), "thermal"),
        (lambda: batch(["visible"] * 4), r"training batch has \['visible'\]"),
        (lambda: dict(inputs=batch(BLOCKS)["inputs"]), "data_samples"),
        (lambda: dict(batch(BLOCKS), data_samples=batch(BLOCKS)["data_samples"][:5]), "found 5 for 12"),
        (lambda: dict(batch(BLOCKS), inputs=torch.rand(12, 3, *SIZE)), "uint8"),
        (lambda: dict(batch(BLOCKS), inputs=torch.zeros(12, 1, *SIZE, dtype=torch.uint8)), "uint8"),
        (lambda: dict(batch(BLOCKS), inputs=[torch.zeros(3, i + 8, 8) for i in range(12)]), "one size"),
        (lambda: dict(inputs=torch.zeros(0, 3, *SIZE, dtype=torch.uint8), data_samples=[]), "data sample"),
    ],
)
def test_a_batch_that_cannot_be_used_is_an_error(data, match):
    with pytest.raises(ValueError, match=match):
        ReIDDataPreprocessor(MEAN, STD, MSCM)(data(), training=True)


@pytest.mark.parametrize(
    ("views", "match"),
    [
        (dict(a=dict(V1, modality="thermal")), "'a': modality must be .* 'thermal'"),
        (dict(a=dict(V1, name="x")), "name"),
        (dict(a=dict(stem="visible", ops={})), "modality"),
        (dict(a=dict(V1, ops=CROP)), "'a' must have exactly one Normalize"),
        (dict(a=dict(V1, ops=dict(**TAIL, again=dict(type="Normalize")))), "one Normalize"),
        (dict(a=dict(V1, modality="mixed")), "mixed view 'a' needs an operation that reads the partner"),
        (dict(a=dict(V1, ops=dict(TAIL, erase=dict(prob=1)))), "'erase' has no type"),
        (dict(a=dict(V1, ops=dict(TAIL, gray=dict(type="RandomGrayscale", before="crop")))), "before 'crop'"),
    ],
)
def test_views_that_cannot_work_are_errors(views, match):
    with pytest.raises(ValueError, match=match):
        ReIDDataPreprocessor(MEAN, STD, views)


def test_unknown_options_of_an_operation_are_errors():
    with pytest.raises(TypeError, match="probability"):
        ReIDDataPreprocessor(MEAN, STD, dict(a=dict(V1, ops=dict(erase=dict(type="RandomErase", probability=0.5)))))


def test_training_without_views_and_negative_numbers_are_errors():
    with pytest.raises(ValueError, match="views"):
        ReIDDataPreprocessor(MEAN, STD)(batch(BLOCKS), training=True)
    with pytest.raises(ValueError, match="seed"):
        ReIDDataPreprocessor(MEAN, STD, seed=-1)
    with pytest.raises(ValueError, match="iteration"):
        ReIDDataPreprocessor(MEAN, STD).set_iteration(-1)


def test_images_with_views_of_neither_modality_are_not_dropped():
    with pytest.raises(ValueError, match="views are made of"):
        ReIDDataPreprocessor(MEAN, STD, dict(a=V1))(batch(BLOCKS), training=True)


def test_whole_batch_way_gives_the_same_views(monkeypatch):
    """The way taken on a GPU, run on the CPU."""
    data = batch(BLOCKS)
    by_row = ReIDDataPreprocessor(MEAN, STD, MSCM)(data, training=True)
    for name in ("geometry", "intensity", "erase", "channels", "rowwise"):
        monkeypatch.setattr(f"mscmreid.models.views.{name}.goes_by_row", lambda x: False, raising=False)
    at_once = ReIDDataPreprocessor(MEAN, STD, MSCM)(data, training=True)
    for stem, x in by_row["inputs"].items():
        assert torch.allclose(at_once["inputs"][stem], x, atol=1e-6)
        assert at_once["inputs"][stem].is_contiguous(memory_format=torch.channels_last)


def test_an_operation_of_ones_own_works_by_name():
    from mscmreid.registry import TRANSFORMS

    @TRANSFORMS.register_module(name="TestInvert", force=True)
    class Invert:
        def draw(self, generator, n, size):
            return dict(mask=torch.rand(n, generator=generator) < 0.5)

        def apply(self, x, draws):
            return torch.where(draws["mask"].view(-1, 1, 1, 1), 255 - x, x)

    views = {m: dict(modality=m, ops=dict(invert=dict(type="TestInvert"), **NORMALIZE)) for m in MODALITIES}
    data = batch(BLOCKS)
    out = ReIDDataPreprocessor(MEAN, STD, views)(data, training=True)
    for x, image in zip(torch.cat(list(out["inputs"].values())), data["inputs"], strict=True):
        assert any(torch.allclose(x, plain(source), atol=1e-6) for source in (image, 255 - image))


def test_common_operations_are_those_of_every_view_and_a_view_says_its_differences():
    views = dict(
        visible_1=dict(modality="visible", ops=dict(gray=dict(type="RandomGrayscale", prob=0.5, before="crop"))),
        visible_2=dict(modality="visible", ops=dict(channel=dict(type="ChannelToAll"))),
        infrared_1=dict(modality="infrared", ops=dict(gray=dict(type="InfraredGray"))),
        infrared_2=dict(
            modality="infrared",
            ops=dict(brightness=dict(type="RandomBrightness", before="crop"), scale=dict(type="ChannelScale")),
        ),
    )
    short = ReIDDataPreprocessor(MEAN, STD, views, ops={**CROP, **TAIL})
    assert equal(
        short(batch(BLOCKS), training=True), ReIDDataPreprocessor(MEAN, STD, MSCM)(batch(BLOCKS), training=True)
    )
    changed = dict(modality="visible", ops=dict(erase=None, crop=dict(padding=3), flip=dict(type="HorizontalFlip")))
    view = ReIDDataPreprocessor(MEAN, STD, dict(a=changed), ops={**CROP, **TAIL}).views["a"]
    assert list(view.steps) == ["crop", "flip", "normalize"] and view.steps["crop"].op.padding == 3


def test_none_takes_a_view_away_and_the_others_close_ranks():
    out = ReIDDataPreprocessor(MEAN, STD, dict(MSCM, visible_1=None))(batch(BLOCKS), training=True)
    assert list(out["inputs"]) == ["visible_2", "infrared_1", "infrared_2"]
    assert out["rows"].stream.unique().tolist() == [0, 1, 2]


def test_an_operation_may_be_for_some_epochs_only():
    """PMT: the visible images are gray at first."""
    gray = dict(type="RandomGrayscale", prob=1.0, until_epoch=2)
    views = dict(PLAIN, visible=dict(modality="visible", ops=dict(gray=gray, **NORMALIZE)))
    late = dict(PLAIN, visible=dict(modality="visible", ops=dict(gray=dict(gray, from_epoch=1), **NORMALIZE)))
    data = batch(BLOCKS)
    plain_one = ReIDDataPreprocessor([0.0] * 3, [1.0] * 3, PLAIN)(data, training=True)["inputs"]["visible"]
    for recipe, expected in ((views, [True, True, False]), (late, [False, True, False])):
        preprocessor = ReIDDataPreprocessor([0.0] * 3, [1.0] * 3, recipe)
        for epoch, is_gray in enumerate(expected):
            preprocessor.set_iteration(10 * epoch, epoch)
            x = preprocessor(data, training=True)["inputs"]["visible"]
            assert bool((x[:, 0] == x[:, 1]).all()) == is_gray != torch.equal(x, plain_one)


def test_an_operation_is_told_iteration_and_epoch():
    from mscmreid.registry import TRANSFORMS

    told = []

    @TRANSFORMS.register_module(name="TestTold", force=True)
    class Told:
        def set_iteration(self, iteration, epoch):
            told.append((iteration, epoch))

    preprocessor = ReIDDataPreprocessor(
        MEAN, STD, dict(a=dict(modality="visible", ops=dict(told=dict(type="TestTold"), **NORMALIZE)))
    )
    preprocessor.set_iteration(7, 3)
    assert told == [(7, 3)]


@pytest.fixture
def mean_of_both():
    """An operation that mixes an image with one of the same person in the other modality."""
    from mscmreid.registry import TRANSFORMS

    @TRANSFORMS.register_module(name="TestMeanOfBoth", force=True)
    class MeanOfBoth:
        makes_new = True
        reads_partner = True

        def draw(self, generator, n, size):
            return dict(share=torch.rand(n, generator=generator))

        def apply(self, x, draws, partner):
            share = draws["share"].view(-1, 1, 1, 1)
            return (share * x + (1 - share) * partner).to(torch.uint8)

    return dict(mix=dict(type="TestMeanOfBoth"), **NORMALIZE)


def people(modalities, labels):
    data = batch(modalities)
    for sample, label in zip(data["data_samples"], labels, strict=True):
        sample.set_metainfo(dict(label=label))
    return data


def test_a_view_mixes_images_of_one_person_of_both_modalities(mean_of_both):
    views = dict(PLAIN, mixed=dict(modality="mixed", ops=mean_of_both))
    data = people(BLOCKS, [4, 4, 7, 7, 5, 4, 7, 4, 5, 4, 7, 7])
    partner = [7, 9, 6, 10, 8, 7]  # the n-th of a person's gets the n-th of the other modality, round and round
    preprocessor = ReIDDataPreprocessor(MEAN, STD, views, seed=3)
    preprocessor.set_iteration(9)
    out = preprocessor(data, training=True)
    share = torch.rand(6, generator=view_generator(3, 9, 2))
    for i, x in enumerate(out["inputs"]["mixed"]):
        mixed = (share[i] * data["inputs"][i] + (1 - share[i]) * data["inputs"][partner[i]]).to(torch.uint8)
        assert torch.allclose(x, plain(mixed), atol=1e-6)
    rows = out["rows"]
    assert rows.modality.tolist() == [0] * 6 + [1] * 6 + [2] * 6 and rows.label[12:].tolist() == [4, 4, 7, 7, 5, 4]
    assert rows.image[12:].tolist() == rows.image[:6].tolist()


def test_mixed_views_are_the_same_on_several_ranks(mean_of_both, monkeypatch):
    views = dict(PLAIN, mixed=dict(modality="mixed", ops=mean_of_both))
    data = people(BLOCKS, [0, 0, 1, 1, 2, 2] * 2)
    whole = ReIDDataPreprocessor(MEAN, STD, views)(data, training=True)["inputs"]["mixed"]
    parts = []
    for rank in range(3):
        monkeypatch.setattr(module, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(module, "get_world_size", lambda: 3)
        own = [2 * rank, 2 * rank + 1, 6 + 2 * rank, 7 + 2 * rank]
        parts.append(ReIDDataPreprocessor(MEAN, STD, views)(rows_of(data, own), training=True)["inputs"]["mixed"])
    assert torch.equal(torch.cat(parts), whole)


def test_a_person_without_a_partner_is_an_error(mean_of_both):
    views = dict(visible=dict(modality="visible", ops=mean_of_both), infrared=PLAIN["infrared"])
    with pytest.raises(ValueError, match=r"no image of '2\.png'"):
        ReIDDataPreprocessor(MEAN, STD, views)(people(BLOCKS, [0, 1, 2, 0, 1, 0, 0, 1, 1, 1, 1, 1]), training=True)


def with_index(data, first=100):
    for i, sample in enumerate(data["data_samples"]):
        sample.set_metainfo(dict(sample_idx=first + i))
    return data


def test_rows_know_their_row_in_the_data_set_and_carry_what_the_config_asks_for():
    data = with_index(batch(BLOCKS))
    for i, sample in enumerate(data["data_samples"]):
        sample.set_metainfo(dict(box=np.array([i, 2.5])))
    out = ReIDDataPreprocessor(MEAN, STD, MSCM, extra_fields=["cam_id", "box"])(data, training=True)
    rows = out["rows"]
    assert rows.index.tolist() == [100 + image for image in rows.image.tolist()]
    assert rows.extra["cam_id"].tolist() == [1] * 24
    assert rows.extra["box"].tolist() == [[float(image), 2.5] for image in rows.image.tolist()]
    assert ReIDDataPreprocessor(MEAN, STD, MSCM)(batch(BLOCKS), training=True)["rows"].index.tolist() == [-1] * 24
    assert ReIDDataPreprocessor(MEAN, STD)(data)["rows"].index.tolist() == list(range(100, 112))
    with pytest.raises(ValueError, match="extra_fields names 'track'"):
        ReIDDataPreprocessor(MEAN, STD, MSCM, extra_fields=["track"])(data, training=True)


def test_new_labels_are_looked_up_by_the_row_in_the_data_set():
    preprocessor = ReIDDataPreprocessor(MEAN, STD, PLAIN)
    labels = torch.arange(20).flip(0) - 4
    preprocessor.set_labels(labels)
    out = preprocessor(with_index(batch(BLOCKS), first=3), training=True)
    assert out["rows"].label.tolist() == labels[out["rows"].index].tolist() == list(range(12, 0, -1))
    with pytest.raises(ValueError, match=r"'11\.png' was left out"):
        preprocessor(with_index(batch(BLOCKS), first=5), training=True)
    with pytest.raises(ValueError, match=r"labels of 20 images, found rows"):
        preprocessor(with_index(batch(BLOCKS), first=15), training=True)
    preprocessor.set_labels(None)
    assert preprocessor(batch(BLOCKS), training=True)["rows"].label.tolist() == list(range(12))


def test_mean_and_std_may_differ_by_modality_and_by_view():
    half = dict(mean=[0.5] * 3, std=[0.5] * 3)
    by_modality = {key: dict(visible=value, infrared=half[key]) for key, value in (("mean", MEAN), ("std", STD))}
    views = dict(
        PLAIN, odd=dict(modality="visible", ops=dict(normalize=dict(type="Normalize", mean=[0] * 3, std=[1] * 3)))
    )
    preprocessor, data = ReIDDataPreprocessor(**by_modality, views=views), batch(BLOCKS)
    for out in (preprocessor(data, training=True), preprocessor(data)):
        assert torch.allclose(out["inputs"]["visible"][0], plain(data["inputs"][0]), atol=1e-6)
        assert torch.allclose(out["inputs"]["infrared"][0], data["inputs"][6] / 127.5 - 1, atol=1e-6)
    odd = preprocessor(data, training=True)["inputs"]["odd"]
    assert torch.allclose(odd[0], data["inputs"][0] / 255, atol=1e-6)
