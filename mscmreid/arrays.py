"""numpy's files, .npy and .npz: read without unpickling, every byte compared with its checksum; digests of content."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mscmreid.archives import checked_archive, entry_blocks
from mscmreid.gate import DamagedFileError, damage_named, open_regular

KINDS = "biufUS"
"""numpy's kinds of arrays that are read: truth values, numbers, texts."""
MAX_HEADER = 1 << 16
BLOCK = 512  # bytes that are summed up by themselves in a checksum


def read_npz(path: str | Path, what: str = "an .npz file") -> dict[str, np.ndarray]:
    """All arrays of an .npz, in memory.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: damaged, not an .npz, unpacking to more than a hundred times its size, or holding objects
            that would need unpickling.
    """
    with checked_archive(path, what) as archive:
        arrays = {}
        for entry in archive.infolist():
            name, dot, suffix = entry.filename.rpartition(".")
            if not dot or suffix != "npy":
                raise ValueError(f"entry {entry.filename!r} is no array")
            arrays[name] = _array(_content(archive, entry), f"array {name!r}")
        return arrays


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """(n,) uint8: an entry's bytes, compared with its CRC-32."""
    content = np.empty(entry.file_size, dtype=np.uint8)
    position = 0
    for block in entry_blocks(archive, entry):
        content[position : position + len(block)] = np.frombuffer(block, dtype=np.uint8)
        position += len(block)
    return content


def _array(content: np.ndarray, name: str) -> np.ndarray:
    """The array in the bytes of a .npy file, without a copy; it must fill them."""
    start = BytesIO(content[:MAX_HEADER].tobytes())
    dtype, shape, fortran = _header(start, name)
    offset, count = start.tell(), math.prod(shape)
    if count * dtype.itemsize != len(content) - offset:
        raise ValueError(f"{name} of {shape} {dtype} needs {count * dtype.itemsize} bytes, has {len(content) - offset}")
    if not count * dtype.itemsize:
        return np.zeros(shape, dtype)
    return np.frombuffer(content.data, dtype, count, offset).reshape(shape, order="F" if fortran else "C")


def _header(file: BytesIO | BinaryIO, name: str) -> tuple[np.dtype, tuple[int, ...], bool]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is of an unknown version of numpy's format, {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects, which would need unpickling: refused")
    if dtype.kind not in KINDS or min(shape, default=0) < 0:
        raise ValueError(f"{name} must be numbers or texts, found {dtype} {shape}")
    return dtype, shape, fortran


def map_npy(path: str | Path, what: str = "an .npy file") -> np.ndarray:
    """The array of an .npy file, mapped read-only. Such a file has no checksum: only its form can be looked at.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: not an .npy, of another length than its header says, or objects.
    """
    with open_regular(path, what) as file, damage_named(path, what):
        dtype, shape, fortran = _header(file, "it")
        offset = file.tell()
        found, needed = file.seek(0, 2) - offset, math.prod(shape) * dtype.itemsize
        if found != needed:
            raise ValueError(f"{shape} {dtype} needs {needed:,} bytes, it has {found:,}")
        if not needed:
            return np.zeros(shape, dtype)
        return np.memmap(file, dtype, "r", offset, shape, "F" if fortran else "C")


def content_digest(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) over names, types, shapes and values of arrays and over JSON values, in any order."""
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name} {array.dtype.str} {np.shape(arrays[name])}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def checksum(array: np.ndarray) -> int:
    """64-bit checksum of an array's bytes (those of its values in C order), at about the speed of memory.

    The sums of 512 bytes each, as 64-bit words, are added up with odd factors, each another one, modulo 2^64. So any
    bit that changes shows, and so does every change inside one word, a zeroed or a moved block; of other changes one in
    2^64 or so does not.
    """
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    rest = len(data) % BLOCK
    blocks = data[: len(data) - rest].view(np.uint64).reshape(-1, BLOCK // 8)
    sums = np.add.reduce(blocks, axis=1)
    if rest:
        last = np.zeros(BLOCK, dtype=np.uint8)
        last[:rest] = data[len(data) - rest :]
        sums = np.append(sums, np.add.reduce(last.view(np.uint64)))
    return int(np.add.reduce(sums * (2 * np.arange(len(sums), dtype=np.uint64) + 1)))


def check_digest(
    told: object, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], path: str | Path, remedy: str
) -> None:
    """Compare :func:`content_digest` with what a file says.

    Raises:
        DamagedFileError: it differs.
    """
    if told != content_digest(arrays, meta):
        raise DamagedFileError(f"{path}: its content differs from its checksum: it was changed or damaged. {remedy}.")
