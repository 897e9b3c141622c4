"""The file of decoded images: its content, its key, builders that die, builders that meet."""

import copy
import errno
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import layouts
import numpy as np
import pytest

from mscmreid.datasets import SYSUMM01, load_image
from mscmreid.datasets import cache as image_cache
from mscmreid.datasets.cache import cache_key, find_undecodable, open_or_build
from mscmreid.datasets.listing import FolderScan, ImageRow
from mscmreid.gate import DamagedFileError
from mscmreid.intake import UnreadableImageError

SIZE = (16, 8)


@pytest.fixture
def root(tmp_path):
    """A folder of 40 images."""
    for number in range(40):
        layouts.write_image(tmp_path / "images" / f"{number:02d}.png", seed=number)
    return str(tmp_path)


def rows_of(root):
    return [ImageRow(f"images/{n}", s, t, 1, 1, "visible") for n, s, t in FolderScan(root).images("images")]


def build(root, **options):
    return open_or_build(rows_of(root), root, SIZE, "set", **options)


def files(root, suffix):
    home = os.path.join(root, ".mscmreid_cache")
    return sorted(name for name in os.listdir(home) if name.endswith(suffix)) if os.path.isdir(home) else []


@pytest.fixture
def messages(monkeypatch):
    found = []
    monkeypatch.setattr(image_cache, "log", lambda text, level=20: found.append(text))
    return found


@pytest.mark.parametrize("num_workers", [1, 3])
def test_content_is_what_direct_loading_gives(root, num_workers):
    cache = build(root, num_workers=num_workers)
    rows = rows_of(root)
    assert len(cache) == len(rows) == 40
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(cache[index], load_image(os.path.join(root, row.path), SIZE))


def test_it_is_a_plain_npy_file_with_a_description(root):
    cache = build(root)
    array = np.load(cache.path, allow_pickle=False)
    assert array.shape == (40, *SIZE, 3) and array.dtype == np.uint8
    with open(cache.path[:-4] + ".json") as file:
        description = json.load(file)
    assert (description["images"], description["size"], description["undecodable"]) == (40, [16, 8], {})


def test_a_cache_in_the_earlier_order_of_bytes_is_not_taken_for_this_one(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "FORMAT", 1)
        earlier = build(root).path
    assert build(root).path != earlier


def test_the_second_time_it_is_opened_and_not_built(root, monkeypatch):
    path = build(root).path
    monkeypatch.setattr(image_cache, "load_image", None)  # decoding would fail
    assert build(root).path == path


def test_pixels_cannot_be_written_to(root):
    with pytest.raises(ValueError, match="read-only"):
        build(root)[0][:] = 0


def test_any_change_makes_a_new_cache_and_the_old_one_stays(root, messages):
    paths = {build(root).path}
    assert not any("other cache" in text for text in messages)
    os.utime(os.path.join(root, "images/00.png"), ns=(1, 1))
    paths.add(build(root).path)
    with open(os.path.join(root, "images/01.png"), "ab") as file:
        file.write(b"\0")
    paths.add(build(root).path)
    os.rename(os.path.join(root, "images/02.png"), os.path.join(root, "images/02b.png"))
    paths.add(build(root).path)
    os.remove(os.path.join(root, "images/03.png"))
    paths.add(build(root).path)
    assert any("4 other cache(s)" in text for text in messages)
    assert len(paths) == 5 and all(os.path.exists(path) for path in paths)


def test_key_depends_on_path_bytes_time_and_size_only():
    row = ImageRow("a.png", 10, 5, 1, 1, "visible")
    key = cache_key([row], (4, 2))
    changed = [ImageRow("b.png", 10, 5, 1, 1, "visible"), ImageRow("a.png", 11, 5, 1, 1, "visible")]
    changed.append(ImageRow("a.png", 10, 6, 1, 1, "visible"))
    keys = {key, cache_key([row], (2, 4)), *(cache_key([other], (4, 2)) for other in changed)}
    assert len(keys) == 5
    assert cache_key([ImageRow("a.png", 10, 5, 2, 3, "infrared", "query")], (4, 2)) == key


