"""Pixels of one image, items, batches, and all of it in MMEngine's data loader."""

import multiprocessing

import layouts
import numpy as np
import pytest
import torch
from PIL import Image

from mscmreid.datasets import SYSUMM01, LoadImage, load_image, reid_collate
from mscmreid.engine.runner.runner import ReIDRunner
from mscmreid.intake import UnreadableImageError
from mscmreid.registry import FUNCTIONS

SIZE = (16, 8)
QUIET = dict(check_counts=False)


@pytest.fixture
def sysu(tmp_path):
    return str(layouts.make_sysu(tmp_path / "SYSU-MM01"))


def test_pixels_are_pillows_lanczos(tmp_path):
    path = tmp_path / "a.jpg"
    layouts.write_image(path, seed=1, size=(33, 20))
    with Image.open(path) as image:
        expected_HWC = np.asarray(image.convert("RGB").resize((8, 16), Image.LANCZOS))
    found = load_image(str(path), SIZE)
    assert found.dtype == np.uint8 and found.transpose(1, 2, 0).flags.c_contiguous and found.flags.writeable
    np.testing.assert_array_equal(found, expected_HWC.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (10, 20), (200, 200, 200)).convert(mode).save(path)
    assert load_image(str(path), SIZE).shape == (3, *SIZE)


def test_sixteen_bits_are_refused_with_advice(tmp_path):
    path = tmp_path / "thermal.png"
    Image.fromarray(np.full((20, 10), 30000, dtype=np.uint16)).save(path)
    with pytest.raises(UnreadableImageError, match=rf"{path}.* more than 8 bits a channel; convert it"):
        load_image(str(path), SIZE)


@pytest.mark.parametrize("content", [None, b"", b"no image", "truncated"])
def test_what_cannot_be_decoded_is_named(tmp_path, content):
    path = tmp_path / "a.jpg"
    if content == "truncated":
        layouts.write_image(path, seed=1, size=(40, 30))
        content = path.read_bytes()[:-100]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f"image '{path}' cannot be decoded"):
        load_image(str(path), SIZE)


@pytest.mark.parametrize("size", [(0, 8), (16,), 16, (16.5, 8), (1, 2, 3)])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match="two positive integers"):
        LoadImage(size)


def test_items_are_the_same_with_and_without_a_cache(sysu):
    cached = SYSUMM01(sysu, split="train", image_size=SIZE, **QUIET)
    direct = SYSUMM01(sysu, split="train", image_size=SIZE, check_counts=False, cache=False)
    assert cached.cache is not None and direct.cache is None
    for index in range(len(direct)):
        torch.testing.assert_close(cached[index]["inputs"], direct[index]["inputs"], rtol=0, atol=0)


def test_splits_of_one_scope_share_a_cache_and_get_their_own_rows(sysu):
    sets = [SYSUMM01(sysu, split=name, image_size=SIZE, **QUIET) for name in ("trainval", "train", "val")]
    assert len({dataset.cache.path for dataset in sets}) == 1
    for dataset in sets:
        for index in (0, len(dataset) - 1):
            item = dataset[index]
            np.testing.assert_array_equal(item["inputs"].numpy(), load_image(item["data_samples"].img_path, SIZE))


def test_an_item_keeps_the_contract(sysu):
    item = SYSUMM01(sysu, split="train", image_size=SIZE, **QUIET)[5]
    assert set(item) == {"inputs", "data_samples"}
    assert item["inputs"].dtype == torch.uint8 and item["inputs"].shape == (3, *SIZE)
    sample = item["data_samples"]
    assert (sample.pid, sample.cam_id, sample.modality, sample.label, sample.sample_idx) == (1, 3, "infrared", 0, 5)
    assert set(sample.metainfo_keys()) >= {"img_path", "pid", "cam_id", "modality", "label", "sample_idx"}
    assert not sample.keys()
    assert not any(isinstance(value, torch.Tensor) for value in sample.metainfo.values())


def test_test_items_have_no_label(sysu):
    assert "label" not in SYSUMM01(sysu, split="test", image_size=SIZE, **QUIET)[0]["data_samples"]


def test_an_item_may_be_written_to_without_harm(sysu):
    dataset = SYSUMM01(sysu, split="train", image_size=SIZE, **QUIET)
    before = dataset[0]["inputs"].clone()
    dataset[0]["inputs"].zero_()
    assert torch.equal(dataset[0]["inputs"], before) and before.any()


def test_a_subset_reads_its_own_pixels(sysu):
    dataset = SYSUMM01(sysu, split="test", image_size=SIZE, **QUIET)
    whole = [dataset[index]["inputs"] for index in range(len(dataset))]
    copied = dataset.get_subset([3, 7])
    dataset.get_subset_([7, 0, 3])
    assert [dataset[index]["data_samples"].sample_idx for index in range(3)] == [0, 1, 2]
    for found, expected in zip([*dataset, *copied], [7, 0, 3, 3, 7], strict=True):
        assert torch.equal(found["inputs"], whole[expected])


def test_two_sizes_in_one_config_are_an_error(sysu):
    dataset = SYSUMM01(
        sysu, image_size=SIZE, pipeline=[dict(type="mscmreid.LoadImage", size=(8, 8))], check_counts=False
    )
    with pytest.raises(ValueError, match=r"LoadImage has size \(8, 8\), .* \(16, 8\)"):
        dataset[0]


