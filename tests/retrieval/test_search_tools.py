"""Features of images with a real (tiny) network, and the two commands that search with them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tool_modules import load_tool
from toy_galleries import MadeUpEncoder

from mscmreid.apis import init_model
from mscmreid.datasets.loading import Resize, load_image
from mscmreid.engine.runner.checkpoint import write_checkpoint
from mscmreid.intake import Intake, UnreadableImageError
from mscmreid.retrieval.encoder import ModelEncoder
from mscmreid.retrieval.extract import extract_table, stream_features
from mscmreid.retrieval.files import image_files
from mscmreid.retrieval.gallery import Gallery
from mscmreid.retrieval.ranked_lists import rank_images
from mscmreid.retrieval.recipe import open_encoder

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


def test_an_encoder_takes_files_pictures_and_pixels(model, folders):
    encoder = ModelEncoder(model, batch_size=4)
    paths = sorted(map(str, (folders / "day").rglob("*.png")))[:6]
    expected = model.extract_features(normalised(model, paths), "visible")["feat_bn"].numpy()
    pictures = [Image.open(path) for path in paths]
    arrays = [np.asarray(picture) for picture in pictures]
    for images in (paths, [Path(path) for path in paths], pictures, arrays, [paths[0], *pictures[1:3], *arrays[3:]]):
        np.testing.assert_allclose(encoder.encode(images, "visible"), expected, atol=1e-5)
    assert encoder.dim == expected.shape[1] and encoder.encode([], "visible").shape == (0, encoder.dim)


def test_an_encoders_identity_is_all_that_decides_its_features(model):
    same = ModelEncoder(model).identity
    assert same == ModelEncoder(model, batch_size=3).identity == json.loads(json.dumps(same))
    others = [
        ModelEncoder(model, feature="feat_pool"),
        ModelEncoder(model, precision="bfloat16"),
        ModelEncoder(model, intake=Intake(upright=False)),
    ]
    with torch.no_grad():
        before = model.neck.bn.weight.clone()
        model.neck.bn.weight += 0.25
        others.append(ModelEncoder(model))
        model.neck.bn.weight.copy_(before)
    assert all(other.identity != same for other in others) and ModelEncoder(model).identity == same


def test_a_blend_has_unit_rows_whose_product_is_the_blend_of_similarities(model, folders):
    paths = sorted(map(str, (folders / "day").rglob("*.png")))[:5]
    parts = model.extract_features(normalised(model, paths), "visible")
    wanted = 0.3 * parts["feat_pool"] @ parts["feat_pool"].T + 0.7 * parts["feat_bn"] @ parts["feat_bn"].T
    found = ModelEncoder(model, feature="blend=0.3").encode(paths, "visible")
    np.testing.assert_allclose(found @ found.T, wanted.numpy(), atol=1e-5)


def test_users_photos_are_turned_upright(model, folders, tmp_path):
    upright = Image.open(next((folders / "day").rglob("*.png")))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    encoder = ModelEncoder(model)
    found, expected = (encoder.encode([image], "visible") for image in (tmp_path / "lying.png", upright))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_features_that_are_not_numbers_name_their_image(model, folders, monkeypatch):
    step = type(model).test_step

    def broken(self, data):
        samples = step(self, data)
        for sample in samples:
            if sample.img_path.endswith("004.png"):
                sample.set_data(dict(feat_bn=torch.full_like(sample.feat_bn, torch.nan)))
        return samples

    monkeypatch.setattr(type(model), "test_step", broken)
    paths = [file.path for file in image_files(folders / "day")]
    with pytest.raises(ValueError, match=r"feat_bn of .*004\.png has NaN"):
        ModelEncoder(model).encode(paths, "visible")


def test_undecodable_images_are_named_or_left_out_of_the_stream(model, tmp_path):
    paths = []
    for i in range(5):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("RGB", (16, 32), (50 * i, 10, 10)).save(paths[-1])
    Path(paths[2]).write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"2\.png"):
        list(stream_features(model, paths, "visible", batch_size=2))
    batches = list(stream_features(model, paths, "visible", batch_size=2, on_error="skip"))
    assert [batch.kept.tolist() for batch in batches] == [[0, 1], [1], [0]]
    assert [list(batch.undecodable) for batch in batches] == [[], [paths[2]], []]


@pytest.fixture(scope="module")
def tool():
    return load_tool("rank")


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    write_checkpoint(dict(state_dict=model.state_dict()), path)
    return path


def command_of(config, checkpoint, folders, out, *more):
    options = ["--query", str(folders / "night"), "--gallery", str(folders / "day"), "--out", str(out)]
    return [str(config), str(checkpoint), *options, "--query-modality", "infrared", "--device", "cpu", *more]


def test_rank_writes_lists_and_pictures_and_replaces_them_only_when_told(
    tool, model, config, checkpoint, folders, tmp_path, capsys
):
    out = tmp_path / "ranked"
    command = command_of(config, checkpoint, folders, out, "--top", "4")
    tool.main([*command, "--pages", "1"])
    assert "only the first 6 queries are pictured" in capsys.readouterr().out
    with (out / "rankings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [[file.name for file in image_files(folders / side)] for side in ("night", "day")]
    query, gallery = (
        model.extract_features(normalised(model, [folders / side / name for name in some]), modality)["feat_bn"]
        for side, some, modality in (("night", names[0], "infrared"), ("day", names[1], "visible"))
    )
    scores = (query @ gallery.T).numpy()
    order = np.argsort(-scores, axis=1)[:, :4]
    assert [row["query"] for row in rows] == [name for name in names[0] for _ in range(4)]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"] * 11
    found = np.array([float(row["similarity"]) for row in rows]).reshape(-1, 4)
    np.testing.assert_allclose(found, np.take_along_axis(scores, order, axis=1), atol=1e-5)
    place = {name: i for i, name in enumerate(names[1])}
    listed = np.array([place[row["gallery"]] for row in rows]).reshape(-1, 4)
    np.testing.assert_allclose(np.take_along_axis(scores, listed, axis=1), found, atol=1e-5)
    with Image.open(out / "rankings_001.png") as picture:
        assert picture.height > picture.width > 500

    before = {path.name: path.read_bytes() for path in out.glob("rankings*")}
    photo = str(folders / "night" / names[0][3])
    one = [str(config), str(checkpoint), "--query", photo, *command[4:]]
    with pytest.raises(FileExistsError, match="--overwrite"):
        tool.main(one)
    assert {path.name: path.read_bytes() for path in out.glob("rankings*")} == before
    tool.main([*one, "--overwrite"])
    with (out / "rankings.csv").open(newline="") as file:
        again = list(csv.DictReader(file))
    assert [row["gallery"] for row in again] == [row["gallery"] for row in rows[12:16]]
    assert {row["query"] for row in again} == {photo}
    assert not [path for path in out.iterdir() if path.name.startswith(".writing")]


def test_ranking_again_makes_no_features_again(tool, config, checkpoint, folders, tmp_path, monkeypatch):
    seen = []
    step = ModelEncoder.encode

    def counted(self, images, modality):
        seen.extend(images)
        return step(self, images, modality)

    monkeypatch.setattr(ModelEncoder, "encode", counted)
    command = command_of(config, checkpoint, folders, tmp_path / "ranked", "--top", "2", "--pages", "0")
    tool.main(command)
    assert sum(isinstance(image, str) for image in seen) == 11 + 23
    seen.clear()
    tool.main([*command, "--overwrite"])
    assert not [image for image in seen if isinstance(image, str)]


@pytest.mark.parametrize(
    ("changed", "error", "told"),
    [
        (dict(query="nowhere"), FileNotFoundError, "nowhere"),
        (dict(gallery="empty"), FileNotFoundError, "no image in"),
        (dict(gallery="night"), ValueError, "must be separate"),
        (dict(gallery="."), ValueError, "must be separate"),
        (dict(out="day/lists"), ValueError, "would be images of the next run"),
    ],
)
def test_folders_that_cannot_be_ranked_are_refused_at_once(tool, folders, changed, error, told):
    (folders / "empty").mkdir(exist_ok=True)
    names = dict(query="night", gallery="day", out=Path("..", "lists")) | changed
    options = [word for name, folder in names.items() for word in (f"--{name}", str(folders / folder))]
    with pytest.raises(error, match=told):
        tool.main(["config.py", "weights.pth", *options, "--query-modality", "infrared"])
    assert not (folders.parent / "lists").exists()


def test_unreadable_images_of_both_sides_are_told_together(tmp_path):
    (tmp_path / "night").mkdir()
    (tmp_path / "day").mkdir()
    for i, (name, content) in enumerate(
        [("night/a", b"1"), ("night/b", b"damaged"), ("day/a", b"1"), ("day/b", b"damaged")]
    ):
        (tmp_path / f"{name}{i}.png").write_bytes(content)
    sides = [image_files(tmp_path / name) for name in ("night", "day")]
    with pytest.raises(UnreadableImageError, match=r"night/b1\.png.*day/b3\.png") as told:
        rank_images(MadeUpEncoder(), *sides, ("infrared", "visible"), tmp_path / "kept")
    assert {str(tmp_path / "night/b1.png"), str(tmp_path / "day/b3.png")} <= set(told.value.unreadable)


def test_mistakes_are_told_before_a_network_is_loaded(folders, tmp_path):
    """No recipe of an encoder is there, so none could be loaded."""
    search = load_tool("search")
    photo, day, gallery = next((folders / "night").rglob("*.png")), folders / "day", tmp_path / "gallery"
    for command in (["query", photo, "--modality", "infrared"], ["add", day, "--modality", "visible"], ["info"]):
        with pytest.raises(FileNotFoundError, match=f"^no gallery at {gallery}"):
            search.main([command[0], str(gallery), *map(str, command[1:])])
    with pytest.raises(FileNotFoundError, match=f"^no gallery at {gallery}"):
        open_encoder(gallery)
    Gallery.create(gallery, MadeUpEncoder()).add(day, "visible", camera="gate")
    (tmp_path / "bad").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "bad" / name).touch()
    for command, told in (
        (["query", photo, tmp_path / "bad", "--modality", "infrared"], r"^2 of 3 queries cannot .*a\.png.*b\.png"),
        (["add", folders / "night", "--modality", "infrared", "--camera-pattern", "(cam.)/"], "^11 of 11 images"),
        (["create", "c.py", "c.pth"], "needs a new or an empty folder"),
        (["add", day, "--modality", "visible", "--table", photo], "is no CSV table in UTF-8"),
        (["add", day, "--modality", "visible", "--time", "noon"], "^a time is written .*found 'noon'$"),
        (["query", photo, "--modality", "infrared", "--top", "0"], "--top must be at least 1"),
        (["query", photo, "--modality", "infrared", "--engine", "fais"], "engine must be one of"),
        (["query", photo, "--modality", "infrared", "--camera", "gat"], "has the camera gat; did you mean 'gate'"),
        (["remove", "--camera", "x"], "has the camera x; there are gate"),
        (["export", "--out", tmp_path / "t.xls"], "ends in .csv or .parquet; a folder for FiftyOne: --format"),
        (["export", "--out", tmp_path / "t.csv", "--id", "7"], "has the id 7; there are none"),
    ):
        with pytest.raises(ValueError, match=told):
            search.main([command[0], str(gallery), *map(str, command[1:])])
    assert not (tmp_path / "t.csv").exists()


def test_a_day_with_the_search_tool(config, checkpoint, folders, tmp_path, capsys):
    search = load_tool("search")
    gallery, out = str(tmp_path / "gallery"), tmp_path / "answers"

    def run(command, *more):
        capsys.readouterr()
        search.main([command, gallery, *map(str, more)])
        return capsys.readouterr().out

    assert "a new gallery" in run("create", config, checkpoint, "--dtype", "float16", "--device", "cpu")
    table = tmp_path / "day.csv"
    lines = [f"{file.name},cam{i % 2},,{i % 6}" for i, file in enumerate(image_files(folders / "day"))]
    table.write_text("path,camera,time,id\n" + "\n".join(lines))
    day = ("add", folders / "day", "--modality", "visible", "--table", table, "--device", "cpu")
    assert "23 added, 0 replaced, 0 already there: 0 -> 23 images" in run(*day)
    assert "0 added, 0 replaced, 23 already there" in run(*day)
    night = ("add", folders / "night", "--modality", "infrared", "--camera-pattern", "walk([0-9])/", "--device", "cpu")
    assert "11 added" in run(*night, "--time", "2026-11-25T23:00", "--id-pattern", r"/\d*(\d)\.png")
    told = run("info", "--check")
    assert "visible: 23, infrared: 11" in told and "mean nothing absolute" in told and "what was written" in told

    photo = next((folders / "night").rglob("*.png"))
    ask = ("query", photo, "--modality", "infrared", "--gallery-modality", "visible", "--device", "cpu")
    told = run(*ask, "--top", "3", "--camera", "cam1")
    assert "mean nothing absolute" in told and told.count("cam1") == 3 and "cam0" not in told
    assert "modalities" in run("calibrate", "--false-matches", "0.1", "--out", tmp_path / "calibration")
    assert (tmp_path / "calibration" / "calibration.png").stat().st_size > 1000
    told = run(*ask, "--out", out)
    assert "pairs of two" in told
    answers = json.loads((out / "answers.json").read_text())
    assert answers[0]["verdict"] in ("same person, likely", "nobody here")
    with (out / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [hit["path"] for hit in answers[0]["hits"]]
    assert all(hit["probability"] is not None for hit in answers[0]["hits"])
    with pytest.raises(FileExistsError, match="--overwrite"):
        run(*ask, "--out", out)

    assert "would go" in run("remove", "--camera", "cam1", "--dry-run")
    assert "0 of 34 images removed; none is, or lies below, /nowhere" in run("remove", "--path", "/nowhere")
    assert "11 of 34 images removed" in run("remove", "--camera", "cam1")
    assert "segments" in run("compact") and len(Gallery.open(gallery)) == 23
    with pytest.raises(ValueError, match="needs a filter"):
        run("remove")
    with pytest.raises(ValueError, match="another encoder"):
        Gallery.open(gallery, ModelEncoder(init_model(config, device="cpu")))
