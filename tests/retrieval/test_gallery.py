"""A gallery keeps what was added, once, whatever happens; others keep what they opened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_galleries import MadeUpEncoder

import mscmreid
from mscmreid.intake import UnreadableImageError
from mscmreid.retrieval import adding
from mscmreid.retrieval.calibration import Calibration
from mscmreid.retrieval.describing import by_pattern, by_table
from mscmreid.retrieval.filters import Filter, seconds_of, time_text
from mscmreid.retrieval.gallery import Gallery
from mscmreid.retrieval.storage import DamagedGalleryError


def write_images(folder: Path, num: int, first: int = 0) -> list[Path]:
    """Files whose content names a person and an image, in folders by camera."""
    paths = []
    for i in range(first, first + num):
        path = folder / f"cam{i % 3}" / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d, image %d" % (i // 4, i))
        paths.append(path)
    return paths


@pytest.fixture
def images(tmp_path):
    write_images(tmp_path / "day", 30)
    return tmp_path / "day"


@pytest.fixture
def gallery(tmp_path):
    return Gallery.create(tmp_path / "gallery", MadeUpEncoder())


def content(gallery: Gallery) -> dict[str, bytes]:
    """Path -> feature of what is in it; each path once."""
    hits = gallery.hits()
    features = gallery.features([hit.row for hit in hits])
    found = {hit.path: feature.tobytes() for hit, feature in zip(hits, features, strict=True)}
    assert len(found) == len(hits) == len(gallery)
    return found


def wanted(folder: Path, modality: str = "visible") -> dict[str, bytes]:
    """What a gallery of a folder should be."""
    paths = sorted(map(str, folder.rglob("*.png")))
    return {path: MadeUpEncoder().encode([path], modality).tobytes() for path in paths}


def test_what_is_there_already_is_left_alone_and_what_changed_is_replaced(gallery, images):
    assert gallery.add(images, "visible", camera=by_pattern("(cam[0-9])")).added == 30
    version, rows = gallery.snapshot.manifest.version, {hit.path: hit.row for hit in gallery.hits()}
    gallery.encoder.seen.clear()
    assert gallery.add(images, "visible").already_there == 30
    assert not gallery.encoder.seen and gallery.snapshot.manifest.version == version

    changed, touched = images / "cam0" / "0003.png", images / "cam1" / "0004.png"
    changed.write_bytes(b"99, somebody else")
    os.utime(touched, ns=(1, 1))  # written again, with the same content
    write_images(images, 2, first=30)
    report = gallery.add(images, "visible")
    assert (report.added, report.replaced, report.already_there) == (2, 1, 29)
    assert sorted(gallery.encoder.seen) == sorted(
        str(images / p) for p in ("cam0/0003.png", "cam0/0030.png", "cam1/0031.png")
    )
    assert content(gallery) == wanted(images) == content(Gallery.open(gallery.path))
    now = {hit.path: hit.row for hit in gallery.hits()}
    assert now[str(changed)] not in rows.values()
    assert all(now[path] == row for path, row in rows.items() if path != str(changed))
    assert {hit.camera for hit in gallery.hits() if hit.path == str(changed)} == {"cam0"}  # what was said before


def test_another_description_makes_a_new_row_of_the_same_feature(gallery, images):
    gallery.add(images, "visible", camera=1, time="2026-11-25T10:00")
    before = content(gallery)
    gallery.encoder.seen.clear()
    report = gallery.add(images, "visible", camera=2)
    assert (report.replaced, report.reused) == (30, 30) and not gallery.encoder.seen
    assert content(gallery) == before
    assert {(hit.camera, hit.time) for hit in gallery.hits()} == {("2", "2026-11-25 10:00:00")}
    assert gallery.add(images, "infrared").replaced == 30 and len(gallery.encoder.seen) == 30
    assert content(gallery) == wanted(images, "infrared")


def test_an_interrupted_add_leaves_all_as_it_was_and_goes_on(gallery, images, monkeypatch):
    monkeypatch.setattr(adding, "SEGMENT", 8)
    gallery.add(images / "cam0" / "0000.png", "visible")
    before = content(gallery)
    encode = MadeUpEncoder.encode

    def interrupted(self, paths, modality):
        if any("0020" in path for path in paths):
            raise KeyboardInterrupt
        return encode(self, paths, modality)

    with monkeypatch.context() as patch:
        patch.setattr(MadeUpEncoder, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gallery.add(images, "visible")
    reopened = Gallery.open(gallery.path, MadeUpEncoder())
    assert content(reopened) == before
    done = reopened.info()["unfinished"]
    assert done >= 8
    report = reopened.add(images, "visible")
    assert report.reused == done and len(reopened.encoder.seen) == 29 - done
    assert content(reopened) == wanted(images) and reopened.info()["unfinished"] == 0
    assert not reopened.storage.stray_files(reopened.snapshot.manifest)


def test_readers_keep_the_version_that_they_opened(gallery, images):
    gallery.add(images, "visible")
    reader = Gallery.open(gallery.path)
    before = content(reader)
    gallery.remove(paths=images / "cam1")
    write_images(images, 5, first=100)
    gallery.add([images / "cam0", images / "cam2"], "visible")
    gallery.compact()
    assert content(reader) == before and len(reader.search(features=reader.features([0]), top=40)[0]) == 30
    assert reader.refresh() and content(reader) == content(gallery)
    assert not reader.refresh()


def test_one_writes_at_a_time(gallery, images):
    with gallery.storage.writing(), pytest.raises(BlockingIOError, match="another process is writing"):
        Gallery.open(gallery.path, MadeUpEncoder()).add(images, "visible")
    assert gallery.add(images, "visible").added == 30


def test_removing_and_compacting_keep_the_others(gallery, images, monkeypatch):
    monkeypatch.setattr(adding, "SEGMENT", 8)
    gallery.add(images, "visible", camera=by_pattern("cam([0-9])"), time=by_pattern("([0-9]+).png", "%H%M"))
    everything = content(gallery)
    assert gallery.remove(dict(camera="1")) == 10
    assert gallery.remove(paths=[images / "cam0" / "0000.png"], where=Filter(camera=2)) == 0
    assert gallery.remove(paths=[images / "cam0" / "0000.png", images / "cam2" / "0002.png"]) == 2
    left = {p: f for p, f in everything.items() if "cam1" not in p and not p.endswith(("/0000.png", "/0002.png"))}
    assert content(gallery) == left == content(Gallery.open(gallery.path))
    rows = {hit.path: hit.row for hit in gallery.hits()}
    gallery.compact()
    assert content(gallery) == left and {hit.path: hit.row for hit in gallery.hits()} == rows
    assert len(gallery.snapshot) == len(gallery) == 18
    with pytest.raises(ValueError, match="needs a filter"):
        gallery.remove()
    assert gallery.add(images, "visible").added == 12 and content(gallery) == everything


def test_much_that_was_removed_is_put_in_order_by_itself(gallery, images):
    gallery.add(images, "visible")
    gallery.remove(paths=[images / "cam0", images / "cam1" / "0001.png"])
    assert len(gallery.snapshot) == len(gallery) == 19


def test_unreadable_images_are_all_named_or_left_out(gallery, images):
    for name in ("cam0/0009.png", "cam1/0010.png", "cam2/0029.png"):
        (images / name).write_bytes(b"damaged")
    (images / "cam0" / "gone.png").symlink_to(images / "nowhere.png")
    with pytest.raises(UnreadableImageError) as told:
        gallery.add(images, "visible")
    assert len(told.value.unreadable) == 4 and "--skip-unreadable" in str(told.value)
    assert len(gallery) == 0
    report = gallery.add(images, "visible", on_error="skip", time="mtime")
    assert report.added == 27 and len(report.skipped) == 4 and report.reused == 27
    assert {Path(path).name for path in report.skipped} == {"0009.png", "0010.png", "0029.png", "gone.png"}


def test_another_encoder_is_refused_and_what_differs_is_said(gallery, images):
    with pytest.raises(ValueError, match="weights_sha256: 'made up' and 'other'"):
        Gallery.open(gallery.path, MadeUpEncoder(name="other"))
    with pytest.raises(ValueError, match="16 and 8"):
        Gallery.open(gallery.path, MadeUpEncoder(dim=8))
    with pytest.raises(ValueError, match="open the gallery with its encoder"):
        Gallery.open(gallery.path).add(images, "visible")
    with pytest.raises(TypeError, match="init_model"):
        Gallery.open(gallery.path, object())
    with pytest.raises(ValueError, match="another encoder"):
        gallery.set_calibration(Calibration(dict(weights_sha256="other"), "nothing"))
    with pytest.raises(FileNotFoundError, match="no gallery at"):
        Gallery.open(images)
    with pytest.raises(ValueError, match="new or an empty folder"):
        Gallery.create(images, MadeUpEncoder())


def test_a_changed_byte_is_found_when_it_is_read(gallery, images):
    gallery.add(images, "visible")
    features = next(gallery.storage.segments.glob("*.features.npy"))
    whole = features.read_bytes()
    features.write_bytes(whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:])
    damaged = Gallery.open(gallery.path)
    with pytest.raises(DamagedGalleryError, match="checksum"):
        damaged.search(features=np.eye(1, 16), top=1)
    with pytest.raises(DamagedGalleryError, match="checksum"):
        damaged.verify()
    features.write_bytes(whole[:-16])
    with pytest.raises(DamagedGalleryError):
        Gallery.open(gallery.path)
    features.write_bytes(whole)
    columns = next(gallery.storage.segments.glob("*.columns.npz"))
    columns.write_bytes(columns.read_bytes()[:-1] + b"!")
    with pytest.raises(DamagedGalleryError, match="SHA-256"):
        Gallery.open(gallery.path)
    (gallery.path / "manifest.json").write_text("[]")
    with pytest.raises(DamagedGalleryError, match="no manifest"):
        Gallery.open(gallery.path)


def test_features_may_be_kept_in_half_the_space(tmp_path, images):
    half = Gallery.create(tmp_path / "half", MadeUpEncoder(), dtype="float16")
    half.add(images, "visible")
    found = half.features([hit.row for hit in half.hits()])
    expected = np.stack([np.frombuffer(feature, np.float32) for feature in wanted(images).values()])
    np.testing.assert_allclose(found, expected, atol=5e-4)
    (hit, *_), *_ = half.search(images / "cam0" / "0003.png", "visible")
    assert hit.path == str(images / "cam0" / "0003.png") and abs(hit.score - 1) < 1e-3


def test_a_search_takes_files_folders_features_and_dicts(gallery, images):
    gallery.add(images, "visible", camera=by_pattern("cam([0-9])"))
    photo = images / "cam0" / "0003.png"
    (by_file,) = gallery.search(str(photo), "visible", top=5)
    assert by_file == gallery.search([photo], "visible", top=5)[0]
    assert by_file == gallery.search(features=gallery.features([by_file[0].row]), modality="visible", top=5)[0]
    assert len(gallery.search(images, "visible")) == 30
    assert {hit.camera for hit in gallery.search(photo, "visible", where=dict(exclude_camera=0))[0]} == {"1", "2"}
    assert by_file[0].row not in {
        h.row for h in gallery.search(photo, "visible", where=dict(exclude_row=by_file[0].row))[0]
    }
    with pytest.raises(ValueError, match="cameras"):
        gallery.search(photo, "visible", where=dict(cameras=1))
    with pytest.raises(ValueError, match="modality"):
        gallery.search(photo)
    with pytest.raises(ValueError, match="unit length"):
        gallery.search(features=np.ones((1, 16)))
    with pytest.raises(ValueError, match="no row 999"):
        gallery.features([999])


def test_a_filter_asks_for_cameras_times_modality_and_ids(gallery, images):
    times = by_pattern("([0-9]{2}).png", "%M")
    gallery.add(images, "visible", camera=by_pattern("cam([0-9])"), time=times, ids=by_pattern("(..).png"))
    (more,) = write_images(images.parent, 1, first=500)
    gallery.add(more, "infrared")

    def names(**where):
        return [int(Path(hit.path).stem) for hit in gallery.hits(where)]

    minute = seconds_of("1900-01-01T00:10")
    assert names(camera=[0, "2"]) == [*range(0, 30, 3), *range(2, 30, 3)]
    assert names(exclude_camera=[0, 1, 2]) == [500] and names(modality="infrared") == [500]
    assert sorted(names(since=minute, until=minute + 120)) == [10, 11]
    assert names(id=["07"]) == [7] and 500 not in names(until="2030-01-01")
    with pytest.raises(ValueError, match="since must be before until"):
        names(since="2026-01-02", until="2026-01-01")
    with pytest.raises(ValueError, match="a time is written"):
        names(since="yesterday")
    assert time_text(seconds_of("2026-11-25T22:14:03+01:00")) == "2026-11-25 21:14:03"


def test_descriptions_come_from_patterns_and_tables(tmp_path, images, gallery):
    table = tmp_path / "table.csv"
    names = [path.relative_to(images).as_posix() for path in sorted(images.rglob("*.png"))]
    table.write_text("path,camera,time,id\n" + "".join(f"{name},gate,2026-11-25T10:00,\n" for name in names))
    gallery.add(images, "visible", **by_table(table))
    assert {(hit.camera, hit.time, hit.id) for hit in gallery.hits()} == {("gate", "2026-11-25 10:00:00", None)}
    write_images(images, 1, first=70)
    with pytest.raises(ValueError, match=r"1 of \d+ images .*says nothing of them: 'cam1/0070\.png'"):
        gallery.add(images, "visible", **by_table(table))
    with pytest.raises(ValueError, match=r"^(\d+) of \1 images .*does not fit: 'cam0/0000\.png', .*, and \d+ more$"):
        gallery.add(images, "visible", camera=by_pattern("gate([0-9])"))
    for text, told in (("path,place\n", "expected the columns"), ("path,id\na,1\na,2\n", "twice")):
        table.write_text(text)
        with pytest.raises(ValueError, match=told):
            by_table(table)
    with pytest.raises(ValueError, match="needs a group"):
        by_pattern("cam")


def test_a_filter_that_somebody_types_names_what_there_is(images, gallery):
    with pytest.raises(ValueError, match="is empty: add images first"):
        gallery.check_filter()
    gallery.add(images, "visible", camera=by_pattern("cam([0-9])"), time="2026-11-25", ids=by_pattern(r"(\d)\.png"))
    gallery.check_filter(dict(camera=["0", "1"], id="3", since="2026-11-24"))
    for where, told in (
        (dict(camera="cam0"), "has the camera cam0.*there are 0, 1, 2$"),
        (dict(exclude_camera=["1", "7"]), "has the camera 7; "),
        (dict(id=["1", "x"]), "has the id x; there are 0, 1, 2"),
        (dict(modality="infrared"), "meets all conditions.*visible: 30, with times from 2026-11-25 00:00:00"),
        (dict(camera="0", since="2026-11-26"), "meets all conditions"),
    ):
        with pytest.raises(ValueError, match=told):
            gallery.check_filter(where)


def test_odd_names_are_kept_as_they_are(tmp_path, gallery):
    folder = tmp_path / "odd"
    folder.mkdir()
    names = ["=1+1.png", "a b\tc.png", "mädchen 🙂.png", "<b>.png", os.fsdecode(b"\xff\xfe.png")]
    for i, name in enumerate(names):
        (folder / name).write_bytes(b"%d, odd" % i)
    gallery.add(folder, "visible", camera="nördlich <1>")
    assert {hit.path for hit in Gallery.open(gallery.path).hits()} == {str(folder / name) for name in names}


def test_a_gallery_needs_neither_torch_nor_mmengine(tmp_path, images):
    script = (
        "import sys; sys.modules['torch'] = sys.modules['mmengine'] = None\n"
        "from toy_galleries import MadeUpEncoder\n"
        "from mscmreid.retrieval import answers, calibration, labelled, engines, ranked_lists\n"
        "from mscmreid.retrieval.gallery import Gallery\n"
        f"gallery = Gallery.create({str(tmp_path / 'g')!r}, MadeUpEncoder())\n"
        f"gallery.add({str(images)!r}, 'visible')\n"
        f"print(gallery.search({str(images / 'cam0' / '0003.png')!r}, 'visible')[0][0].path)\n"
    )
    path = os.pathsep.join([str(Path(mscmreid.__file__).parents[1]), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("0003.png")
