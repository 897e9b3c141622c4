"""From a config file and command-line options to the config of a run."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mscmreid.engine.runner.config_check import SHARED, arguments_of, check_config, path_of, top_level_keys
from mscmreid.engine.runner.run_config import places_of, plain_config, spread_shared
from mscmreid.near_names import did_you_mean
from mscmreid.resources import find_config

WHERE_AND_HOW = {
    *("work_dir", "data_root", "cache_dir", "load_from", "load_strict", "resume", "launcher", "experiment_name"),
    *("log_level", "log_processor", "visualizer", "env_cfg", "num_workers", "pin_memory", "persistent_workers"),
    *("out_json", "out_features"),
}
"""Keys that say where and how a run goes, not what it computes."""

MEANT = 0.75
"""Likeness from which on a name that is not there is taken for a misspelt one, and not for a new one."""


def load_config(config: str | Path | Config, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config and apply options.

    Short names at the top level reach every place where the value is needed: ``data_root``, ``split_id``, ``cache_dir``
    (all data loaders' data sets) and ``image_size`` (theirs and the backbone's; no other place may say it).

    Args:
        config: a file, the name of a config that comes with the package (:func:`mscmreid.resources.find_config`), or a
            config (copied).
        options: dotted names -> values, as ``--cfg-options`` gives them. A short name replaces what stands in its
            places, but for those that an option of their own names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read; an option has a name or a value that cannot be meant
            (:func:`check_options`), or a key of the config has
            (:func:`mscmreid.engine.runner.config_check.check_config`); a part of the config says another image size
            than its top level.
    """
    if isinstance(config, Config):
        cfg = config.copy()
    else:
        path = find_config(config)
        try:
            cfg = Config.fromfile(str(path))
        except Exception as error:  # a config is the user's code: whatever goes wrong in it
            raise ValueError(f"config {path}: {type(error).__name__}: {error}") from error
    cfg, variables = plain_config(cfg)
    options = dict(options or {})
    check_options(cfg, options, variables)
    for key in SHARED & set(options):
        for place in places_of(cfg, key):
            options.setdefault(f"{place}.{key}", options[key])
    try:
        cfg.merge_from_dict(options)
    except (TypeError, KeyError, IndexError, AssertionError) as error:  # such as a key below a number or a list
        raise ValueError(f"option {', '.join(options)}: it does not fit into the config: {error}") from error
    spread_shared(cfg)
    cfg.setdefault("runner_type", "mscmreid.ReIDRunner")
    cfg.setdefault("default_scope", "mscmreid")
    check_config(cfg)
    for name in cfg.get("stages") or ():
        stage_config(cfg, name)
    return cfg


def stage_config(cfg: Config, name: str) -> Config:
    """The config of one stage of a training: the whole config with the stage's differences, and ``stage=name``.

    Args:
        cfg: with ``stages``: name -> differences, in order; dicts merge as those of a child config do.
        name: of a stage.

    Raises:
        ValueError: there is no such stage, or its config has a key or value that cannot be meant.
    """
    stages = cfg.get("stages") or {}
    if name not in stages:
        raise ValueError(f"the config has the stages {list(stages)}, found {name!r}")
    content = cfg.to_dict()
    differences = content.pop("stages")[name]
    differences.pop("start_from", None)
    merged = Config._merge_a_into_b(differences, content)
    merged["stage"] = name
    staged = type(cfg)(merged, cfg_text=cfg.text, filename=cfg.filename, env_variables=dict(cfg.env_variables))
    spread_shared(staged)
    try:
        check_config(staged)
    except ValueError as error:
        raise ValueError(f"stage {name!r}: {error}") from error
    return staged


def config_of_stage(cfg: Config, meta: Mapping[str, Any]) -> Config:
    """The config that a checkpoint was made with: of its stage, where the training has stages.

    Args:
        cfg: with or without ``stages``.
        meta: of the checkpoint; without a stage (a converted or an untrained one) the last stage's config is taken.
    """
    if not cfg.get("stages"):
        return cfg
    return stage_config(cfg, meta.get("stage") or list(cfg.stages)[-1])


