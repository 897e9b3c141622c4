"""Damaged and odd data: lists, tables of own images, images, image caches, options of a config."""

import csv
import functools
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzzing import cases, changed_bytes, outcome
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from layouts import write_image

from mscmreid.apis import load_config
from mscmreid.datasets import FolderReID, load_image
from mscmreid.datasets.cache import open_or_build
from mscmreid.datasets.listing import FolderScan, ImageRow, read_ids, read_paths
from mscmreid.intake import UnreadableImageError

SIZE = (16, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eight images of four people."""
    root = tmp_path_factory.mktemp("fuzz")
    for number in range(8):
        write_image(root / "images" / f"{number}.png", seed=number)
    return root


IDS, PATHS = b"1,2,4,7\n", b"Visible/1/a.bmp 0\nVisible/1/b.bmp 0\nThermal/2/c.bmp 1\n"


@cases("lists")
@given(ids=changed_bytes(IDS), paths=changed_bytes(PATHS))
def test_damaged_lists_are_read_as_they_stand_or_named(folder, ids, paths):
    (folder / "id.txt").write_bytes(ids)
    (folder / "paths.txt").write_bytes(paths)
    found = outcome(lambda: read_ids(str(folder / "id.txt"), "ids"), "id.txt")
    assert found is None or (found and all(isinstance(pid, int) for pid in found))
    names = outcome(lambda: read_paths(str(folder / "paths.txt"), "paths"), "paths.txt")
    assert names is None or names


ROWS = [("path", "pid", "cam_id", "modality", "split", "role")] + [
    (f"images/{n}.png", n // 2, 1 + n % 2, ("visible", "infrared")[n % 2], "train" if n < 4 else "test", "")
    for n in range(8)
]
TABLE = io.StringIO()
csv.writer(TABLE, lineterminator="\n").writerows(ROWS)


@cases("own_csv")
@given(content=changed_bytes(TABLE.getvalue().encode()), split=st.sampled_from(["train", "test"]))
def test_a_damaged_table_of_own_images_is_read_as_it_stands_or_named(folder, content, split):
    (folder / "own.csv").write_bytes(content)
    options = dict(data_root=str(folder), ann_file="own.csv", split=split, image_size=SIZE, cache=False)
    dataset = outcome(lambda: FolderReID(**options), "own.csv")
    if dataset is not None:
        columns = dataset.rows()
        assert len(dataset) and (columns["pid"] >= -1).all() and len(set(columns["path"])) == len(dataset)
        assert all((folder / path).is_file() for path in columns["path"])


def encoded(kind: str, mode: str = "RGB") -> bytes:
    pixels = Image.fromarray(np.random.RandomState(0).randint(0, 256, (20, 12, 3), dtype=np.uint8))
    file = io.BytesIO()
    pixels.convert(mode).save(file, kind)
    return file.getvalue()


IMAGES = [
    encoded(*kind) for kind in [("PNG",), ("PNG", "L"), ("PNG", "P"), ("JPEG",), ("BMP",), ("TIFF",), ("PNG", "RGBA")]
]


@cases("images")
@given(data=st.data())
def test_a_damaged_image_is_decoded_or_named(folder, data):
    content = data.draw(changed_bytes(data.draw(st.sampled_from(IMAGES))))
    (folder / "image.png").write_bytes(content)
    try:
        found = load_image(str(folder / "image.png"), SIZE)
    except UnreadableImageError as error:
        assert "image.png" in str(error)
    else:
        assert found.shape == (3, *SIZE) and found.dtype == np.uint8


@cases("cache")
@given(data=st.data(), which=st.sampled_from([".npy", ".npy", ".json"]))
def test_a_damaged_image_cache_gives_the_pixels_of_the_files(folder, data, which):
    rows = [ImageRow(f"images/{n}", s, t, 1, 1, "visible") for n, s, t in FolderScan(str(folder)).images("images")]
    cache = open_or_build(rows, str(folder), SIZE, "set", str(folder / "cache"), 1)
    expected = [load_image(os.path.join(folder, row.path), SIZE) for row in rows]
    path = Path(cache.path).with_suffix(which)
    path.write_bytes(data.draw(changed_bytes(path.read_bytes())))
    for _ in range(2):  # the second time what was damaged has been built anew
        cache = open_or_build(rows, str(folder), SIZE, "set", str(folder / "cache"), 1)
        assert cache.undecodable == {}
        for row, pixels in enumerate(expected):
            found = cache.get(row)
            assert found is None or np.array_equal(found, pixels)
    assert all(cache.get(row) is not None for row in range(len(rows)))


KEYS = (
    "data_root", "image_size", "train_cfg.max_epochs", "train_cfg.val_interval", "optim_wrapper.optimizer.lr",
    "load_from", "model.head.num_classes", "model.backbone.depth", "train_dataloader.num_workers",
    "train_dataloader.batch_sampler", "test_dataloader.dataset.allow_shared_people",
    "test_evaluator.features", "default_hooks.checkpoint.interval", "randomness.seed", "param_scheduler", "compile",
    "model.neck.pool.type", "visualizer", "env_cfg", "test_evaluator.protocols", "log_level",
)  # fmt: skip
VALUES = (
    None,
    True,
    -1,
    0,
    3,
    2.5,
    10**12,
    float("nan"),
    "",
    "x",
    "mscmreid.x.y",
    [],
    [1],
    {},
    {"type": "os.system"},
    {"a": 1},
)


@st.composite
def options(draw):
    """Options as a user may give them: right or misspelt keys, odd values."""
    found = {}
    for _ in range(draw(st.integers(1, 2))):
        key = draw(st.sampled_from(KEYS))
        place = draw(st.integers(0, len(key) - 1))
        match draw(st.sampled_from(["as it is", "drop", "double", "deeper"])):
            case "drop":
                key = key[:place] + key[place + 1 :]
            case "double":
                key = key[:place] + key[place] + key[place:]
            case "deeper":
                key += ".x"
        found[key] = draw(st.sampled_from(VALUES))
    return found


@functools.cache
def _config():
    return load_config("mscm_synthetic")


@cases("config")
@given(options=options())
def test_odd_options_of_a_config_make_a_config_or_are_named(options):
    """Nothing is built here: what a value does where it is used is for the checks before a training."""
    keys = [part for key in options for part in (key, *key.split("."), *key.split(".")[:1]) if part]
    cfg = outcome(lambda: load_config(_config(), options), *keys)
    assert cfg is None or cfg.model