def test_starting_reads_no_image(root, monkeypatch):
    build(root)
    opened = []
    monkeypatch.setattr(image_cache, "load_image", lambda *args: opened.append(args))
    build(root)
    assert not opened


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_only_the_path_travels_to_other_processes(root, clone):
    cache = build(root)
    assert cache[3].any()  # mapped
    assert len(pickle.dumps(cache)) < 1000
    np.testing.assert_array_equal(clone(cache)[3], cache[3])


def test_a_damaged_cache_is_built_again(root, messages):
    path = build(root).path
    with open(path, "r+b") as file:
        file.truncate(1000)
    cache = build(root)
    assert any("no good" in text for text in messages)
    assert cache.images[39].any()


def test_a_cache_without_its_description_does_not_count(root):
    path = build(root).path
    os.remove(path[:-4] + ".json")
    assert build(root).path == path
    assert files(root, ".json")


class TestUndecodable:
    @pytest.fixture
    def damaged(self, root):
        with open(os.path.join(root, "images/07.png"), "r+b") as file:
            file.truncate(60)
        return root

    def test_is_recorded_with_its_path_and_the_others_are_there(self, damaged):
        cache = build(damaged)
        assert list(cache.undecodable) == ["images/07.png"]
        assert os.path.join(damaged, "images/07.png") in cache.undecodable["images/07.png"]
        assert not cache[7].any() and cache[6].any()

    def test_is_found_without_a_cache_too(self, damaged):
        assert list(find_undecodable(rows_of(damaged), damaged, SIZE)) == ["images/07.png"]

    def test_is_tried_again_in_case_the_reason_has_passed(self, root, monkeypatch):
        def no_permission(path, size, *resize):
            if path.endswith("07.png"):
                raise UnreadableImageError(f"image {path!r} cannot be decoded: PermissionError")
            return load_image(path, size, *resize)

        with monkeypatch.context() as patch:
            patch.setattr(image_cache, "load_image", no_permission)
            first = build(root)
            assert list(first.undecodable) == ["images/07.png"]
        second = build(root)
        assert second.path == first.path and not second.undecodable and second[7].any()


class TestDamagedImageInADataSet:
    @pytest.fixture
    def sysu(self, tmp_path):
        root = layouts.make_sysu(tmp_path / "SYSU-MM01")
        (root / "cam1/0003/0002.jpg").write_bytes(b"no image")
        return root

    @pytest.mark.parametrize("cache", [True, False])
    def test_stops_the_run_with_its_path(self, sysu, cache):
        with pytest.raises(UnreadableImageError, match=str(sysu / "cam1/0003/0002.jpg")):
            dataset = SYSUMM01(str(sysu), split="test", image_size=SIZE, check_counts=False, cache=cache)
            for index in range(len(dataset)):
                dataset[index]

    def test_leaves_other_splits_alone(self, sysu):
        assert len(SYSUMM01(str(sysu), split="trainval", image_size=SIZE, check_counts=False)) == 44

    @pytest.mark.parametrize("cache", [True, False])
    def test_is_skipped_and_counted_on_request(self, sysu, cache, monkeypatch):
        texts = []
        monkeypatch.setattr("mscmreid.datasets.base.log", lambda text, level=20: texts.append(text))
        options = dict(split="test", image_size=SIZE, check_counts=False, cache=cache, on_error="skip")
        dataset = SYSUMM01(str(sysu), **options)
        assert len(dataset) == 23
        assert "cam1/0003/0002.jpg" not in dataset.rows()["path"]
        assert any("1 skipped" in text for text in texts)
        for index, path in enumerate(dataset.rows()["path"]):  # cached rows still fit their paths
            np.testing.assert_array_equal(dataset[index]["inputs"].numpy(), load_image(str(sysu / path), SIZE))

    def test_cannot_be_skipped_in_training(self, sysu):
        with pytest.raises(ValueError, match="on_error='skip' is for testing"):
            SYSUMM01(str(sysu), split="train", on_error="skip")


