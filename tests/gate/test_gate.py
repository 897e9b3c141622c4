"""Files that come in: what is refused, and how it is told."""

import json
import os
import socket
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from attacks import bomb, central_entries, flipped, marked_as_folder, rezipped

from mscmreid import gate
from mscmreid.archives import check_archive
from mscmreid.arrays import map_npy, read_npz
from mscmreid.gate import DamagedFileError, damage_named, path_below, read_json, read_text


@pytest.fixture
def npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(2, 3), name=np.array(["a", "bc"]))
    return tmp_path / "a.npz"


def test_the_gate_needs_neither_torch_nor_mmengine():
    text = "import sys, mscmreid.gate, mscmreid.archives, mscmreid.arrays, mscmreid.fileio, mscmreid.tables\n"
    text += "import mscmreid.torch_files\nprint([n for n in ('torch', 'mmengine') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "device", "loop", "nothing", "zero byte"])
def test_only_regular_files_are_opened_and_nobody_waits(tmp_path, monkeypatch, kind):
    path = str(tmp_path / "f")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        os.mkdir(path)
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # a socket's path may not be long
        socket.socket(socket.AF_UNIX).bind("f")
    elif kind == "device":
        path = "/dev/zero"
    elif kind == "loop":
        os.symlink("f", path)
    elif kind == "zero byte":
        path += "\0"
    expected = FileNotFoundError if kind == "nothing" else DamagedFileError
    for read in (gate.read_bytes, read_text, read_json, read_npz, map_npy):
        with pytest.raises(expected, match=r"expected .*|embedded null"):
            read(path)


def test_a_link_to_a_file_is_followed(tmp_path, npz):
    os.symlink(npz, tmp_path / "link")
    assert set(read_npz(tmp_path / "link")) == {"x", "name"}


def test_sizes_are_bounded(tmp_path):
    (tmp_path / "big.json").write_text("[" + "1," * 1000 + "1]")
    with pytest.raises(DamagedFileError, match=r"big\.json: expected a list of at most 100 bytes, found 2,003"):
        read_json(tmp_path / "big.json", "a list", 100)


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("x"),
        RuntimeError("x"),
        zlib.error("x"),
        MemoryError(),
        KeyError(3),
        EOFError(),
        zipfile.BadZipFile("x"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "x"),
        RecursionError(),
    ],
)
def test_whatever_a_parser_raises_is_one_named_error(error):
    with pytest.raises(DamagedFileError, match=r"f\.bin: cannot be read as a thing"), damage_named("f.bin", "a thing"):
        raise error


@pytest.mark.parametrize("text", ["", "{", "[1, 2", '{"a": 1, "a": 2}', "\ufeff{}", "[" * 100_000, "nul"])
def test_what_is_no_json_is_named(tmp_path, text):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"f\.json: cannot be read as"):
        read_json(tmp_path / "f.json")
    (tmp_path / "f.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DamagedFileError, match=r"f\.json"):
        read_json(tmp_path / "f.json")


def test_arrays_come_back_and_can_be_written_to(npz):
    arrays = read_npz(npz)
    np.testing.assert_array_equal(arrays["x"], np.arange(6.0).reshape(2, 3))
    assert arrays["name"].tolist() == ["a", "bc"]
    arrays["x"][0] = 7


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 4)),
        np.zeros(()),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.array(["ä", ""]),
        np.ones((2, 0)),
        np.arange(5, dtype=">i4"),
    ],
)
def test_every_form_of_array(tmp_path, array):
    np.savez_compressed(tmp_path / "a.npz", a=array)
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz")["a"], array)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(map_npy(tmp_path / "a.npy"), array)


