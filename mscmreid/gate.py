"""The gate for files that come in: regular files of a bounded size, and one error for all that can be wrong with them.

Nothing heavy is imported here. What a format needs beyond that is in ``archives.py`` (zip), ``arrays.py`` (numpy's) and
``torch_files.py``. Every reader of the project reads through one of them; ``docs/files.md`` says what is promised.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

MIB = 1 << 20
MAX_TEXT = 256 * MIB
"""Most bytes of a text file (JSON, CSV, a list) that is read whole."""
REMEDY = "Get it again from where it came from, or make it anew"


class DamagedFileError(ValueError):
    """A file is damaged, cut off, of another kind than expected, or made to do harm. The message names it."""


def damaged(path: str | Path, problem: object, remedy: str = REMEDY) -> DamagedFileError:
    """The error for a file: which one, what is wrong with it in one line, what to do."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    return DamagedFileError(f"{path}: {text if len(text) <= 300 else text[:297] + '...'}. {remedy}.")


@contextmanager
def damage_named(path: str | Path, what: str, remedy: str = REMEDY) -> Iterator[None]:
    """Whatever reading ``path`` raises comes out as :class:`DamagedFileError`; bugs of ours look the same, so that
    only code of parsers belongs in here.

    Missing files and refused permissions pass as they are (they say it well), and so does a full memory of a file that
    its size explains: a MemoryError is turned only here, where a parser believed what a file says of itself.
    """
    try:
        yield
    except (DamagedFileError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        raise damaged(path, f"cannot be read as {what} ({kind}{_first_line(error)})", remedy) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def check_regular(path: str | Path, what: str = "file", max_bytes: int | None = None) -> int:
    """Size of a regular file (or of the one that a link leads to).

    Args:
        path: not opened, so that a FIFO or a device does not make anybody wait.
        what: what is expected there, for messages: 'a checkpoint'.
        max_bytes: most that is read.

    Raises:
        FileNotFoundError: nothing is there.
        DamagedFileError: a folder, FIFO, device or socket; a larger file.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"expected {what} at {path}, found no file") from error
    except (OSError, ValueError) as error:  # a loop of links, a name with a zero byte
        raise damaged(
            path, f"expected {what}, found nothing that can be opened ({error})", "Name another file"
        ) from error
    return _regular(status, path, what, max_bytes)


def _regular(status: os.stat_result, path: str | Path, what: str, max_bytes: int | None) -> int:
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise damaged(path, f"expected {what}, found {kind}", "Name a regular file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise damaged(path, f"expected {what} of at most {max_bytes:,} bytes, found {status.st_size:,}")
    return status.st_size


@contextmanager
def open_regular(path: str | Path, what: str = "file", max_bytes: int | None = None) -> Iterator[BinaryIO]:
    """A regular file opened to read bytes; arguments and errors as :func:`check_regular`.

    What stands there is looked at before and after it is opened, and opening waits for nobody.
    """
    check_regular(path, what, max_bytes)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        _regular(os.fstat(file.fileno()), path, what, max_bytes)
        yield file


def read_start(path: str | Path, num: int) -> bytes:
    """The first ``num`` bytes of a regular file (fewer if it ends); errors as :func:`check_regular`."""
    with open_regular(path) as file:
        return file.read(num)


def read_bytes(path: str | Path, what: str = "file", max_bytes: int = MAX_TEXT) -> bytes:
    """All bytes of a regular file; errors as :func:`check_regular`."""
    with open_regular(path, what, max_bytes) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:  # it grew
        raise damaged(path, f"expected {what} of at most {max_bytes:,} bytes")
    return content


def read_text(path: str | Path, what: str = "text file", max_bytes: int = MAX_TEXT, encoding: str = "utf-8") -> str:
    """The text of a regular file, line ends as they are ('utf-8-sig' drops a byte order mark).

    Raises:
        DamagedFileError: also where the bytes are not text of that encoding.
    """
    content = read_bytes(path, what, max_bytes)
    with damage_named(path, what):
        return content.decode(encoding)


def read_json(path: str | Path, what: str = "JSON file", max_bytes: int = MAX_TEXT) -> Any:
    """The value that a JSON file holds; a name that stands twice in one object is damage, too.

    Raises:
        FileNotFoundError, DamagedFileError: as :func:`check_regular`; not JSON.
    """
    text = read_text(path, what, max_bytes)
    with damage_named(path, f"{what} (JSON)"):
        return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice in one object")
    return content


def path_below(root: str | Path, name: str) -> Path:
    """The file ``name`` below the folder ``root``, for names that come out of files.

    Raises:
        DamagedFileError: an absolute name, one with ``..``, or one that a link leads out of ``root``.
    """
    parts = name.replace("\\", "/").split("/")
    problem = ""
    if not name or "\0" in name:
        problem = "it is no name of a file"
    elif os.path.isabs(name) or os.path.splitdrive(name)[0] or not parts[0]:
        problem = "it is absolute"
    elif ".." in parts:
        problem = "it leads upwards"
    else:
        real_root = os.path.realpath(root)
        if os.path.commonpath([real_root, os.path.realpath(os.path.join(real_root, name))]) != real_root:
            problem = "a link leads out of the folder"
    if problem:
        raise DamagedFileError(
            f"image {name!r}: only files below the data root {os.fspath(root)!r} are read, and {problem}. Name the "
            "folder that the images are in (--data-root), or leave images out (--no-images)"
        )
    return Path(root, name)
