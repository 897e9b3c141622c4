"""What a resumed training goes on from, beyond the weights: position, optimizer, schedules, log. Is it whole?

A checkpoint of ours has a digest, so what is looked for here is rather what another program, or a bug, has left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mscmreid.gate import DamagedFileError
from mscmreid.torch_files import some

LARGEST = 2**53
LARGE = 1e6  # no rate, momentum or decay comes near
REMEDY = "Resume from an earlier epoch_*.pth (--resume FILE), or start from its weights (--cfg-options load_from=FILE)"


def check_resume_state(checkpoint: Mapping[str, Any], source: str | Path) -> None:
    """Look at those parts of what training goes on from that are there.

    Raises:
        DamagedFileError: names every part that is not as a training leaves it.
    """
    problems = [
        *_position_problems(checkpoint.get("meta", {})),
        *_hub_problems(checkpoint.get("message_hub", {})),
        *_scheduler_problems(checkpoint.get("param_schedulers", [])),
    ]
    if "optimizer" in checkpoint:
        meta = checkpoint.get("meta")
        steps = meta.get("iter", 0) if isinstance(meta, Mapping) else 0
        problems += _optimizer_problems(checkpoint["optimizer"], has_stepped=_is_count(steps) and steps > 0)
    if problems:
        raise DamagedFileError(f"{source} cannot be resumed: {some(problems, 4)}. {REMEDY}.")


def check_optimizer_fits(optimizer: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], source: str | Path) -> None:
    """An optimizer's state must be of the parameters that are trained: as many, and its tensors of their shapes.

    Args:
        optimizer: the checkpoint's, checked by :func:`check_resume_state`.
        groups: ``param_groups`` of the run's optimizer.

    Raises:
        ValueError: it is not.
    """
    if "param_groups" not in optimizer:
        return
    told, own = [[len(group["params"]) for group in every] for every in (optimizer["param_groups"], groups)]
    if told != own:
        raise ValueError(
            f"{source} has an optimizer of {len(told)} groups with {sum(told)} parameters, the config makes one of "
            f"{len(own)} groups with {sum(own)}: resume with the config that it was made with"
        )
    for place, (group, like) in enumerate(zip(optimizer["param_groups"], groups, strict=True)):
        for name, value in like.items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and name != "initial_lr"
            switch = value is None or isinstance(value, bool)  # one that a newer torch has may not be there
            if not isinstance(group.get(name), (int | float) if number else (bool | None) if switch else object):
                raise ValueError(
                    f"{source}: group {place} of the optimizer has {name}={group.get(name)!r}, the config makes one "
                    f"with {value!r}: resume with the config that it was made with"
                )
    numbers = [number for group in optimizer["param_groups"] for number in group["params"]]
    parameters = [parameter for group in groups for parameter in group["params"]]
    entries = [optimizer["state"].get(number, {}) for number in numbers]
    of_shape = {name for e in entries for name, value in e.items() if isinstance(value, Tensor) and value.dim()}
    for number, entry, parameter in zip(numbers, entries, parameters, strict=True):
        for name in of_shape & set(entry):
            value = entry[name]
            if value is not None and getattr(value, "shape", ()) != parameter.shape:
                raise ValueError(
                    f"{source}: the optimizer's {name} of parameter {number} has the shape "
                    f"{tuple(getattr(value, 'shape', ()))}, the parameter {tuple(parameter.shape)}: resume with the "
                    "config that it was made with"
                )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _position_problems(meta: object) -> Iterator[str]:
    if not isinstance(meta, Mapping):
        yield f"meta is a {type(meta).__name__}"
        return
    for name in ("epoch", "iter"):
        if name in meta and not _is_count(meta[name]):
            yield f"meta.{name} is {meta[name]!r}, no count"
    if "seed" in meta and meta["seed"] is not None and not _is_count(meta["seed"]):
        yield f"meta.seed is {meta['seed']!r}"
    if _is_count(meta.get("epoch")) and _is_count(meta.get("iter")) and meta["epoch"] > meta["iter"]:
        yield f"meta says {meta['epoch']} epochs of {meta['iter']} iterations together"
    if not isinstance(meta.get("dataset_meta"), Mapping | None):
        yield "meta.dataset_meta is no mapping"


def _hub_problems(hub: object) -> Iterator[str]:
    if not isinstance(hub, Mapping):
        yield f"message_hub is a {type(hub).__name__}"
        return
    parts = {name: hub.get(name, {}) for name in ("log_scalars", "runtime_info", "resumed_keys")}
    for name, part in parts.items():
        if not isinstance(part, Mapping) or (hub and name not in hub):
            yield f"message_hub has no {name}"
            return
    for name, entry in parts["log_scalars"].items():
        values, counts = (entry.get(key) if isinstance(entry, Mapping) else None for key in ("values", "counts"))
        if not (
            isinstance(values, Tensor)
            and isinstance(counts, Tensor)
            and values.dim() == 1
            and values.shape == counts.shape
            and values.is_floating_point()
            and not counts.is_floating_point()
            and _is_count(entry.get("max_length"))
        ):
            yield f"the log of {name} is no row of numbers"
    info = parts["runtime_info"]
    for name in ("epoch", "iter", "last_ckpt_epoch"):
        if not isinstance(info.get(name), None | int):
            yield f"message_hub says {name}={info[name]!r}"
    if not isinstance(info.get("best_score"), None | int | float):
        yield f"message_hub says best_score={info['best_score']!r}"
    kept = info.get("keep_ckpt_ids", [])
    if not isinstance(kept, list) or not all(map(_is_count, kept)):
        yield f"message_hub says keep_ckpt_ids={kept!r}"
    best = info.get("best_ckpt")
    if best is not None and not (isinstance(best, str) and Path(best).name.startswith("best_")):
        yield f"message_hub says best_ckpt={best!r}"


def _scheduler_problems(schedulers: object) -> Iterator[str]:
    every = list(schedulers.values()) if isinstance(schedulers, Mapping) else schedulers
    if not isinstance(every, list):
        yield f"param_schedulers is a {type(schedulers).__name__}"
        return
    for number, state in enumerate(every):
        if not isinstance(state, Mapping):
            yield f"schedule {number} is a {type(state).__name__}"
        elif not _is_count(state.get("last_step")) or not _is_count(state.get("_global_step")):
            yield f"schedule {number} does not say where it stands"


def _optimizer_problems(optimizer: object, has_stepped: bool) -> Iterator[str]:
    if not isinstance(optimizer, Mapping):
        yield f"the optimizer is a {type(optimizer).__name__}"
        return
    if "param_groups" not in optimizer and optimizer and all(isinstance(v, Mapping) for v in optimizer.values()):
        for part in optimizer.values():  # several optimizers by name
            yield from _optimizer_problems(part, has_stepped)
        return
    groups, state = optimizer.get("param_groups"), optimizer.get("state")
    if not isinstance(groups, list) or not groups or not all(isinstance(group, Mapping) for group in groups):
        yield "the optimizer has no parameter groups"
        return
    if not isinstance(state, Mapping):
        yield "the optimizer has no state"
        return
    numbers: list[Any] = []
    for place, group in enumerate(groups):
        params = group.get("params")
        if not isinstance(params, list) or not all(map(_is_count, params)):
            yield f"group {place} of the optimizer names no parameters"
            return
        numbers += params
        if not _is_number(group.get("lr")) or group["lr"] < 0:
            yield f"group {place} of the optimizer has the learning rate {group.get('lr')!r}"
        strange = [k for k, v in group.items() if isinstance(v, int | float) and k != "params" and not abs(v) < LARGE]
        if strange:
            yield f"group {place} of the optimizer has {strange[0]}={group[strange[0]]!r}"
    if len(set(numbers)) < len(numbers):
        yield "the optimizer names a parameter twice"
    unknown = set(state) - set(numbers)
    if unknown:
        yield f"the optimizer has a state of parameters that it does not have ({next(iter(unknown))!r})"
    keeps_state = any(group.get("momentum") or group.get("betas") for group in groups)
    if has_stepped and keeps_state and not state:
        yield "the optimizer's state is empty although it has made steps"
    kinds = {frozenset(entry) if isinstance(entry, Mapping) else None for entry in state.values()}
    if None in kinds or len(kinds) > 1:
        yield "the optimizer's state is not of one kind for all parameters"
        return
    for number, entry in state.items():
        for name, value in entry.items():
            if isinstance(value, Tensor) and not (value.is_floating_point() and bool(torch.isfinite(value).all())):
                yield f"the optimizer's {name} of parameter {number} has values that are not finite floats"
            elif isinstance(value, Tensor) or (name == "step" and _is_number(value)):
                continue
            elif value is not None or (has_stepped and keeps_state):
                yield f"the optimizer's {name} of parameter {number} is {value!r}"
