"""Decoded images as one memory-mapped file, made once and shared by every process that reads it.

A cache is a ``.npy`` file, (N, H, W, 3) uint8 (pixel by pixel, as Pillow decodes and as channels_last convolutions
read), with a ``.json`` beside it. Its name has a hash of every image's
relative path, bytes and modification time and of the target size, so a changed image makes a new cache (the old one
stays until somebody deletes it). It is written to a temporary name and moved into place, under a lock that the
operating system takes back from a process that dies: several processes may ask for it at the same moment, one builds
it, and a killed one leaves nothing that could be mistaken for a cache.

The description holds a checksum of every image and one of itself. A process compares an image when it first reads it;
one that differs is decoded from its file instead, and the description goes, so that the next run builds the cache anew.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice

import numpy as np
import PIL
from filelock import FileLock, Timeout

from mscmreid.arrays import check_digest, checksum, content_digest, map_npy
from mscmreid.cores import available_cores
from mscmreid.datasets.listing import ImageRow
from mscmreid.datasets.loading import LANCZOS, Resize, load_image
from mscmreid.gate import DamagedFileError, damaged, read_json
from mscmreid.intake import PUBLISHED, Intake, UnreadableImageError
from mscmreid.progress import Progress, log

FORMAT = 3  # 1 was (N, 3, H, W), 2 had no checksums
CHUNK = 16  # images that a worker decodes before it writes
DIGEST = "content_sha256"
REMEDY = "The next run that is started builds it anew"


class ImageCache:
    """An opened cache: ``cache[row]`` is a read-only (3, H, W) uint8 view of the mapped file, (H, W, 3) in memory.

    Only the path travels to other processes; each maps the file itself, and the system shares the pages.

    Attributes:
        path: the ``.npy`` file.
        undecodable: relative path -> reason, for images that could not be decoded (their pixels are 0).

    Raises:
        FileNotFoundError: a file of the two is missing.
        DamagedFileError: one is damaged, which the checksum of the description or the length of the other shows.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.undecodable: dict[str, str] = _read_description(path)["undecodable"]
        self._forget()

    def _forget(self) -> None:
        self._map: np.ndarray | None = None
        self._checksums: np.ndarray | None = None
        self._seen = bytearray()  # for each row, whether this process has compared it
        self._said: set[str] = set()

    @property
    def images(self) -> np.ndarray:
        """(N, H, W, 3) uint8, read-only, mapped on first use; nothing is compared."""
        if self._map is None:
            self._map = map_npy(self.path, "an image cache")
        return self._map

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> np.ndarray:
        """The image of a row, compared with its checksum when this process first asks for it.

        Raises:
            DamagedFileError: it differs. The description is deleted, so that the next run builds the cache anew.
        """
        image = self.images[row]
        if self._checksums is None:
            try:
                self._checksums = _checksums_of(_read_description(self.path))
            except FileNotFoundError as error:
                raise damaged(self.path, "another process found damage in it", REMEDY) from error
            self._seen = bytearray(len(self._checksums))
        if not self._seen[row]:
            if checksum(image) != self._checksums[row]:
                with contextlib.suppress(OSError):
                    os.remove(_description_path(self.path))
                raise damaged(self.path, f"image {row} differs from its checksum", REMEDY)
            self._seen[row] = 1
        return image.transpose(2, 0, 1)

    def get(self, row: int) -> np.ndarray | None:
        """The image of a row, or None where it is damaged, which is said once."""
        try:
            return self[row]
        except DamagedFileError as error:
            if str(error) not in self._said:
                log(f"{error} Until then such images are decoded from their files", logging.WARNING)
            self._said.add(str(error))
            return None

    def __getstate__(self) -> dict:
        return dict(path=self.path, undecodable=self.undecodable)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()


def write_description(
    path: str,
    checksums: np.ndarray,
    size: tuple[int, int],
    undecodable: Mapping[str, str],
    resize: object = LANCZOS,
    temporary: str | None = None,
) -> None:
    """Write what lies beside a cache: what it is made of, (N,) uint64 checksums of its images, a digest of it all.

    Args:
        path: of the ``.npy`` file.
        temporary: where it is written to before it is moved into place.
    """
    content = dict(
        format=FORMAT,
        images=len(checksums),
        size=list(size),
        resize=f"RGB, Pillow {resize}",
        pillow=PIL.__version__,
        undecodable=dict(undecodable),
        checksums=checksums.astype("<u8").tobytes().hex(),
    )
    temporary = temporary or _description_path(path) + ".tmp"
    with open(temporary, "w", encoding="utf-8") as text:
        json.dump({**content, DIGEST: content_digest({}, content)}, text, indent=1)
    os.replace(temporary, _description_path(path))


