"""Images, lists and folders that a user names; everything that cannot be read is named at once."""

import csv
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tool_modules import load_tool
from without_packages import run_without

from mscmreid.intake import Intake, UnreadableImageError, check_images, find_images, unreadable_images, write_skipped


def image(path, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 20, 3), value, dtype=np.uint8)).save(path)
    return path


def test_a_file_a_list_a_folder_and_several_of_them(tmp_path):
    a, b, c = (image(tmp_path / name) for name in ("d/a.jpg", "d/sub/b.PNG", "c.png"))
    (tmp_path / "some.txt").write_text("d/a.jpg\n\nc.png\n")
    (tmp_path / "some.csv").write_text(f"who,path\n1,{b}\n2,c.png\n")
    assert find_images(c) == find_images(str(c)) == [c]
    assert find_images(tmp_path / "d") == [a, b]
    assert find_images(tmp_path / "some.txt") == [a, c]
    assert find_images(tmp_path / "some.csv") == [b, c]
    assert find_images([c, tmp_path / "d", tmp_path / "some.txt"]) == [c, a, b]


def test_order_of_a_folder_is_that_of_its_paths(tmp_path):
    names = ["b.png", "a/2.jpg", "a/1.JPG", "a-b/x.png", "Ab.png"]
    for name in (*names, ".hidden/c.png", ".d.png"):
        image(tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == sorted(names)


def test_links_in_a_ring_end_and_are_named(tmp_path, caplog):
    only = image(tmp_path / "a/only.png")
    (tmp_path / "a/again").symlink_to(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with caplog.at_level(logging.WARNING):
        assert find_images(tmp_path) == [only]
    assert f"'{tmp_path}/b' leads to '{tmp_path}/a', which is searched already" in caplog.text
    image(tmp_path / "elsewhere/x.png")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/link").symlink_to(tmp_path / "elsewhere")
    assert find_images(tmp_path / "c") == [tmp_path / "c/link/x.png"]


def test_folders_that_cannot_be_read_are_an_error_or_named(tmp_path, monkeypatch):
    good = image(tmp_path / "good.png")
    image(tmp_path / "locked/lost.png")
    scandir = os.scandir

    def locked(path):  # root may read everything
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(UnreadableImageError, match=r"folder '.*locked' cannot be read \(Permission denied\)"):
        find_images(tmp_path)
    skipped = {}
    assert find_images(tmp_path, skipped) == [good]
    assert list(skipped) == [str(tmp_path / "locked")]
    with pytest.raises(PermissionError, match="cannot be read"):
        find_images(tmp_path / "locked")


def test_kinds_that_are_not_read_are_named(tmp_path):
    good = image(tmp_path / "good.png")
    (tmp_path / "IMG_1.HEIC").touch()
    (tmp_path / "notes.md").touch()
    with pytest.raises(UnreadableImageError, match=r"IMG_1.HEIC: images of kind \.heic are not read, convert it"):
        find_images(tmp_path)
    skipped = {}
    assert find_images(tmp_path, skipped) == [good] and list(skipped) == [str(tmp_path / "IMG_1.HEIC")]


def test_missing_lines_of_a_list_are_named_together(tmp_path):
    good = image(tmp_path / "good.png")
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "l.txt").write_text("good.png\nnone.png\nx.jpg\n")
    with pytest.raises(
        UnreadableImageError, match=r"2 images.*l.txt, line 2: .*none.png is missing; .*line 3: .*folder"
    ):
        find_images(tmp_path / "l.txt")
    skipped = {}
    assert find_images(tmp_path / "l.txt", skipped) == [good] and len(skipped) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "path;pid\na.png;1\n", r"l.csv', line 1: .*column 'path', separated by commas"),
        ("l.csv", "", "column 'path'"),
        ("l.txt", "\n\n", "names no image"),
        ("l.txt", b"\xff\xfe\x00", "no list of images in UTF-8"),
        ("l.pdf", "x", "neither an image"),
    ],
)
def test_lists_that_are_none(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        find_images(tmp_path / name)


def test_nothing_there(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no image in .*empty"):
        find_images(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"no '.*photo.jpg': expected an image, a list"):
        find_images(tmp_path / "photo.jpg")
    with pytest.raises(FileNotFoundError, match="no image in no source"):
        find_images([])


def test_all_unreadable_ones_at_once_and_their_csv(tmp_path):
    good = image(tmp_path / "good.png")
    (tmp_path / "x.jpg").mkdir()  # a folder with an image's name is a folder
    inside = image(tmp_path / "x.jpg/in.png")
    (tmp_path / "link.png").symlink_to("nowhere")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    paths = find_images(tmp_path)
    assert {good, inside} < set(paths)
    bad = check_images(paths)
    assert sorted(Path(path).name for path in bad) == ["broken.jpg", "dot.png", "link.png"]
    assert "link to nothing" in bad[str(tmp_path / "link.png")] and "least side is 16" in bad[str(tmp_path / "dot.png")]
    assert sorted(Path(p).name for p in check_images(paths, Intake(min_side=1))) == ["broken.jpg", "link.png"]
    error = unreadable_images(bad)
    assert all(path in str(error) for path in bad) and "--skip-unreadable" in str(error) and error.unreadable == bad
    write_skipped(bad, tmp_path / "skipped.csv")
    with (tmp_path / "skipped.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *map(list, bad.items())]


def test_many_unreadable_ones_are_counted():
    bad = {f"{i}.png": f"image '{i}.png' is broken" for i in range(25)}
    text = str(unreadable_images(bad))
    assert text.startswith("25 images") and "and 5 more" in text and "'19.png'" in text and "'20.png'" not in text


def test_it_needs_neither_torch_nor_mmengine(tmp_path):
    path = image(tmp_path / "a.png")
    code = f"""
from mscmreid.intake import find_images, open_image
print(open_image(find_images({str(path)!r})[0]).shape)
"""
    assert run_without(code).strip() == "(20, 20, 3)"


def test_ranking_names_all_unreadable_ones_of_both_sides_before_it_loads_a_model(tmp_path):
    image(tmp_path / "night/a.png")
    (tmp_path / "night/broken.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((20, 20), dtype=np.uint16)).save(tmp_path / "night/deep.png")
    image(tmp_path / "day/b.png")
    (tmp_path / "day/c.heic").touch()
    folders = ["--query", str(tmp_path / "night"), "--gallery", str(tmp_path / "day"), "--out", str(tmp_path / "out")]
    words = ["no_config.py", "no.pth", *folders, "--query-modality", "infrared"]
    with pytest.raises(UnreadableImageError, match=r"^3 images.*c\.heic.*broken\.png.*deep\.png.*--skip-unreadable"):
        load_tool("rank").main(words)
    with pytest.raises(UnreadableImageError) as found:
        load_tool("rank").main([*words, "--depth-range", "0", "4095"])
    assert len(found.value.unreadable) == 2 and "deep.png" not in str(found.value)
