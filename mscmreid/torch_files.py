"""torch's files: read without executing anything they contain, after every byte was compared with its checksum."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.archives import check_archive, looks_like_zip
from mscmreid.arrays import checksum
from mscmreid.gate import REMEDY, DamagedFileError, damage_named, damaged, read_start


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


def read_torch(path: str | Path, what: str = "a torch file", remedy: str = REMEDY) -> Any:
    """What a torch file holds, on the CPU: tensors, numbers, strings and containers of them.

    Files of torch's old format (before 1.6) have no checksums: a warning says so.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: damaged, cut off, no torch file, or holding anything else; nothing of it was executed.
    """
    is_zip = looks_like_zip(path, what)
    if is_zip:
        verify_torch(path, what)
    elif read_start(path, 1) != b"\x80":
        raise damaged(path, f"expected {what}, found no torch file", remedy)
    with damage_named(path, what, remedy):
        content = _load(path)
    if not is_zip:
        warnings.warn(
            f"{path} is of torch's old format, which has no checksums: damage in its numbers cannot be seen",
            stacklevel=2,
        )
    return content


def verify_torch(path: str | Path, what: str = "a torch file") -> None:
    """Read every byte of a torch file of today's format and compare it with its CRC-32.

    Raises:
        FileNotFoundError, DamagedFileError: as :func:`read_torch`.
    """
    names = check_archive(path, what, stored=True)
    folders = {name.split("/")[0] for name in names}
    if len(folders) != 1 or f"{next(iter(folders))}/data.pkl" not in names:
        raise damaged(path, f"expected {what}, found a zip archive without torch's data.pkl")


def _load(path: str | Path) -> Any:
    import pickle

    import torch

    torch.serialization.add_safe_globals(numpy_globals())
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text goes on to say how to load it all the same, which is no advice for such a file
        raise ValueError(
            "expected tensors, numbers, strings and containers of them alone, found something else; nothing of it was "
            "executed or loaded"
        ) from error


def check_weights(state: Mapping[str, Any], path: str | Path, remedy: str = REMEDY) -> None:
    """The values of a state dict must be weights: floating (counters aside), dense, finite.

    Raises:
        DamagedFileError: names the first of each kind.
    """
    import torch

    problems: list[str] = []
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            problems.append(f"{name} is a {type(value).__name__}, no tensor")
        elif value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
            problems.append(f"{name} is no plain tensor of numbers")
        elif not value.is_floating_point():
            if value.dim() or value.dtype != torch.int64:  # BatchNorm counts its batches so
                problems.append(f"{name} is {str(value.dtype).removeprefix('torch.')}, weights are floating")
        elif not bool(torch.isfinite(value).all()):
            problems.append(f"{name} has NaN or infinite values")
    if problems:
        raise damaged(path, f"its weights cannot be used: {some(problems)}", remedy)


def without_module(state: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """A state dict without 'module.' before its names.

    Raises:
        DamagedFileError: a name stands there with and without it.
    """
    both = [name for name in state if name.startswith("module.") and name.removeprefix("module.") in state]
    if both:
        raise DamagedFileError(
            f"{path}: {some(both)} and the same without 'module.' are both there: nobody can say which is meant. "
            "Keep one of them."
        )
    return {name.removeprefix("module."): value for name, value in state.items()}


def some(names: Iterable[str], num: int = 5) -> str:
    """The first ``num`` texts, and how many more there are."""
    names = list(names)
    return "; ".join(names[:num]) + (f" and {len(names) - num} more" if len(names) > num else "")


def tree_digest(content: Any) -> str:
    """SHA-256 (hexadecimal) of what a torch file holds: names and their order, kinds, numbers, texts, the checksums of
    tensors. It is the same before the file is written and after it is read."""
    digest = hashlib.sha256()
    for text in _walk(content):
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _walk(value: Any) -> Iterator[str]:
    import torch

    if isinstance(value, Mapping):
        yield f"mapping {len(value)}"
        for key, entry in value.items():
            yield f"{type(key).__name__} {key!r}"
            yield from _walk(entry)
    elif isinstance(value, list | tuple):
        yield f"sequence {len(value)}"
        for entry in value:
            yield from _walk(entry)
    elif isinstance(value, torch.Tensor):
        array = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        yield f"{value.dtype} {tuple(value.shape)} {checksum(array):x}"
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape} {checksum(value):x}"
    else:
        yield f"{type(value).__name__} {value!r}"