def _read_description(path: str) -> dict:
    """The description of the cache at ``path``, compared with its digest."""
    name = _description_path(path)
    content = read_json(name, "the description of an image cache")
    if not isinstance(content, dict) or DIGEST not in content:
        raise damaged(name, "expected the description of an image cache, found something else", REMEDY)
    check_digest(content.pop(DIGEST), {}, content, name, REMEDY)
    return content


def _checksums_of(description: dict) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(description["checksums"]), dtype="<u8")


def cache_key(
    rows: Sequence[ImageRow], size: tuple[int, int], resize: Resize = LANCZOS, intake: Intake = PUBLISHED
) -> str:
    """Hash of what the cache is made from: paths, bytes, modification times, target size, ways of reading, resizing."""
    lines = [f"{FORMAT} RGB, Pillow {resize} {size[0]} {size[1]}", *([] if intake == PUBLISHED else [str(intake)])]
    lines += [f"{row.path}\0{row.size}\0{row.mtime_ns}" for row in rows]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:20]


def open_or_build(
    rows: Sequence[ImageRow],
    data_root: str,
    size: tuple[int, int],
    name: str,
    cache_dir: str | None = None,
    num_workers: int | None = None,
    resize: Resize = LANCZOS,
    intake: Intake = PUBLISHED,
) -> ImageCache:
    """The cache of these images, built if there is none.

    Args:
        rows: the images, in cache order.
        data_root: what their paths are relative to.
        size: (H, W).
        name: what the file's name begins with.
        cache_dir: folder; None means ``data_root/.mscmreid_cache``, or ``~/.cache/mscmreid`` where that is read-only.
        num_workers: decoding threads (Pillow decodes outside Python's lock); None means one a core.
        resize: with which filter.
        intake: how images are read.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    stem = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}_{size[0]}x{size[1]}_{cache_key(rows, size, resize, intake)}"
    shape = (len(rows), *size, 3)
    homes = [os.path.join(data_root, ".mscmreid_cache"), user_cache_dir()] if cache_dir is None else [cache_dir]
    for home in homes:
        cache = _open(os.path.join(home, stem + ".npy"), shape, data_root, intake)
        if cache is not None:
            return cache
    home = _writable(homes)
    path = os.path.join(home, stem + ".npy")
    with _folder_lock(home) as locked:
        cache = _open(path, shape, data_root, intake)  # another process may have built it while this one waited
        if cache is not None:
            return cache
        if locked:
            _remove_temporaries(home)
        _build(path, rows, data_root, size, num_workers or available_cores(), resize, intake)
        _mention_older(path, stem.rpartition("_")[0])
    return ImageCache(path)


def find_undecodable(
    rows: Sequence[ImageRow],
    data_root: str,
    size: tuple[int, int],
    num_workers: int | None = None,
    intake: Intake = PUBLISHED,
) -> dict[str, str]:
    """Relative path -> reason, for the images that cannot be decoded; decodes every one of them."""
    bad: dict[str, str] = {}
    workers = num_workers or available_cores()
    for _, _, found in _decoded(rows, data_root, size, workers, "checking images", intake=intake):
        bad.update(found)
    return bad


def user_cache_dir() -> str:
    """``mscmreid`` in the user's own cache folder."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mscmreid")


def _description_path(path: str) -> str:
    return path[: -len(".npy")] + ".json"


def _open(path: str, shape: tuple[int, ...], data_root: str, intake: Intake) -> ImageCache | None:
    """The cache at ``path`` if it is complete, and what it calls undecodable still is."""
    if not (os.path.exists(path) and os.path.exists(_description_path(path))):
        return None
    try:
        cache = ImageCache(path)
        if cache.images.shape != shape or cache.images.dtype != np.uint8:
            problem = f"expected {shape} uint8, found {cache.images.shape} {cache.images.dtype}"
        else:
            # A permission or a disk error may have passed without a trace in the file's size and time.
            healed = [image for image in cache.undecodable if _decodes(os.path.join(data_root, image), intake)]
            if not healed:
                return cache
            problem = f"{healed[0]!r} can be decoded now"
    except (ValueError, KeyError) as error:
        problem = str(error)
    log(f"the image cache {path!r} is no good ({problem}) and is built again", logging.WARNING)
    return None


def _decodes(path: str, intake: Intake) -> bool:
    try:
        load_image(path, (1, 1), LANCZOS, None, intake)
    except UnreadableImageError:
        return False
    return True


def _writable(homes: Sequence[str]) -> str:
    """The first folder that can be written to, made if need be."""
    problems = []
    for home in homes:
        try:
            os.makedirs(home, exist_ok=True)
            if not os.access(home, os.W_OK):
                raise PermissionError(errno.EACCES, "not writable")
        except OSError as error:
            problems.append(f"{home!r} ({error.strerror})")
            continue
        if problems:
            log(f"no image cache in {problems[0]}: using {home!r}", logging.WARNING)
        return home
    raise PermissionError(
        f"no folder for the image cache can be written: {', '.join(problems)}; set cache_dir, or cache=False"
    )


