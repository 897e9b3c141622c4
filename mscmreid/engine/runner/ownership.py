"""One training a work folder: a lock that the system takes back when its process ends, however it ends."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.logging import print_log

from mscmreid.engine.runner.checkpoint import LAST, STAGES
from mscmreid.fileio import write_text

TRAINING, ABLATION = ".training", ".ablation"
"""What a folder can be owned for; names of the lock (``.lock``) and of the note on who holds it (``.json``)."""
TRAINED = re.compile(r"(epoch|iter)_\d+.*\.pth|best_.*\.pth")
"""Names of a training's checkpoints."""


class FolderInUseError(ValueError):
    """Another process works in the folder."""


@contextmanager
def owned(folder: str | Path, purpose: str = TRAINING) -> Iterator[None]:
    """Own a folder; a second time in the same process is no other time.

    The lock is the operating system's (``flock``), so nothing of it stays when a process is killed. Where the file
    system has none, the run is warned and goes on.

    Args:
        folder: made if it is not there.
        purpose: :data:`TRAINING` or :data:`ABLATION`; they do not exclude each other.

    Raises:
        FolderInUseError: another process owns it; says which.
        ValueError: there is a file in its place.
    """
    folder = Path(folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{folder} is to be a folder to work in (--work-dir), but a file is in its place") from error
    note = folder / f"{purpose}.json"
    lock = FileLock(folder.resolve() / f"{purpose}.lock", is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(
            f"{folder} is in use: {_holder(note)}. Wait for it, end it, or choose another folder (--work-dir)"
        ) from None
    except (OSError, NotImplementedError) as error:
        print_log(
            f"{folder} cannot be locked ({error}): a second training in it would not be noticed",
            "current",
            logging.WARNING,
        )
        yield
        return
    try:
        if lock.lock_counter == 1:
            holder = dict(host=socket.gethostname(), pid=os.getpid(), since=time.strftime("%Y-%m-%d %H:%M:%S"))
            write_text(json.dumps(holder) + "\n", note)
        yield
    finally:
        if lock.lock_counter == 1:
            note.unlink(missing_ok=True)
        lock.release()


def _holder(note: Path) -> str:
    """Who holds a folder, as far as its note says."""
    for _ in range(5):  # the holder may be about to write it
        try:
            holder = json.loads(note.read_text(encoding="utf-8"))
            return f"process {holder['pid']} on {holder['host']} works in it since {holder['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(0.05)
    return "another process works in it"


def trained_files(folder: str | Path, stages: Sequence[str] = ()) -> list[Path]:
    """What an earlier training left in a folder that a new one would replace: checkpoints, and the notes on them.

    Args:
        folder: of the work.
        stages: names of the config's stages, each with a folder of its own.
    """
    folders = [Path(folder), *(Path(folder, stage) for stage in stages)]
    inside = [path for part in folders if part.is_dir() for path in sorted(part.iterdir())]
    return [path for path in inside if TRAINED.fullmatch(path.name) or path.name in (LAST, STAGES)]


def require_empty(folder: str | Path, stages: Sequence[str] = (), overwrite: bool = False) -> None:
    """A training that begins anew must have a folder without checkpoints.

    Args:
        folder, stages: see :func:`trained_files`.
        overwrite: delete them.

    Raises:
        ValueError: there are some; says what to do.
    """
    found = trained_files(folder, stages)
    if overwrite:
        for path in found:
            path.unlink(missing_ok=True)
        if found:
            print_log(f"--overwrite: deleted {len(found)} files of an earlier training in {folder}", "current")
    elif checkpoints := [path.name for path in found if path.suffix == ".pth"]:
        some = ", ".join(checkpoints[:3]) + (", ..." if len(checkpoints) > 3 else "")
        raise ValueError(
            f"{folder} holds a training already ({some}): go on with it by --resume, choose another folder by "
            "--work-dir, or begin anew by --overwrite, which deletes its checkpoints"
        )