class TestWhereItLies:
    def test_beside_the_images_unless_told_otherwise(self, root, tmp_path):
        assert os.path.dirname(build(root).path) == os.path.join(root, ".mscmreid_cache")
        assert os.path.dirname(build(root, cache_dir=str(tmp_path / "c")).path) == str(tmp_path / "c")

    def test_in_the_users_cache_where_the_data_are_read_only(self, root, tmp_path, monkeypatch, messages):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: root != os.path.dirname(path) and real(path, mode))
        assert os.path.dirname(build(root).path) == str(tmp_path / "home/mscmreid")
        assert any("not writable" in text and "home/mscmreid" in text for text in messages)

    def test_a_finished_one_is_used_though_the_folder_is_read_only(self, root, monkeypatch):
        path = build(root).path
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        assert build(root).path == path

    def test_no_folder_at_all_is_an_error_that_says_so(self, root, monkeypatch):
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(PermissionError, match=r"no folder for the image cache .* cache=False"):
            build(root, cache_dir=os.path.join(root, "c"))


class TestFullDisk:
    def test_is_seen_before_the_work(self, root, monkeypatch):
        monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
        with pytest.raises(OSError, match=r"needs .* GB, but .* are free\. Make room") as caught:
            build(root)
        assert caught.value.errno == errno.ENOSPC
        assert not files(root, ".npy") and not files(root, ".tmp")

    def test_during_the_work_leaves_nothing(self, root, monkeypatch):
        def full(fd, data, offset):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(image_cache.os, "pwrite", full)
        with pytest.raises(OSError, match="Make room"):
            build(root)
        assert not files(root, ".npy") and not files(root, ".tmp") and not files(root, ".json")

    def test_short_writes_go_on_where_they_stopped(self, root, monkeypatch):
        real = os.pwrite
        monkeypatch.setattr(image_cache.os, "pwrite", lambda fd, data, offset: real(fd, data[:100], offset))
        cache = build(root)
        monkeypatch.undo()
        np.testing.assert_array_equal(cache[39], load_image(os.path.join(root, "images/39.png"), SIZE))


SLOW_BUILDER = """
import sys, time
sys.path.insert(0, {tests!r})
import test_cache
from mscmreid.datasets import cache
real = cache.load_image
def slow(path, size, *resize):
    if path.endswith("35.png"):
        print("decoding", flush=True)
        time.sleep(60)
    return real(path, size, *resize)
cache.load_image = slow
test_cache.build({root!r}, num_workers=1)
"""


def test_a_killed_builder_leaves_no_cache_and_the_next_one_cleans_up(root, messages):
    code = SLOW_BUILDER.format(tests=os.path.dirname(__file__), root=root)
    builder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert builder.stdout is not None and "decoding\n" in iter(builder.stdout.readline, "")
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert len(files(root, ".tmp")) == 1 and not files(root, ".npy")
    cache = build(root)
    assert cache[39].any()
    assert not files(root, ".tmp") and len(files(root, ".npy")) == 1
    assert any("left in" in text for text in messages)


def _build_and_count(root, start, queue):
    decoded = []
    real = image_cache.load_image

    def counted(path, size, *resize):
        decoded.append(path)
        time.sleep(0.005)
        return real(path, size, *resize)

    image_cache.load_image = counted
    rows = rows_of(root)
    start.wait()
    cache = open_or_build(rows, root, SIZE, "set", num_workers=1)
    queue.put((len(decoded), int(cache.images.astype(np.int64).sum())))


def test_of_several_processes_one_builds_and_all_read_the_same(root):
    context = multiprocessing.get_context("spawn")
    start, queue = context.Barrier(2), context.Queue()
    builders = [context.Process(target=_build_and_count, args=(root, start, queue)) for _ in range(2)]
    for builder in builders:
        builder.start()
    results = [queue.get(timeout=120) for _ in builders]
    for builder in builders:
        builder.join()
    assert sorted(count for count, _ in results) == [0, 40]
    assert len({total for _, total in results}) == 1


def test_an_error_of_a_builder_frees_the_lock(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(image_cache.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "broken disk")))
        with pytest.raises(OSError, match="broken disk"):
            build(root)
    assert build(root)[0].any()