def test_every_flip_of_every_bit_is_harmless_or_named(npz, tmp_path):
    """The whole file, byte by byte; one bit of each, another one each time."""
    content, whole = npz.read_bytes(), read_npz(npz)
    outcomes = {"named": 0, "same": 0}
    for position in range(len(content)):
        (tmp_path / "f.npz").write_bytes(flipped(content, position, position % 8))
        try:
            found = read_npz(tmp_path / "f.npz")
        except DamagedFileError as error:
            assert "f.npz" in str(error)
            outcomes["named"] += 1
        else:
            assert set(found) == set(whole)
            for name, array in whole.items():
                np.testing.assert_array_equal(found[name], array)
                assert found[name].dtype == array.dtype
            outcomes["same"] += 1
    assert outcomes["named"] > 0.8 * len(content)  # the rest are dates, versions and the like


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_off_archive_is_named(npz, share):
    npz.write_bytes(npz.read_bytes()[: int(share * npz.stat().st_size)])
    with pytest.raises(DamagedFileError, match=r"a\.npz"):
        read_npz(npz)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = bomb(tmp_path / "b.npz")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DamagedFileError, match=r"more than 100 times"):
        read_npz(path)


@pytest.mark.parametrize(
    "attack", ["twice", "folder", "encrypted", "upwards", "absolute", "prefix", "suffix", "count", "overlap", "names"]
)
def test_archives_that_readers_could_take_in_two_ways_are_refused(npz, attack):
    content = npz.read_bytes()
    first, second = central_entries(content)
    if attack == "twice":
        with zipfile.ZipFile(npz, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", b"other")
        content = npz.read_bytes()
    elif attack == "folder":
        content = marked_as_folder(content, b"x.npy")
    elif attack == "encrypted":
        content = flipped(content, first + 8)
    elif attack in ("upwards", "absolute"):
        rezipped(npz, npz.with_name("r.npz"), extra=[(("../" if attack == "upwards" else "/") + "e.npy", b"")])
        content = npz.with_name("r.npz").read_bytes()
    elif attack == "prefix":
        content = b"PK\3\4 another archive" + content
    elif attack == "suffix":
        content += b"\0"
    elif attack == "count":
        content = flipped(flipped(content, len(content) - 14), len(content) - 12)
    elif attack == "overlap":
        content = content[: second + 42] + struct.pack("<L", 0) + content[second + 46 :]
    elif attack == "names":
        content = content.replace(b"x.npy", b"y.npy", 1)
    npz.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.npz"):
        read_npz(npz)


def test_packed_entries_are_refused_where_they_must_be_stored(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(9))
    assert check_archive(tmp_path / "a.npz", "an archive") == ["x.npy"]
    with pytest.raises(DamagedFileError, match="is packed"):
        check_archive(tmp_path / "a.npz", "an archive", stored=True)


def test_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([1, "a", None], dtype=object))
    np.save(tmp_path / "a.npy", np.array([None]))
    for read, name in ((read_npz, "a.npz"), (map_npy, "a.npy")):
        with pytest.raises(DamagedFileError, match="unpickling: refused"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b[:-1],
        lambda b: b + b"\0",
        lambda b: b.replace(b"(2, 3)", b"(9, 9)"),
        lambda b: b.replace(b"(2, 3)", b"(-2,3)"),
        lambda b: b[:9] + b"\xff" + b[10:],
        lambda b: b.replace(b"{", b"("),
        lambda b: b"x" + b,
    ],
)
def test_a_mapped_file_must_have_the_length_it_says(tmp_path, change):
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    content = (tmp_path / "a.npy").read_bytes()
    assert change(content) != content
    (tmp_path / "a.npy").write_bytes(change(content))
    with pytest.raises(DamagedFileError, match=r"a\.npy"):
        map_npy(tmp_path / "a.npy")


def test_images_are_read_below_the_folder_only(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "in", outside):
        folder.mkdir(parents=True)
    os.symlink(outside, root / "out")
    os.symlink(root / "in", root / "inner")
    os.symlink(root, tmp_path / "alias")
    for base in (root, tmp_path / "alias"):
        for name in ("in/a.png", "inner/a.png", "a..b/c.png", "a.png"):
            assert path_below(base, name) == base / name
        for name in ("../outside/a.png", "in/../../x", str(outside / "a.png"), "out/a.png", "", "a\0", "..\\x", "\\x"):
            with pytest.raises(DamagedFileError, match="only files below the data root"):
                path_below(base, name)


def test_a_long_message_is_cut_and_in_one_line():
    text = str(gate.damaged("f", "a\nb " * 500))
    assert "\n" not in text and len(text) < 500 and text.startswith("f: a b")
    assert json.dumps(text)