def test_own_transforms_follow_loading(sysu):
    pipeline = [dict(type="mscmreid.LoadImage"), lambda item: {**item, "inputs": item["inputs"].flip(-1)}]
    plain = SYSUMM01(sysu, image_size=SIZE, **QUIET)
    mirrored = SYSUMM01(sysu, image_size=SIZE, pipeline=pipeline, **QUIET)
    assert torch.equal(mirrored[0]["inputs"].flip(-1), plain[0]["inputs"])


def test_collate_stacks_in_order(sysu):
    dataset = SYSUMM01(sysu, split="train", image_size=SIZE, **QUIET)
    items = [dataset[index] for index in (4, 0, 9)]
    batch = reid_collate(items)
    assert batch["inputs"].shape == (3, 3, *SIZE) and batch["inputs"].dtype == torch.uint8
    assert torch.equal(batch["inputs"], torch.stack([item["inputs"] for item in items]))
    assert [sample.sample_idx for sample in batch["data_samples"]] == [4, 0, 9]


@pytest.mark.parametrize("cache", [True, False])
def test_pixels_are_never_transposed_on_the_way_to_the_model(sysu, cache):
    dataset = SYSUMM01(sysu, split="train", image_size=SIZE, cache=cache, **QUIET)
    items = [dataset[index] for index in (4, 0, 9)]
    assert all(item["inputs"].permute(1, 2, 0).is_contiguous() for item in items)
    assert reid_collate(items)["inputs"].is_contiguous(memory_format=torch.channels_last)


def test_items_in_another_memory_order_keep_their_pixels():
    items = [dict(inputs=torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8), data_samples=None) for _ in range(4)]
    batch = reid_collate(items)["inputs"]
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, torch.stack([item["inputs"] for item in items]))


def test_collate_refuses_sizes_that_differ():
    items = [dict(inputs=torch.zeros(3, *size, dtype=torch.uint8), data_samples=None) for size in ((4, 2), (2, 4))]
    with pytest.raises(ValueError, match=r"one size, found \[\(3, 2, 4\), \(3, 4, 2\)\]"):
        reid_collate(items)


def test_collate_is_found_by_its_scoped_name():
    assert FUNCTIONS.get("mscmreid.reid_collate") is reid_collate


def loader(sysu, num_workers, **options):
    return ReIDRunner.build_dataloader(
        dict(
            dataset=dict(
                type="mscmreid.SYSUMM01", data_root=sysu, image_size=SIZE, split="trainval", check_counts=False
            ),
            batch_sampler=dict(type="mscmreid.CrossModalityBatchSampler", num_ids=2, num_instances=2, num_batches=3),
            num_workers=num_workers,
            collate_fn=dict(type="mscmreid.reid_collate"),
            **options,
        ),
        seed=5,
    )


def test_worker_processes_give_the_same_batches(sysu):
    here = list(loader(sysu, 0))
    start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    there = list(loader(sysu, 1, multiprocessing_context=start))
    assert len(here) == len(there) == 3
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one["inputs"], other["inputs"])
        assert [s.img_path for s in one["data_samples"]] == [s.img_path for s in other["data_samples"]]
        assert [s.modality for s in one["data_samples"]] == ["visible"] * 4 + ["infrared"] * 4
        for image, sample in zip(one["inputs"], one["data_samples"], strict=True):
            np.testing.assert_array_equal(image.numpy(), load_image(sample.img_path, SIZE))


def test_an_image_is_resized_by_the_filters_of_its_data_set(sysu):
    """RegDB's training images in PMT: Lanczos to one size, then bilinear to another."""
    chain = [("lanczos", (40, 20)), "bilinear"]
    options = dict(split="train", image_size=SIZE, check_counts=False, cache_dir=None)
    usual = SYSUMM01(sysu, **options)
    for resize, steps in (
        ("bicubic", [((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC)]),
        (chain, [((20, 40), Image.Resampling.LANCZOS), ((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR)]),
    ):
        cached, direct = (SYSUMM01(sysu, resize=resize, cache=cache, **options) for cache in (True, False))
        item = cached[3]
        with Image.open(item["data_samples"].img_path) as image:
            expected = image.convert("RGB")
        for size, name in steps:
            expected = expected.resize(size, name)
        assert np.array_equal(item["inputs"].permute(1, 2, 0).numpy(), np.array(expected))
        assert torch.equal(direct[3]["inputs"], item["inputs"])
        assert not torch.equal(item["inputs"], usual[3]["inputs"])
        assert cached.cache.path != usual.cache.path
        assert cached.metainfo["resize"] == ("Bicubic" if resize == "bicubic" else "Lanczos 40x20, Bilinear")


@pytest.mark.parametrize(
    "resize", ["area", [], ["lanczos", "bilinear"], [("lanczos", (8, 4))], [("box", (8, 4)), "lanczos"]]
)
def test_a_way_of_resizing_that_does_not_work_is_an_error(sysu, resize):
    with pytest.raises(ValueError, match=r"resize must be one of \['bicubic', 'bilinear', 'lanczos', 'nearest'\]"):
        SYSUMM01(sysu, resize=resize)