@contextlib.contextmanager
def _folder_lock(home: str) -> Iterator[bool]:
    """Hold the folder's lock; waits while another process has it. Yields False where the file system has no locks."""
    lock = FileLock(os.path.join(home, ".lock"))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"another process builds an image cache in {home!r}: waiting for it")
            lock.acquire(poll_interval=0.2)
    except (OSError, NotImplementedError) as error:
        log(f"{home!r} cannot be locked ({error}): several processes may build the cache", logging.WARNING)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def _remove_temporaries(home: str) -> None:
    """Take away what killed builders left. Only for the holder of the lock: nobody else is building then."""
    for entry in os.listdir(home):
        if entry.endswith(".tmp"):
            os.remove(os.path.join(home, entry))
            log(f"removed {entry!r}, left in {home!r} by a process that was killed")


def _build(
    path: str,
    rows: Sequence[ImageRow],
    data_root: str,
    size: tuple[int, int],
    num_workers: int,
    resize: Resize,
    intake: Intake,
) -> None:
    row_bytes = 3 * size[0] * size[1]
    total = row_bytes * len(rows)
    free = shutil.disk_usage(os.path.dirname(path)).free
    if free < total:
        raise _disk_full(path, total, f"{free / 1e9:.1f} GB are free")
    log(f"building the image cache {path!r}: {len(rows):,} images of {size[0]} x {size[1]}, {total / 1e9:.2f} GB")
    temporary = f"{path}.{socket.gethostname()}-{os.getpid()}.tmp"
    undecodable: dict[str, str] = {}
    checksums = np.zeros(len(rows), dtype=np.uint64)
    try:
        with open(temporary, "xb") as file:
            header = dict(descr="|u1", fortran_order=False, shape=(len(rows), *size, 3))
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            start = file.tell()
            # Plain writes, not a writable map: a full disk is then an error, not a bus error.
            for first, images, bad in _decoded(rows, data_root, size, num_workers, "image cache", resize, intake):
                _write_all(file.fileno(), images, start + first * row_bytes)
                checksums[first : first + len(images)] = [checksum(image) for image in images]
                undecodable.update(bad)
            os.fsync(file.fileno())
        write_description(path, checksums, size, undecodable, resize, temporary + ".json.tmp")
        os.replace(temporary, path)  # last: a cache without its description does not count as one
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(path, total, str(error.strerror)) from error
        raise
    finally:
        for left in (temporary, temporary + ".json.tmp"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(left)


def _mention_older(path: str, prefix: str) -> None:
    """Say which caches of the same data set and size lie beside a new one: nobody deletes them but the user."""
    home, own = os.path.split(path)
    older = [
        name for name in os.listdir(home) if name.startswith(prefix + "_") and name.endswith(".npy") and name != own
    ]
    if older:
        total = sum(os.path.getsize(os.path.join(home, name)) for name in older) / 1e9
        log(f"{len(older)} other cache(s) of it lie in {home!r} ({total:.2f} GB); delete what nothing uses: {older}")


def _disk_full(path: str, total: int, found: str) -> OSError:
    return OSError(
        errno.ENOSPC,
        f"the image cache {path!r} needs {total / 1e9:.1f} GB, but {found}. Make room (older caches of the same data "
        "set may be deleted), set cache_dir to another disk, or go on without a cache (cache=False)",
    )


def _decoded(
    rows: Sequence[ImageRow],
    data_root: str,
    size: tuple[int, int],
    num_workers: int,
    title: str,
    resize: Resize = LANCZOS,
    intake: Intake = PUBLISHED,
) -> Iterator[tuple[int, np.ndarray, dict[str, str]]]:
    """(first row, (n, H, W, 3) uint8, path -> reason of the undecodable ones), chunk by chunk as they get ready."""

    def decode(first: int) -> tuple[int, np.ndarray, dict[str, str]]:
        chunk = rows[first : first + CHUNK]
        images = np.zeros((len(chunk), *size, 3), dtype=np.uint8)
        bad = {}
        for image, row in zip(images, chunk, strict=True):
            try:
                path = os.path.join(data_root, row.path)
                image[:] = load_image(path, size, resize, None, intake).transpose(1, 2, 0)
            except UnreadableImageError as error:
                bad[row.path] = str(error)
        return first, images, bad

    progress = Progress(title, len(rows))
    waiting = iter(range(0, len(rows), CHUNK))
    executor = ThreadPoolExecutor(num_workers)
    try:
        # A few chunks in the air, so that memory stays bounded however slow the disk is.
        running = {executor.submit(decode, first) for first in islice(waiting, 2 * num_workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running.update(executor.submit(decode, first) for first in islice(waiting, 1))
                yield future.result()
                progress.advance(len(future.result()[1]))
    finally:
        executor.shutdown(cancel_futures=True)


def _write_all(fd: int, images: np.ndarray, offset: int) -> None:
    data = memoryview(images.reshape(-1).data)
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
