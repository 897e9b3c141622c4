"""Zip archives, which torch's and numpy's files are, looked at before anything is unpacked.

Readers differ in what they believe of an archive: the list at its end, or what stands before each entry. Here both must
say the same, every byte is read and compared with its checksum, and nothing is unpacked that is out of proportion.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mscmreid.gate import MIB, damage_named, open_regular

MAX_DIRECTORY = 32 * MIB
"""Most bytes of the list of entries (a checkpoint of 3,000 tensors has 0.3 MiB)."""
SMALL, MAX_RATIO = 16 * MIB, 100
"""An entry of more bytes than SMALL may be packed to no less than a hundredth."""
BLOCK = MIB
KNOWN_FLAGS = 0x0808  # sizes behind the data, names in UTF-8
_END, _END64, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")


def looks_like_zip(path: str | Path, what: str = "file") -> bool:
    """Whether a file begins or ends as a zip archive does."""
    with open_regular(path, what) as file:
        begins = file.read(4) == b"PK\3\4"
        return begins or zipfile.is_zipfile(file)


@contextmanager
def checked_archive(path: str | Path, what: str, stored: bool = False) -> Iterator[zipfile.ZipFile]:
    """An archive whose structure is sound; entries are read (and compared) by :func:`entry_blocks`.

    Args:
        path: a regular file.
        what: what is expected there, for messages.
        stored: refuse packed entries.

    Raises:
        FileNotFoundError, DamagedFileError: see :mod:`mscmreid.gate`.
    """
    with open_regular(path, what) as file, damage_named(path, what):
        start, count = _end_records(file)
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
        if len(entries) != count:
            raise ValueError(f"it says it has {count} entries, but lists {len(entries)}")
        _check_names(entries)
        for entry in entries:
            _check_attributes(entry, stored)
        _check_places(file, entries, start)
        yield archive


def check_archive(path: str | Path, what: str, stored: bool = False) -> list[str]:
    """Read every byte of an archive, each entry compared with its CRC-32; the names of its entries.

    Raises:
        FileNotFoundError, DamagedFileError: as :func:`checked_archive`; an entry differs from its checksum.
    """
    with checked_archive(path, what, stored) as archive:
        for entry in archive.infolist():
            for _ in entry_blocks(archive, entry):
                pass
        return archive.namelist()


def entry_blocks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of an entry, block by block, compared with its length and its CRC-32.

    Raises:
        ValueError: they differ (:func:`checked_archive` makes a DamagedFileError of it).
    """
    left = entry.file_size
    try:
        with archive.open(entry) as file:
            while block := file.read(BLOCK):
                left -= len(block)
                yield block
    except zipfile.BadZipFile as error:
        if "CRC" not in str(error):
            raise
        raise ValueError(f"entry {entry.filename!r} differs from its checksum") from error
    if left:
        raise ValueError(f"entry {entry.filename!r} has another length than the {entry.file_size:,} bytes it says")


def _end_records(file: BinaryIO) -> tuple[int, int]:
    """(where the list of entries starts, number of entries); all records at the end must agree."""
    size = file.seek(0, 2)
    if size < _END.size:
        raise ValueError(f"it ends after {size} bytes")
    file.seek(size - _END.size)
    tag, disk, first_disk, here, count, length, start, comment = _END.unpack(file.read(_END.size))
    if tag != b"PK\5\6" or comment or disk or first_disk or here != count:
        raise ValueError("its end is missing or damaged")
    end = size - _END.size
    if end >= _LOCATOR.size:
        file.seek(end - _LOCATOR.size)
        tag, disk, place, disks = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if tag == b"PK\6\7":
            if disk or disks != 1 or place != end - _LOCATOR.size - _END64.size:
                raise ValueError("its end is damaged")
            file.seek(place)
            tag, rest, _, _, disk, first_disk, here64, count64, length64, start64 = _END64.unpack(
                file.read(_END64.size)
            )
            if tag != b"PK\6\6" or rest != _END64.size - 12 or disk or first_disk or here64 != count64:
                raise ValueError("its end is damaged")
            for short, long, most in (
                (count, count64, 0xFFFF),
                (length, length64, 2**32 - 1),
                (start, start64, 2**32 - 1),
            ):
                if short not in (long, most):
                    raise ValueError("its end records contradict each other")
            count, length, start, end = count64, length64, start64, place
    if start + length != end or length > MAX_DIRECTORY:
        raise ValueError(
            f"its list of entries should end at byte {end}, it says {start + length} ({length} bytes long)"
        )
    return start, count


def _check_names(entries: list[zipfile.ZipInfo]) -> None:
    seen = set()
    for name in (entry.filename for entry in entries):
        parts = name.split("/")
        if not name or name != name.strip() or "\0" in name or "\\" in name or "" in parts or ".." in parts:
            raise ValueError(f"entry {name!r} has no proper name")
        if name in seen:
            raise ValueError(f"entry {name!r} is there twice")
        seen.add(name)


def _check_attributes(entry: zipfile.ZipInfo, stored: bool) -> None:
    kinds = (zipfile.ZIP_STORED,) if stored else (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if entry.compress_type not in kinds:
        raise ValueError(f"entry {entry.filename!r} is packed (method {entry.compress_type}); expected {kinds}")
    if entry.flag_bits & ~KNOWN_FLAGS:
        raise ValueError(f"entry {entry.filename!r} is encrypted or has unknown flags ({entry.flag_bits:#x})")
    # 0x10 says that it is a folder: torch then leaves its memory as it was
    unix_kind = stat.S_IFMT(entry.external_attr >> 16)
    if entry.external_attr & 0xFFFF & ~0x20 or unix_kind not in (0, stat.S_IFREG):
        raise ValueError(f"entry {entry.filename!r} is marked as no plain file (attributes {entry.external_attr:#x})")
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        raise ValueError(f"entry {entry.filename!r} has {entry.compress_size} bytes, it says {entry.file_size}")
    if entry.file_size > SMALL and entry.file_size > MAX_RATIO * entry.compress_size:
        raise ValueError(
            f"entry {entry.filename!r} would unpack {entry.compress_size:,} bytes to {entry.file_size:,}, more than "
            f"{MAX_RATIO} times as many"
        )


def _check_places(file: BinaryIO, entries: list[zipfile.ZipInfo], end: int) -> None:
    """Entries follow each other from the first byte on, and what stands before each says what the list says."""
    free = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < free or (free == 0 and entry.header_offset):
            raise ValueError(f"entry {entry.filename!r} begins inside another one, or behind something else")
        file.seek(entry.header_offset)
        head = file.read(_LOCAL.size)
        if len(head) < _LOCAL.size:
            raise ValueError(f"entry {entry.filename!r} lies behind the end")
        tag, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = _LOCAL.unpack(head)
        name = file.read(name_length)
        told = (crc, packed, unpacked)
        expected = (entry.CRC, entry.compress_size, entry.file_size)
        differ = any(a != b and a not in (0, 2**32 - 1) for a, b in zip(told, expected, strict=True))
        if tag != b"PK\3\4" or (flags, method) != (entry.flag_bits, entry.compress_type) or differ:
            raise ValueError(f"entry {entry.filename!r} is described in two ways")
        if name != entry.orig_filename.encode("utf-8" if flags & 0x800 else "cp437"):
            raise ValueError(f"entry {entry.filename!r} has two names")
        free = entry.header_offset + _LOCAL.size + name_length + extra_length + entry.compress_size
    if free > end:
        raise ValueError("its entries reach into its end")
