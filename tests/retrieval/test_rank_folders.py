"""Ranked lists of folders: the same as a plain sort, in bounded blocks, going on after an interruption."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tool_modules import load_tool

from mscmreid.apis import init_model
from mscmreid.datasets.loading import Resize, UnreadableImageError, load_image
from mscmreid.engine.runner.checkpoint import write_checkpoint
from mscmreid.retrieval import ranked_lists as rank_module
from mscmreid.retrieval.extract import extract_table, stream_features
from mscmreid.retrieval.ranked_lists import FolderFeatures, extract_folder, rank_folders

ROOT = Path(__file__).resolve().parents[2]
TINY = dict(backbone=dict(base_channels=8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """11 infrared and 23 visible images of noise, some in subfolders."""
    top = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, num in (("night", 11), ("day", 23)):
        for i in range(num):
            path = top / name / f"walk{i % 3}" / f"{i:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(path)
    (top / "day" / "notes.txt").write_text("no image")
    return top


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    base = str(ROOT / "configs" / "mscm_synthetic.py")
    path.write_text(f"_base_ = [{base!r}]\nimage_size = (64, 32)\nmodel = {TINY}\n")
    return path


@pytest.fixture(scope="module")
def model(config):
    torch.manual_seed(0)
    model = init_model(config, device="cpu")
    for name, buffer in model.named_buffers():  # a trained network's statistics, so that features differ
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return model


def normalised(model, paths, resize="lanczos"):
    images = torch.from_numpy(np.stack([load_image(str(path), (64, 32), Resize.parse(resize)) for path in paths]))
    return model.data_preprocessor.normalize["visible"].apply(images, {})


def test_features_are_those_of_the_model_whatever_the_batches(model, folders):
    paths = sorted(map(str, (folders / "day").rglob("*.png")))
    expected = model.extract_features(normalised(model, paths), "visible")
    for batch_size in (1, 5, 64):
        batches = list(stream_features(model, paths, "visible", batch_size=batch_size, num_workers=2))
        for name in ("feat_pool", "feat_bn"):
            found = np.concatenate([batch.features[name] for batch in batches])
            np.testing.assert_allclose(found, expected[name].numpy(), atol=1e-5)
        assert [batch.start for batch in batches] == list(range(0, len(paths), batch_size))


def test_images_are_resized_as_the_test_data_are(model, folders, monkeypatch):
    paths = sorted(map(str, (folders / "day").rglob("*.png")))[:3]
    monkeypatch.setitem(model.cfg.test_dataloader.dataset, "resize", "nearest")
    found = next(iter(stream_features(model, paths, "visible"))).features["feat_bn"]
    expected, other = (
        model.extract_features(normalised(model, paths, r), "visible")["feat_bn"].numpy()
        for r in ("nearest", "lanczos")
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, other, atol=1e-5)


def test_modalities_may_be_mixed(model, folders):
    paths = sorted(str(p.relative_to(folders)) for p in folders.rglob("*.png"))
    modality = ["infrared" if path.startswith("night") else "visible" for path in paths]
    columns = dict(path=paths, pid=np.arange(len(paths)), cam_id=np.zeros(len(paths), int), modality=modality)
    table = extract_table(model, columns, folders, batch_size=7)
    expected = model.extract_features(normalised(model, [folders / path for path in paths]), modality)
    np.testing.assert_allclose(table.features["feat_bn"], expected["feat_bn"].numpy(), atol=1e-5)
    assert table.path == paths and table.modality.tolist() == modality


def test_a_folder_is_extracted_in_shards(model, folders, tmp_path):
    found = extract_folder(model, folders / "day", "visible", tmp_path, shard_size=10)
    assert found.paths == sorted(str(p.relative_to(folders / "day")) for p in (folders / "day").rglob("*.png"))
    assert [len(shard) for shard in found.shards] == [10, 10, 3]
    expected = model.extract_features(normalised(model, [folders / "day" / p for p in found.paths]), "visible")
    np.testing.assert_allclose(np.concatenate(found.shards), expected["feat_bn"].numpy(), atol=1e-5)


def count_forwarded(model, monkeypatch, stop_at=10**9):
    """Counts images that go through the network; an interrupt comes before the ``stop_at``-th."""
    seen = []
    step = type(model).test_step

    def counted(self, data):
        if len(seen) + len(data["data_samples"]) > stop_at:
            raise KeyboardInterrupt
        seen.extend(sample.img_path for sample in data["data_samples"])
        return step(self, data)

    monkeypatch.setattr(type(model), "test_step", counted)  # of a copy too
    return seen


def test_an_interrupted_extraction_goes_on_where_it_stood(model, folders, tmp_path, monkeypatch):
    options = dict(batch_size=4, shard_size=8)
    whole = extract_folder(model, folders / "day", "visible", tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        count_forwarded(model, patch, stop_at=14)
        with pytest.raises(KeyboardInterrupt):
            extract_folder(model, folders / "day", "visible", tmp_path / "cut", **options)
    assert len(list((tmp_path / "cut").iterdir())) == 1  # the shard that was complete
    with monkeypatch.context() as patch:
        seen = count_forwarded(model, patch)
        resumed = extract_folder(model, folders / "day", "visible", tmp_path / "cut", **options)
        assert len(seen) == 23 - 8
    with monkeypatch.context() as patch:
        seen = count_forwarded(model, patch)
        extract_folder(model, folders / "day", "visible", tmp_path / "cut", **options)
        assert not seen
    assert all(np.array_equal(a, b) for a, b in zip(resumed.shards, whole.shards, strict=True))


def test_other_weights_options_or_images_make_other_features(model, folders, config, tmp_path, monkeypatch):
    day = tmp_path / "day"
    day.mkdir()
    for i in range(3):
        Image.new("RGB", (8, 16), (80 * i, 10, 10)).save(day / f"{i}.png")
    seen = count_forwarded(model, monkeypatch)

    def forwarded(**changed):
        before = len(seen)
        extract_folder(changed.pop("model", model), day, changed.pop("modality", "visible"), tmp_path / "c", **changed)
        return len(seen) - before

    assert forwarded() == 3 and forwarded() == 0
    assert forwarded(feature="feat_pool") == 3 and forwarded(modality="infrared") == 3
    assert forwarded(precision="bfloat16") == 3
    with torch.no_grad():
        model.neck.bn.weight += 0.25
    assert forwarded() == 3
    with torch.no_grad():
        model.neck.bn.weight -= 0.25
    Image.new("RGB", (9, 16), (0, 99, 10)).save(day / "1.png")
    assert forwarded() == 3 and forwarded() == 0


def test_a_damaged_shard_is_made_again(model, folders, tmp_path):
    first = extract_folder(model, folders / "night", "infrared", tmp_path)
    values = np.array(first.shards[0])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    again = extract_folder(model, folders / "night", "infrared", tmp_path)
    assert np.array_equal(again.shards[0], values)


def test_images_that_cannot_be_decoded_stop_or_are_left_out(model, tmp_path):
    for i in range(5):
        Image.new("RGB", (8, 16), (50 * i, 10, 10)).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"2\.png"):
        extract_folder(model, tmp_path, "visible", tmp_path / ".c", batch_size=2)
    found = extract_folder(model, tmp_path, "visible", tmp_path / ".c", batch_size=2, on_error="skip")
    assert found.undecodable == ["2.png"] and found.paths == ["0.png", "1.png", "3.png", "4.png"]
    expected = model.extract_features(normalised(model, [tmp_path / p for p in found.paths]), "visible")
    np.testing.assert_allclose(np.concatenate(found.shards), expected["feat_bn"].numpy(), atol=1e-5)
    with pytest.raises(UnreadableImageError, match=r"2\.png"):  # a shard made with 'skip' does not hide it
        extract_folder(model, tmp_path, "visible", tmp_path / ".c", batch_size=2)
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match="none of the 5 images"):
        extract_folder(model, tmp_path, "visible", tmp_path / ".c", on_error="skip")


def test_features_that_are_not_numbers_name_their_image(model, folders, tmp_path, monkeypatch):
    step = model.test_step

    def broken(data):
        samples = step(data)
        for sample in samples:
            if sample.img_path.endswith("004.png"):
                sample.set_data(dict(feat_bn=torch.full_like(sample.feat_bn, torch.nan)))
        return samples

    monkeypatch.setattr(model, "test_step", broken)
    with pytest.raises(ValueError, match=r"feat_bn of .*004\.png has NaN"):
        extract_folder(model, folders / "day", "visible", tmp_path)


def made_up(name, features, num_shards):
    paths = [f"{i:04d}.jpg" for i in range(len(features))]
    shards = [part for part in np.array_split(features, num_shards) if len(part)]
    return FolderFeatures(f"/{name}", "visible", paths, shards, [])


@pytest.mark.parametrize(("num_gallery", "top", "block"), [(1, 10, 4), (37, 10, 8), (100, 3, 7), (64, 64, 16)])
def test_lists_are_those_of_a_stable_sort(num_gallery, top, block, monkeypatch):
    monkeypatch.setattr(rank_module, "GALLERY_BLOCK", block)
    monkeypatch.setattr(rank_module, "QUERY_BLOCK", 5)
    rng = np.random.default_rng(num_gallery)
    query = rng.integers(-2, 3, (13, 6)).astype(np.float32)  # small integers: many ties, negative and zero scores
    gallery = rng.integers(-2, 3, (num_gallery, 6)).astype(np.float32)
    lists = rank_folders(made_up("q", query, 3), made_up("g", gallery, 4), top)
    scores = query @ gallery.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    assert np.array_equal(lists.gallery, order)
    assert np.array_equal(lists.similarity, np.take_along_axis(scores, order, axis=1))


def test_folders_inside_each_other_and_different_models_are_refused():
    ones = np.ones((2, 4), dtype=np.float32)
    for name in ("a", "a/b"):
        with pytest.raises(ValueError, match="separate folders"):
            rank_folders(made_up("a", ones, 1), made_up(name, ones, 1))
    with pytest.raises(ValueError, match="one width"):
        rank_folders(made_up("a", ones, 1), made_up("ab", np.ones((2, 5), dtype=np.float32), 1))
    with pytest.raises(ValueError, match="top must be at least 1"):
        rank_folders(made_up("a", ones, 1), made_up("b", ones, 1), top=0)


@pytest.fixture(scope="module")
def tool():
    return load_tool("rank")


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    write_checkpoint(dict(state_dict=model.state_dict()), path)
    return path


def test_the_tool_writes_lists_and_pictures(tool, model, config, checkpoint, folders, tmp_path, capsys):
    out = tmp_path / "ranked"
    options = ["--query", str(folders / "night"), "--gallery", str(folders / "day"), "--out", str(out)]
    command = [str(config), str(checkpoint), *options, "--query-modality", "infrared", "--device", "cpu"]
    tool.main([*command, "--top", "4", "--pages", "1"])
    with (out / "rankings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    query = extract_folder(model, folders / "night", "infrared", tmp_path / "q")
    gallery = extract_folder(model, folders / "day", "visible", tmp_path / "g")
    lists = rank_folders(query, gallery, 4)
    assert [row["query"] for row in rows] == [path for path in query.paths for _ in range(4)]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"] * 11
    assert [row["gallery"] for row in rows] == [gallery.paths[i] for i in lists.gallery.ravel()]
    found = np.array([float(row["similarity"]) for row in rows])
    np.testing.assert_allclose(found, lists.similarity.ravel(), atol=1e-5)
    with Image.open(out / "rankings_001.png") as picture:
        assert picture.height > picture.width > 500
    assert "only the first 6 queries are pictured" in capsys.readouterr().out
    tool.main([*command, "--top", "4"])
    assert sorted(p.name for p in out.glob("*.png")) == ["rankings_001.png", "rankings_002.png"]
    tool.main([*command, "--top", "4", "--pages", "1"])
    assert sorted(p.name for p in out.glob("*.png")) == ["rankings_001.png"]


@pytest.mark.parametrize(
    ("changed", "error", "told"),
    [
        (dict(query="nowhere"), FileNotFoundError, "the folder of images is missing"),
        (dict(gallery="empty"), FileNotFoundError, "no image in"),
        (dict(gallery="night"), ValueError, "separate folders"),
        (dict(out="day/lists"), ValueError, "would be images of the next run"),
    ],
)
def test_folders_that_cannot_be_ranked_are_refused_at_once(tool, folders, changed, error, told):
    (folders / "empty").mkdir(exist_ok=True)
    names = dict(query="night", gallery="day", out="lists") | changed
    options = [word for name, folder in names.items() for word in (f"--{name}", str(folders / folder))]
    with pytest.raises(error, match=told):
        tool.main(["config.py", "weights.pth", *options, "--query-modality", "infrared"])
    assert not (folders / "lists").exists()
