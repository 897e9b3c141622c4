"""Checkpoint files: written whole or not at all, checked before they are trusted, loaded strictly."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from mscmreid.engine.runner.resume_state import check_resume_state
from mscmreid.fileio import written_atomically
from mscmreid.gate import DamagedFileError, damaged, read_json, read_text
from mscmreid.near_names import shortened
from mscmreid.torch_files import check_weights, read_torch, tree_digest, verify_torch, without_module

LAST = "last_checkpoint"
STAGES = "finished_stages.json"
DIGEST = "content_sha256"
"""Key of a checkpoint: see :func:`mscmreid.torch_files.tree_digest`."""
MOST_NAMES = 2
"""Of each kind, where a checkpoint does not fit."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def verify_checkpoint(path: str | Path) -> None:
    """Read every entry of a torch file and compare it with its CRC-32.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: the file ends early or an entry differs from its checksum.
    """
    verify_torch(path, "a checkpoint")


def write_checkpoint(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Write to a temporary name beside ``path``, check what was written, then move it into place.

    A digest of the content goes with it, which :func:`read_checkpoint` compares.

    Raises:
        OSError: it could not be written (a full disk is named as such); an older file at ``path`` is left as it was.
    """
    try:
        with written_atomically(path) as temporary:
            with open(temporary, "wb") as file:
                torch.save({**checkpoint, DIGEST: tree_digest(dict(checkpoint))}, file)
                file.flush()
                os.fsync(file.fileno())
            verify_checkpoint(temporary)
    except Exception as error:
        code = _disk_error(error)
        if code in _FULL:
            raise OSError(
                code, f"no space left to write the checkpoint {path}; free some and go on with --resume"
            ) from error
        raise


def _disk_error(error: BaseException | None) -> int | None:
    """errno of the OSError that ``error`` is or came from (torch wraps it)."""
    while error is not None:
        if isinstance(error, OSError):
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def remove_leftovers(folder: str | Path) -> list[str]:
    """Delete what a killed run left half written in ``folder``; returns the names."""
    left = sorted(Path(folder).glob(".*.pth.*.tmp"))
    for path in left:
        path.unlink(missing_ok=True)
    return [path.name for path in left]


def find_checkpoints(work_dir: str | Path) -> list[Path]:
    """Checkpoints of a run to resume from, best first: the last one written, then its predecessors.

    ``best_*.pth`` files hold no optimizer and are left out, and so are later ones that an earlier run left there.
    """
    work_dir = Path(work_dir)
    places = {path: place for path in work_dir.glob("*.pth") if (place := place_of(path)) is not None}
    note = work_dir / LAST
    # the folder may have been moved since: only the name counts
    named = work_dir / name if (name := _name_in(note)) else None
    newest = places.get(named) if named else None  # type: ignore[call-overload]
    return sorted((path for path in places if newest is None or places[path] <= newest), key=places.get, reverse=True)  # type: ignore[arg-type]


def place_of(path: Path) -> tuple[int, int] | None:
    """Where in a training a checkpoint was made, by its name, to be compared with others of that training; None for
    another file: ``epoch_E.pth``, ``epoch_E_iter_I.pth`` (I batches behind epoch E), ``iter_N.pth``."""
    if match := re.fullmatch(r"epoch_(\d+)(?:_iter_(\d+))?\.pth", path.name):
        return int(match[1]), int(match[2] or 0)
    if match := re.fullmatch(r"iter_(\d+)\.pth", path.name):
        return -1, int(match[1])
    return None


def _name_in(note: Path) -> str:
    """The name of a file that a note says; empty if there is no such note, or none that can be read."""
    try:
        return Path(read_text(note, "the note of the last checkpoint", 1 << 16).strip()).name
    except (FileNotFoundError, DamagedFileError):
        return ""


def finished_stages(work_dir: str | Path) -> list[str]:
    """Names of the stages that a training in ``work_dir`` has come to the end of, in order."""
    path = Path(work_dir, STAGES)
    if not path.is_file():
        return []
    names = read_json(path, "the list of finished stages")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise damaged(path, f"expected a list of stages, found {names!r}", "Delete it, or train in another folder")
    return names


def trained_checkpoint(work_dir: str | Path, which: str) -> Path:
    """The checkpoint of the 'best' or 'last' epoch in the work folder of a finished training (of its last stage).

    Raises:
        FileNotFoundError: there is none.
    """
    folder = Path(work_dir, *finished_stages(work_dir)[-1:])
    found = sorted(folder.glob("best_*.pth"), key=os.path.getmtime) if which == "best" else find_checkpoints(folder)[:1]
    if not found:
        raise FileNotFoundError(
            f"expected a checkpoint of the {which} epoch in {folder.absolute()}, found none; "
            "default_hooks.checkpoint.save_best of the config says whether a best one is kept (--which last)"
        )
    return found[-1]


def find_intact_checkpoint(work_dir: str | Path) -> tuple[Path | None, list[str]]:
    """The checkpoint ``--resume`` goes on from, and what was wrong with those it passed over.

    Each is read to its end, and what training goes on from is looked at.

    Raises:
        DamagedFileError: there are checkpoints, and all are broken.
    """
    problems: list[str] = []
    for path in find_checkpoints(work_dir):
        try:
            check_resume_state(read_checkpoint(path), path)
        except (DamagedFileError, FileNotFoundError) as error:
            problems.append(str(error))
        else:
            return path, problems
    if problems:
        raise DamagedFileError(
            f"no checkpoint in {work_dir} can be resumed from:\n  "
            + "\n  ".join(problems)
            + "\nDelete them to start from the beginning."
        )
    return None, problems


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU: tensors, numbers, strings and containers of them, nothing executable.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: truncated, damaged, changed, no torch file, or it does not hold a mapping.
    """
    checkpoint = read_torch(path, "a checkpoint")
    if not isinstance(checkpoint, Mapping):
        raise damaged(path, f"expected a checkpoint, a mapping with 'state_dict', found {type(checkpoint).__name__}")
    checkpoint = dict(checkpoint)
    told = checkpoint.pop(DIGEST, None)
    if told is not None and told != tree_digest(checkpoint):
        raise damaged(
            path,
            "its content differs from its checksum, it was changed after it was written",
            f"Take the file as it was; for changes that you mean, write it without the key {DIGEST!r}",
        )
    return checkpoint


def state_dict_of(checkpoint: Mapping[str, Any], source: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint (``state_dict``, or the mapping itself), without 'module.' before the names.

    Raises:
        ValueError: an official file that needs conversion.
        DamagedFileError: no weights at all, or others than finite floating ones.
    """
    state = checkpoint.get("state_dict", checkpoint)
    if "net" in checkpoint and "state_dict" not in checkpoint:
        raise ValueError(
            f"{source} is a checkpoint of a released implementation (it has 'net'); convert it first: "
            "python tools/model_converters/official_to_mscmreid.py SRC DST --system mscm|agw|caj|deen|dns|pmt"
        )
    if not isinstance(state, Mapping) or not state or not any(isinstance(v, Tensor) for v in state.values()):
        raise damaged(source, f"expected 'state_dict' or a mapping of tensors, found keys {list(checkpoint)[:8]}")
    state = without_module(state, source)
    check_weights(state, source)
    return state


def made_by(checkpoint: Mapping[str, Any]) -> str | None:
    """The name of the run that a checkpoint says it was made by."""
    meta = checkpoint.get("meta")
    name = meta.get("experiment_name") if isinstance(meta, Mapping) else None
    return name if isinstance(name, str) else None


@dataclass(frozen=True)
class Fit:
    """How weights and a model go together.

    Attributes:
        num_fitting: entries of the model that the weights have, in their shape.
        missing: names that the model has and the weights have not.
        unexpected: names that the weights have and the model has not.
        reshaped: name -> both shapes, in words, where they differ.
    """

    num_fitting: int
    missing: list[str]
    unexpected: list[str]
    reshaped: dict[str, str]


def check_fit(
    model: nn.Module, state: Mapping[str, Tensor], source: str | Path, strict: bool = True, made_by: str | None = None
) -> Fit:
    """Refuse weights that :func:`load_weights` could not load, before anything is done that takes time.

    Args:
        model, state, source, strict: see :func:`load_weights`.
        made_by: the run that made them, for the message.

    Raises:
        ValueError: something is missing, unexpected or of another shape (strict), or nothing fits at all.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    reshaped = {
        name: f"checkpoint {tuple(state[name].shape)}, model {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    }
    fit = Fit(len(own) - len(missing) - len(reshaped), missing, unexpected, reshaped)
    if (strict and (missing or unexpected or reshaped)) or not fit.num_fitting:
        raise ValueError(_misfit(fit, state, own, source, made_by))
    return fit


def load_weights(
    model: nn.Module, state: Mapping[str, Tensor], source: str | Path, strict: bool = True, made_by: str | None = None
) -> str:
    """Copy a state dict into a model.

    Args:
        model: not wrapped.
        state: weights by name.
        source, made_by: for messages.
        strict: every name and shape must fit. Otherwise what fits is loaded, and the rest is reported.

    Returns:
        One line that says what was loaded.

    Raises:
        ValueError: see :func:`check_fit`.
    """
    fit = check_fit(model, state, source, strict, made_by)
    left_out = {*fit.unexpected, *fit.reshaped}
    model.load_state_dict({k: v for k, v in state.items() if k not in left_out}, strict=False)
    line = f"{fit.num_fitting} of {fit.num_fitting + len(fit.missing) + len(fit.reshaped)} entries loaded from {source}"
    if strict:
        return line
    reshaped = [f"{name}: {shapes}" for name, shapes in fit.reshaped.items()]
    return f"{line}; not in it: {fit.missing}; not used of it: {fit.unexpected}; of another shape: {reshaped}"


def _misfit(fit: Fit, state: Mapping[str, Tensor], own: Mapping[str, Tensor], source: Any, made_by: str | None) -> str:
    classifier = "head.classifier.weight"
    told = [f"{source} does not fit the model of this config ({fit.num_fitting} entries fit)"]
    if classifier in fit.reshaped:
        told.append(
            f"it was trained on {len(state[classifier])} identities, the config says num_classes="
            f"{len(own[classifier])}: use the config of its data set"
        )
    reshaped = [f"{name} ({shapes})" for name, shapes in fit.reshaped.items()]
    for title, names in (("missing", fit.missing), ("unexpected", fit.unexpected), ("of another shape", reshaped)):
        if names:
            told.append(f"{title}: {shortened(names, MOST_NAMES, ', ')}")
    cure = f"It was made by the run {made_by}: take" if made_by else "Take"
    return f"{'; '.join(told)}. {cure} the config that it was trained with"


def check_resumable(checkpoint: Mapping[str, Any], source: str | Path, seed: int) -> None:
    """A checkpoint must hold all that training goes on from, and have been made with the same seed.

    Raises:
        ValueError: it does not, or was not.
    """
    absent = [k for k in ("meta", "optimizer", "param_schedulers", "message_hub") if k not in checkpoint]
    if absent:
        raise ValueError(
            f"{source} cannot be resumed: it has no {absent} (best_*.pth and converted files hold weights only). "
            "Resume from an epoch_*.pth, or start from its weights with --cfg-options load_from=FILE"
        )
    made_with = checkpoint["meta"].get("seed")
    if made_with is not None and made_with != seed:
        raise ValueError(
            f"{source} was made with seed {made_with}, this run has {seed}: "
            f"resume with --cfg-options randomness.seed={made_with}"
        )


def schedule_changes(configured: Sequence[Mapping[str, Any]], resumed: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the schedules in a checkpoint differ from the config's, leaving out where they stand."""
    position = {"last_step", "_global_step", "_last_value", "base_values"}
    if len(configured) != len(resumed):
        return [f"the config has {len(configured)} schedulers, the checkpoint {len(resumed)}"]
    return [
        f"{key} {old[key]!r} of the checkpoint, {new[key]!r} of the config"
        for new, old in zip(configured, resumed, strict=True)
        for key in new
        if key not in position and old.get(key) != new[key]
    ]


def plain_hub(state: Mapping[str, Any]) -> dict[str, Any]:
    """A message hub's state with its histories as tensors, so that the file holds no object of any class."""
    scalars = {
        name: dict(
            values=torch.as_tensor(buffer.data[0], dtype=torch.float64),
            counts=torch.as_tensor(buffer.data[1], dtype=torch.int64),
            max_length=buffer.max_length,
        )
        for name, buffer in state["log_scalars"].items()
    }
    info = {k: v.item() if isinstance(v, np.generic) else v for k, v in state["runtime_info"].items()}
    return dict(log_scalars=scalars, runtime_info=info, resumed_keys=dict(state["resumed_keys"]))


def restored_hub(state: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`plain_hub`."""
    scalars = {}
    for name, entry in state["log_scalars"].items():
        if isinstance(entry, Mapping):
            entry = HistoryBuffer(entry["values"].numpy(), entry["counts"].numpy(), entry["max_length"])
        scalars[name] = entry
    return dict(state, log_scalars=scalars)
