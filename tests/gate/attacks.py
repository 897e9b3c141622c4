"""Files made to do harm, or damaged in ways that have been seen to pass."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np


def flipped(content: bytes, position: int, bit: int = 0) -> bytes:
    """``content`` with one bit changed."""
    changed = bytearray(content)
    changed[position % len(content)] ^= 1 << bit
    return bytes(changed)


def central_entries(content: bytes) -> list[int]:
    """Where the entries of a zip's list begin."""
    places, start = [], 0
    while (start := content.find(b"PK\1\2", start)) >= 0:
        places.append(start)
        start += 4
    return places


def marked_as_folder(content: bytes, name: bytes) -> bytes:
    """A zip whose entry ``name`` (the end of it) has bit 4 of its external attributes set: 'is a directory'."""
    for place in central_entries(content):
        length = struct.unpack_from("<H", content, place + 28)[0]
        if content[place + 46 : place + 46 + length].endswith(name):
            return flipped(content, place + 38, 4)
    raise AssertionError(f"no entry {name!r}")


def rezipped(
    source: Path, target: Path, change=lambda name, data: data, kind: int = zipfile.ZIP_STORED, extra=()
) -> Path:
    """A zip with the entries of ``source``, each changed, and (name, data) pairs behind them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", kind) as new:
        for entry in old.infolist():
            new.writestr(zipfile.ZipInfo(entry.filename), change(entry.filename, old.read(entry)), kind)
        for name, data in extra:
            new.writestr(zipfile.ZipInfo(name), data, kind)
    return target


def bomb(path: Path, size: int = 64 << 20) -> Path:
    """An .npz of a few kB that unpacks to ``size`` bytes."""
    np.savez_compressed(path, feat_bn=np.zeros((size // 4096, 1024), dtype=np.float32))
    return path