def test_where_the_file_system_has_no_locks_it_is_built_all_the_same(root, monkeypatch, messages):
    def no_locks(lock, **kwargs):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(image_cache.FileLock, "acquire", no_locks)
    assert build(root)[0].any()
    assert any("cannot be locked" in text and "No locks available" in text for text in messages)


def write_over(path, position, value):
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(value)


def plain_checksum(image):
    """The twin of ``checksum``: word by word, in Python's integers."""
    data = image.tobytes()
    data += bytes(-len(data) % 512)
    total = 0
    for block in range(len(data) // 512):
        words = (data[512 * block + 8 * i : 512 * block + 8 * i + 8] for i in range(64))
        total += (2 * block + 1) * sum(int.from_bytes(word, sys.byteorder) for word in words)
    return total % 2**64


@pytest.mark.parametrize("shape", [(1, 1, 3), (16, 8, 3), (16, 16, 3), (7, 5, 3), (64, 24, 3)])
def test_the_checksum_is_its_twin_and_sees_every_bit(shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    whole = image_cache.checksum(image)
    assert whole == plain_checksum(image)
    for position in rng.integers(0, image.size, 100):
        changed = image.copy()
        changed.reshape(-1)[position] ^= 1 << rng.integers(8)
        assert image_cache.checksum(changed) != whole
    blocks = image.reshape(-1)[: image.size // 512 * 512].reshape(-1, 512)
    if len(blocks) > 1:  # sectors that changed places
        blocks[[0, 1]] = blocks[[1, 0]]
        assert image_cache.checksum(image) != whole


@pytest.mark.parametrize("how", ["flipped", "zeroed"])
def test_damaged_pixels_are_named_and_the_next_run_builds_anew(root, messages, how):
    cache = build(root)
    whole = cache.images.copy()
    write_over(
        cache.path,
        128 + 5 * 3 * 16 * 8 + 17,
        bytes([whole.reshape(40, -1)[5, 17] ^ 4]) if how == "flipped" else bytes(99),
    )
    opened = build(root)
    np.testing.assert_array_equal(opened[4], whole[4].transpose(2, 0, 1))
    with pytest.raises(DamagedFileError, match=r"\.npy: image 5 differs from its checksum"):
        opened[5]
    assert not any("no good" in text for text in messages)
    np.testing.assert_array_equal(build(root)[5], whole[5].transpose(2, 0, 1))


def test_every_process_compares_for_itself(root):
    cache = build(root)
    assert cache[5].any()
    write_over(cache.path, 128 + 5 * 3 * 16 * 8, bytes(50))
    cache[5]  # seen by this process already
    with pytest.raises(DamagedFileError):
        pickle.loads(pickle.dumps(cache))[5]


def test_a_damaged_image_of_the_cache_is_decoded_from_its_file(tmp_path, messages):
    options = dict(data_root=str(layouts.make_sysu(tmp_path)), split="test", image_size=SIZE, check_counts=False)
    dataset = SYSUMM01(**options)
    whole = [dataset[i]["inputs"].clone() for i in range(4)]
    row = dataset.get_data_info(2)["cache_row"]
    write_over(dataset.cache.path, 128 + row * 3 * 16 * 8, bytes(60))
    again = SYSUMM01(**options)
    assert all(bool((again[i]["inputs"] == whole[i]).all()) for i in range(4))
    assert sum("differs from its checksum" in text for text in messages) == 1


@pytest.mark.parametrize("damage", ["undecodable", "text", "empty", "list", "number", "fifo"])
def test_a_damaged_description_is_built_anew(root, messages, damage):
    path = build(root).path
    name = path[:-4] + ".json"
    with open(name) as file:
        text = file.read()
    os.remove(name)
    if damage == "fifo":
        os.mkfifo(name)
    else:
        changed = dict(
            undecodable=text.replace('"undecodable": {}', '"undecodable": {"images/00.png": "x"}'),
            text=text[:50],
            empty="",
            list="[1, 2]",
            number=text.replace('"images": 40', '"images": 41'),
        )
        assert changed[damage] != text
        with open(name, "w") as file:
            file.write(changed[damage])
    cache = build(root)
    assert any("no good" in message for message in messages)
    assert cache.undecodable == {} and cache[39].any()