def check_options(cfg: Config, options: Mapping[str, Any], variables: Sequence[str] = ()) -> None:
    """Refuse options that cannot be meant: they would be kept and never read, or fail far from here.

    Args:
        cfg: what they are for.
        options: dotted names -> values.
        variables: names that other keys of the config were built from.

    Raises:
        ValueError: a top-level name that nothing reads, a name with a part that is nearly one of the config's, text in
            the place of a number, a number in the place of a list, and the like. Names the option.
    """
    top_level = {*cfg, *top_level_keys()}
    for name, value in options.items():
        first, *_ = *parents, last = name.split(".")
        if first in variables:
            raise ValueError(
                f"option {name}: {first} is a variable of the config, and the keys built from it have its value "
                "already: set those keys, or change the file"
            )
        if first == "stage":
            raise ValueError(
                f"option {name}: a training in stages writes it by itself; what a stage changes stands in stages.NAME"
            )
        if first not in top_level:
            raise ValueError(f"option {name}: no config has the key {first!r}{did_you_mean(first, top_level)}")
        place: Any = cfg._cfg_dict
        for i, part in enumerate(parents):
            if isinstance(place, Mapping) and part not in place and (close := did_you_mean(part, place, MEANT)):
                raise ValueError(f"option {name}: no {part!r} in {'.'.join(parents[:i]) or 'the config'}{close}")
            if isinstance(place, Sequence) and part.isdigit() and int(part) < len(place):
                place = place[int(part)]
            else:
                place = place.get(part) if isinstance(place, Mapping) else None
        present = place.get(last) if isinstance(place, Mapping) else None
        if name == "image_size" and not (isinstance(value, list | tuple) and [type(v) for v in value] == [int, int]):
            raise ValueError(f"option image_size: expected height and width such as (384,192), found {value!r}")
        if wanted := _wanted(present, value):
            raise ValueError(f"option {name}: expected {wanted}, as the config's {present!r}, found {value!r}")


def _wanted(present: Any, value: Any) -> str | None:
    """What kind of value has to stand in the place of ``present``, if ``value`` is not of it."""
    if present is None or value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(present, bool):
        return "True or False" if is_number or (isinstance(value, str) and value != "auto") else None
    if isinstance(present, int | float):
        return "a number" if isinstance(value, str | bool) else None
    if isinstance(present, Mapping):
        return "keys and values" if isinstance(value, str) or is_number else None
    if isinstance(present, list | tuple):
        numbers = all(isinstance(v, int | float) for v in present)
        return "a list" if is_number or isinstance(value, bool) or (numbers and isinstance(value, str)) else None
    return None


@contextmanager
def naming_the_part(cfg: Config) -> Iterator[None]:
    """An error over a part of the config that is built inside says where that part stands.

    Args:
        cfg: what is built from.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        parts = [frame.f_locals.get("cfg") for frame in frames if frame.f_code.co_name == "build_from_cfg"]
        paths = (path_of(part, cfg) for part in reversed(parts) if isinstance(part, Mapping) and "type" in part)
        path = next((path for path in paths if path), None)
        if path and error.args and isinstance(error.args[0], str) and path not in error.args[0]:
            hint = _near_option(error.args[0], [frame.f_locals.get("obj_cls") for frame in frames])
            error.args = (f"config: {path}: {error.args[0]}{hint}", *error.args[1:])
        raise


def _near_option(message: str, built: Sequence[Any]) -> str:
    """What may have been meant, behind Python's message on an argument that a component has not."""
    told = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", message)
    component = next((cls for cls in built if told and getattr(cls, "__name__", "") == told[1]), None)
    known = None if component is None else arguments_of(component)
    return "" if told is None or known is None else did_you_mean(told[2], known[0])


def set_work_dir(cfg: Config, work_dir: str | None, name: str | None = None) -> None:
    """``work_dir``: as given, else the config's own, else ``work_dirs/<name of the config>``."""
    stem = name or (Path(cfg.filename).stem if cfg.filename else "run")
    cfg.work_dir = work_dir or cfg.get("work_dir") or str(Path("work_dirs", stem))


def drop_missing_backends(cfg: Config) -> str | None:
    """Take TensorBoard out of the visualiser where it is not installed; returns the message that says so."""
    backends = (cfg.get("visualizer") or {}).get("vis_backends") or []
    wanted = [b for b in backends if b.get("type") == "TensorboardVisBackend"]
    if not wanted or any(importlib.util.find_spec(name) for name in ("tensorboard", "tensorboardX")):
        return None
    cfg.visualizer.vis_backends = [b for b in backends if b not in wanted]
    return (
        "TensorBoard is not installed, so its event files are not written (pip install tensorboard); "
        "the same scalars are in vis_data/scalars.json"
    )


def config_hash(cfg: Config) -> str:
    """12 hexadecimal digits that two configs share if they compute the same, wherever data and results lie."""
    content = cfg.to_dict()
    if isinstance(content.get("runner_type"), str):
        content["runner_type"] = content["runner_type"].removeprefix("mscmreid.")  # the same, in every script
    return hashlib.sha256(repr(_what(content)).encode()).hexdigest()[:12]


def _what(value: Any) -> Any:
    """``value`` without the keys of :data:`WHERE_AND_HOW` at any depth, dictionaries in a fixed order."""
    if isinstance(value, Mapping):
        return sorted((str(k), _what(v)) for k, v in value.items() if k not in WHERE_AND_HOW)
    if isinstance(value, list | tuple):
        return [_what(v) for v in value]
    return value
