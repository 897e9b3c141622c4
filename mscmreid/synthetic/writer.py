"""Writes a plan to disk: drawn by several processes, put together beside the target, moved into place when complete."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TextIO

from mscmreid.gate import damage_named, read_json
from mscmreid.synthetic.painter import Painter
from mscmreid.synthetic.plan import Frame, Options, Plan, make_plan, sysu_permutations

MANIFEST = "synthetic.json"
FORMAT_VERSION = 1
PEOPLE_PER_CHUNK = 6
"""People that a worker draws in one go; it makes the cameras anew for each."""


def write_dataset(
    plan: Plan, root: Path, workers: int = 0, overwrite: bool = False, progress: TextIO | None = None
) -> list[str]:
    """Draws every frame of ``plan`` and writes images and list files under ``root``.

    The same plan gives the same bytes, whatever the number of workers (with the same versions of numpy and Pillow).

    Args:
        plan: what to write.
        root: folder to make. It must not exist, or be empty, or be a synthetic data set and ``overwrite`` be set.
        workers: processes that draw; 0 draws in this one.
        overwrite: whether an older synthetic data set in ``root`` is replaced.
        progress: where a progress line goes, such as ``sys.stderr``; None for nowhere.

    Returns:
        notes for the reader about what could not be written.

    Raises:
        FileExistsError: ``root`` holds something else.
    """
    root = Path(root)
    _check_target(root, overwrite)
    root.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        building.chmod(0o755)
        for folder in sorted(
            {str(Path(f.path).parent) for f in plan.frames} | {str(Path(t).parent) for t in plan.texts}
        ):
            (building / folder).mkdir(parents=True, exist_ok=True)
        for path, text in plan.texts.items():
            (building / path).write_bytes(text.encode("ascii"))
        _draw_all(plan, building, workers, progress)
        notes = _write_permutations(plan, building) if plan.options.layout == "sysu" else []
        manifest = dict(format_version=FORMAT_VERSION, options=plan.options.to_json(), num_images=len(plan.frames))
        (building / MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")
        _move_into_place(building, root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return notes


def read_plan(root: Path) -> Plan:
    """The plan that the synthetic data set in ``root`` was written from."""
    path = Path(root) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found: {root} was not written by tools/make_synthetic.py (or not to its end)"
        )
    manifest = read_json(path, "the plan of a synthetic data set")
    found = manifest.get("format_version") if isinstance(manifest, dict) else None
    if found != FORMAT_VERSION:
        raise ValueError(f"{path} has format_version {found}, this version reads {FORMAT_VERSION}: draw the set again")
    with damage_named(path, "the plan of a synthetic data set", "Draw the set again"):
        options = Options.from_json(manifest["options"])
    return make_plan(options)


def _check_target(root: Path, overwrite: bool) -> None:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    if not (root / MANIFEST).is_file():
        raise FileExistsError(f"{root} exists and is not a synthetic data set (no {MANIFEST}): name another folder")
    if not overwrite:
        raise FileExistsError(f"{root} already holds a synthetic data set: name another folder, or pass --overwrite")


def _move_into_place(building: Path, root: Path) -> None:
    old = building.with_name(building.name + "-old")
    if root.exists():
        os.replace(root, old)
    os.replace(building, root)
    shutil.rmtree(old, ignore_errors=True)


def _draw_all(plan: Plan, root: Path, workers: int, progress: TextIO | None) -> None:
    people = list(plan.by_pid.values())
    if workers <= 0:
        painter = Painter.of(plan)
        _report((_draw_person(painter, frames, root) for frames in people), len(plan.frames), progress)
        return
    # A fresh interpreter for each worker: forking a process that has threads may hang.
    chunks = [people[k : k + PEOPLE_PER_CHUNK] for k in range(0, len(people), PEOPLE_PER_CHUNK)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = pool.map(_draw_chunk, [Painter.of(plan)] * len(chunks), chunks, [root] * len(chunks))
        _report(jobs, len(plan.frames), progress)


def _draw_chunk(painter: Painter, people: list[list[Frame]], root: Path) -> int:
    return sum(_draw_person(painter, frames, root) for frames in people)


def _draw_person(painter: Painter, frames: list[Frame], root: Path) -> int:
    """Writes all frames of one person; frames that share a drawing share its bytes."""
    drawn: dict[tuple[int, str, int], bytes] = {}
    for frame in frames:
        key = (frame.cam_id, frame.modality, frame.drawing)
        if key not in drawn:
            drawn[key] = painter.encode(frame)
        (root / frame.path).write_bytes(drawn[key])
    return len(frames)


def _report(steps: Iterable[int], total: int, progress: TextIO | None) -> None:
    started, done, shown = time.monotonic(), 0, 0.0
    for num in steps:
        done += num
        now = time.monotonic()
        if progress is not None and (now - shown > 0.5 or done == total):
            shown, spent = now, now - started
            left = spent / done * (total - done)
            print(
                f"\rdrawn {done}/{total} images, {spent:.0f} s, {left:.0f} s to go ", end="", file=progress, flush=True
            )
    if progress is not None:
        print(file=progress)


def _write_permutations(plan: Plan, root: Path) -> list[str]:
    try:
        from scipy.io import savemat
    except ImportError:
        return ["exp/rand_perm_cam.mat was not written (scipy is missing): lineage 'official' cannot run on this set"]
    savemat(root / "exp" / "rand_perm_cam.mat", {"rand_perm_cam": sysu_permutations(plan)}, do_compression=True)
    return []
