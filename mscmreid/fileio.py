"""Files: torch's are read without executing anything they contain; all are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


def numpy_globals() -> list:
    """What a file with numpy scalars and arrays needs to be let in under ``weights_only=True``.

    Entries are classes, or ``(class, name)`` pairs where files of older numpy versions call them otherwise.
    """
    try:
        from numpy._core import multiarray
    except ImportError:  # numpy 1
        from numpy.core import multiarray  # type: ignore[no-redef]

    constructors = [multiarray.scalar, multiarray._reconstruct]  # type: ignore[attr-defined]
    # a file names these functions as the numpy that wrote it did
    dtypes = [type(np.dtype(t)) for t in (np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_)]
    old_names = [(c, f"numpy.core.multiarray.{c.__name__}") for c in constructors]
    new_names = [(c, f"numpy._core.multiarray.{c.__name__}") for c in constructors]
    return [*old_names, *new_names, np.ndarray, np.dtype, *dtypes]


def safe_load(path: str | Path) -> Any:
    """``torch.load(path, weights_only=True)`` on the CPU, with numpy scalars and arrays let in.

    Raises:
        pickle.UnpicklingError: the file holds anything else than tensors, numbers, strings and containers of them.
    """
    import torch  # only here: files of features and images are written without it

    torch.serialization.add_safe_globals(numpy_globals())
    return torch.load(path, map_location="cpu", weights_only=True)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; moved into place at the end, removed after an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(text: str, path: str | Path) -> None:
    """Write a text file whole or not at all."""
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
