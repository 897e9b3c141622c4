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
CROP = [dict(type="PadCrop", padding=10), dict(type="HorizontalFlip", prob=0.5)]
TAIL = [dict(type="Normalize"), dict(type="RandomErase", prob=0.5)]
V1 = dict(modality="visible", stem="visible_1", ops=[dict(type="RandomGrayscale", prob=0.5), *CROP, *TAIL])
V2 = dict(modality="visible", stem="visible_2", ops=[*CROP, *TAIL, dict(type="ChannelToAll")])
I1 = dict(modality="infrared", stem="infrared_1", ops=[*CROP, *TAIL, dict(type="InfraredGray")])
I2 = dict(
    modality="infrared", stem="infrared_2", ops=[dict(type="RandomBrightness"), *CROP, *TAIL, dict(type="ChannelScale")]
)
MSCM = [V1, V2, I1, I2]
PLAIN = [dict(modality=m, stem=m, ops=[dict(type="Normalize")]) for m in MODALITIES]


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
    views = [
        dict(modality="visible", stem="visible", ops=[dict(type="Normalize")]),
        dict(modality="infrared", stem="infrared", ops=[dict(type="Normalize")]),
        dict(modality="visible", stem="visible", ops=[dict(type="HorizontalFlip", prob=1.0), dict(type="Normalize")]),
    ]
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
    views = [dict(V2, stem="a"), dict(V2, stem="b"), I1]

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
        ([dict(V1, modality="thermal")], "thermal"),
        ([dict(V1, name="x")], "name"),
        ([dict(modality="visible", ops=[])], "stem"),
        ([dict(V1, ops=CROP)], "one Normalize"),
        ([dict(V1, ops=[*TAIL, *TAIL])], "one Normalize"),
    ],
)
def test_views_that_cannot_work_are_errors(views, match):
    with pytest.raises(ValueError, match=match):
        ReIDDataPreprocessor(MEAN, STD, views)


def test_unknown_options_of_an_operation_are_errors():
    with pytest.raises(TypeError, match="probability"):
        ReIDDataPreprocessor(MEAN, STD, [dict(V1, ops=[dict(type="RandomErase", probability=0.5)])])


def test_training_without_views_and_negative_numbers_are_errors():
    with pytest.raises(ValueError, match="views"):
        ReIDDataPreprocessor(MEAN, STD)(batch(BLOCKS), training=True)
    with pytest.raises(ValueError, match="seed"):
        ReIDDataPreprocessor(MEAN, STD, seed=-1)
    with pytest.raises(ValueError, match="iteration"):
        ReIDDataPreprocessor(MEAN, STD).set_iteration(-1)


def test_images_with_views_of_neither_modality_are_not_dropped():
    with pytest.raises(ValueError, match="views are made of"):
        ReIDDataPreprocessor(MEAN, STD, [V1])(batch(BLOCKS), training=True)


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

    views = [dict(modality=m, stem=m, ops=[dict(type="TestInvert"), dict(type="Normalize")]) for m in MODALITIES]
    data = batch(BLOCKS)
    out = ReIDDataPreprocessor(MEAN, STD, views)(data, training=True)
    for x, image in zip(torch.cat(list(out["inputs"].values())), data["inputs"], strict=True):
        assert any(torch.allclose(x, plain(source), atol=1e-6) for source in (image, 255 - image))
