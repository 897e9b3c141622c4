"""A config is read before anything is built: keys that nothing reads, types that nobody registered, values of a kind
that cannot be meant. Every message names the key's full path."""

from __future__ import annotations

import ast
import collections.abc
import functools
import inspect
import math
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner, TestLoop, ValLoop
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from mscmreid import registry as registries
from mscmreid.engine.runner.config_form import FREE
from mscmreid.engine.runner.value_kinds import expected_kind
from mscmreid.near_names import did_you_mean

SHARED = {"data_root", "split_id", "image_size", "cache_dir"}
"""Top-level keys that reach every place where the value is needed."""
MORE_KEYS = {
    *("runner_type", "custom_imports", "load_strict", "compile", "sync_bn", "find_unused_parameters"),
    *("model_wrapper_cfg", "strategy", "stages", "frozen", "stage", "activation_checkpointing", "extra"),
    "efficient_conv_bn_eval",
}
"""Top-level keys that a config may have, besides the arguments of MMEngine's Runner and :data:`SHARED`. What code of
the user's own reads from ``runner.cfg`` stands in ``extra``, a dict that is not checked."""
DEFAULT_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
"""Names in ``default_hooks`` that replace a hook of MMEngine's."""
LENGTHS = dict(
    **dict.fromkeys(("EpochBasedTrainLoop", "ReIDTrainLoop"), "max_epochs"),
    **dict.fromkeys(("IterBasedTrainLoop", "ReIDIterTrainLoop"), "max_iters"),
)
"""Training loop -> the key of ``train_cfg`` that it cannot do without."""
_EPOCHS = dict(from_epoch=int, until_epoch=int)
BESIDE: dict[str, dict[str, Any]] = {
    r"custom_hooks\.\d+|default_hooks\.\w+": dict(priority=int | str),
    r"param_scheduler(\.\d+)?": dict(convert_to_iter_based=bool, by_epoch=bool),
    r"optim_wrapper": dict(constructor=str | dict, paramwise_cfg=dict),
    r"(train|val|test)_dataloader\.(batch_)?sampler": dict(seed=int),
    r"(train|val|test)_cfg": dict(by_epoch=bool),
    r"train_cfg": dict(max_epochs=int),  # of a base config, where iterations count: the runner says that it does not
    r"model\..*plugins\.\w+": dict(after=str | Sequence[str], last=Mapping[str, int]),
    r"model\..*losses\.\w+": dict(weight=float, start_iter=int, ramp_iters=int, reads=Mapping[str, str], **_EPOCHS),
    r"model\..*ops\.\w+": dict(before=str, **_EPOCHS),
}
"""Where (a pattern of paths) -> keys that are read there beside the arguments of the component, or in their place, and
what stands there."""
_LOADER_KINDS = dict(
    **dict.fromkeys(("batch_size", "num_workers", "prefetch_factor", "num_batch_per_epoch"), int),
    **dict.fromkeys(("pin_memory", "persistent_workers", "drop_last", "disable_subprocess_warning"), bool),
)
FREE_KEYS = {"on_trace_ready"}  # of MMEngine's ProfilerHook
"""Parts with a ``type`` that is not a component's, by the last name of the path; by the path: :data:`FREE`."""
SUPPLIED = {
    *("self", "runner", "dataloader", "evaluator", "dataset", "sampler", "batch_size", "optimizer", "params"),
    *("model", "save_dir", "module", "epoch_length", "end", "param_name"),
}
"""Arguments of components that whoever builds them gives."""
BUILT_AT_ONCE = ("model", "optim_wrapper.paramwise_cfg")
"""Parts whose builders, at the start of a run, refuse every unknown option themselves."""


def top_level_keys() -> set[str]:
    """Every key that a run reads at the top level of a config."""
    return {*inspect.signature(Runner.__init__).parameters, *MORE_KEYS, *SHARED} - {"self", "cfg"}


def config_variables(path: str | Path) -> set[str]:
    """Names that are read by an expression somewhere in a config file or its bases: variables that keys are built from.

    Args:
        path: of a config file in Python; another one has no variables.
    """
    found: set[str] = set()
    todo, done = [Path(path)], set()
    while todo:
        file = todo.pop()
        if file in done or not file.is_file() or file.suffix != ".py":
            continue
        done.add(file)
        text = re.sub(r"\{\{\s*\$.*?\}\}", "None", file.read_text(encoding="utf-8"))  # environment variables
        try:
            tree = ast.parse(text)
        except SyntaxError:  # what MMEngine replaces in texts before it reads them
            found |= set(re.findall(r"_base_\.(\w+)", text))
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_base_":
                found.add(node.attr)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level:  # a config of MMEngine's new style
                todo.append(file.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py"))
            elif isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "_base_" for t in node.targets):
                todo += [file.parent / base for base in _texts(node.value) if "::" not in base]
    return found


def _texts(node: ast.AST) -> list[str]:
    """The strings in a literal."""
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def drop_variables(cfg: dict[str, Any], path: str | Path | None) -> list[str]:
    """Take the variables out of a config; they have done their work when it was read.

    Args:
        cfg: a config's content, changed in place.
        path: its file.

    Returns:
        Their names.

    Raises:
        ValueError: a key at the top level is neither read by a run nor by another key.
    """
    unknown = [key for key in cfg if key not in top_level_keys()]
    if not unknown:
        return []
    variables = config_variables(path) if path else set()
    for key in unknown:
        if key not in variables and not key.startswith("_"):
            raise ValueError(
                f"config: nothing reads the key {key!r}{did_you_mean(key, top_level_keys())} (a variable must be used "
                "by another key of the file; what your own code reads from runner.cfg goes into extra=dict(...))"
            )
    for key in unknown:
        del cfg[key]
    return unknown


def check_config(cfg: Mapping[str, Any]) -> None:
    """Refuse what no run would read, or would only find out about when a day of training is over.

    Args:
        cfg: a whole config, without variables.

    Raises:
        ValueError: a key that nothing reads, a type that is not registered, a value of the wrong kind. Names the path.
    """
    content = cfg.to_dict() if hasattr(cfg, "to_dict") else cfg
    _known(content, "", top_level_keys())
    for key, value in content.items():
        _refuse_nan(value, key)
    env = _part(content, "env_cfg", {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"})
    _part(env, "mp_cfg", _names(set_multi_processing) - {"distributed"}, "env_cfg.")
    groups = _names(torch.distributed.init_process_group) if torch.distributed.is_available() else set()
    _part(env, "dist_cfg", groups | {"init_backend", "port", "backend", "timeout"}, "env_cfg.")
    _part(content, "auto_scale_lr", dict(enable=bool, base_batch_size=int))
    _part(content, "randomness", dict(seed=int, diff_rank_seed=bool, deterministic=bool))
    _part(content, "custom_imports", {"imports", "allow_failed_imports"})
    _part(content, "compile", _names(torch.compile) - {"model"})
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        kinds = dict.fromkeys(_names(DataLoader), inspect.Parameter.empty) | _LOADER_KINDS
        size = _part(content, loader, kinds).get("batch_size")
        if size is not None and size < 1:
            raise ValueError(f"config: {loader}.batch_size must be 1 or more, found {size}")
    _check_registered(content.get("runner_type"), "runner_type", registries.RUNNERS)
    wrapper = content.get("optim_wrapper")
    constructor = wrapper.get("constructor") if isinstance(wrapper, Mapping) else None
    _check_registered(constructor, "optim_wrapper.constructor", registries.OPTIM_WRAPPER_CONSTRUCTORS)
    _check_train_cfg(content.get("train_cfg"))
    for key, loop in (("val_cfg", ValLoop), ("test_cfg", TestLoop)):
        node = content.get(key)
        if isinstance(node, Mapping) and "type" not in node:
            _known(node, key, _names(loop) - {"runner", "dataloader", "evaluator"})
    _check_default_hooks(content.get("default_hooks"))
    registered = components()
    strange: list[str] = []  # components of other code: what a ``type`` inside them means is theirs to say
    for path, node in _typed(content, ""):
        if not path.startswith(tuple(strange)):
            component = _check_component(path, node, registered)
            if component is not None and not component.__module__.startswith(("mscmreid.", "mmengine.", "torch.")):
                strange.append(f"{path}.")
    _check_length(content.get("train_cfg"))


def _check_registered(kind: Any, path: str, registry: Registry) -> None:
    """A name that stands by itself, not as the type of a dict."""
    if isinstance(kind, str) and registry.get(kind) is None:
        names = {*registry.module_dict, *(registry.parent.module_dict if registry.parent else ())}
        raise _not_registered(path, kind, kind, names)


def _not_registered(path: str, kind: str, name: str, names: Iterable[str]) -> ValueError:
    return ValueError(f"config: {path}: nothing is registered as {kind!r}{did_you_mean(name, names)}")


def _known(node: Mapping, path: str, names: set[str]) -> None:
    for key in node:
        if key not in names:
            place = f"{path}.{key}" if path else str(key)
            raise ValueError(f"config: nothing reads {place}{did_you_mean(str(key), names)} ({_some(names)})")


def _some(names: set[str]) -> str:
    """What there is, as long as it can be taken in."""
    return f"known here: {', '.join(sorted(names))}" if len(names) <= 24 else f"{len(names)} keys are known here"


def _part(parent: Any, key: str, names: set[str] | dict[str, Any], prefix: str = "") -> Mapping:
    """A dict of the config, whose keys are checked, and with annotations its values; {} if there is none."""
    node = parent.get(key) if isinstance(parent, Mapping) else None
    if node is None or (key == "compile" and isinstance(node, bool)):
        return {}
    if not isinstance(node, Mapping):
        raise ValueError(f"config: {prefix}{key} must be a dict, found {node!r}")
    _known(node, f"{prefix}{key}", {*names})
    for name, kind in names.items() if isinstance(names, dict) else ():
        if wanted := expected_kind(node.get(name), kind):
            raise ValueError(f"config: {prefix}{key}.{name}: expected {wanted}, found {node[name]!r}")
    return node


def _refuse_nan(value: Any, path: str) -> None:
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"config: {path} is nan, which is no value that an option can have")
    items: Any = value.items() if isinstance(value, Mapping) else ()
    if isinstance(value, list | tuple):
        items = enumerate(value)
    for key, part in items:
        _refuse_nan(part, f"{path}.{key}")


def _check_train_cfg(node: Any) -> None:
    """Lengths and intervals are whole numbers; the loop's arguments, where no type is said."""
    if not isinstance(node, Mapping):
        return
    if wanted := expected_kind(node.get("by_epoch"), bool):
        raise ValueError(f"config: train_cfg.by_epoch: expected {wanted}, found {node['by_epoch']!r}")
    for key in ("max_epochs", "max_iters", "val_begin", "val_interval"):
        value = node.get(key)
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if value is not None and not whole and not (key.startswith("val_") and value == math.inf):
            raise ValueError(f"config: train_cfg.{key} must be a whole number, 1 or more, found {value!r}")
    if "type" not in node:
        # a config that counts iterations may inherit a number of epochs, which then does not count
        loops = [EpochBasedTrainLoop, IterBasedTrainLoop] if not node.get("by_epoch", True) else [EpochBasedTrainLoop]
        names = {name for loop in loops for name in _names(loop)} - {"runner", "dataloader"}
        _known(node, "train_cfg", names | {"by_epoch"})


def _check_length(node: Any) -> None:
    """A training has a length."""
    if not isinstance(node, Mapping) or not node:
        return
    kind = str(node.get("type") or ("IterBasedTrainLoop" if not node.get("by_epoch", True) else "EpochBasedTrainLoop"))
    length = LENGTHS.get(kind.rpartition(".")[2])
    if length is not None and node.get(length) is None:
        unit = "epochs" if length == "max_epochs" else "iterations"
        raise ValueError(
            f"config: train_cfg needs {length}=N, the length of a training that counts {unit}; found "
            f"{', '.join(f'{key}={value!r}' for key, value in node.items())}"
        )


def _check_default_hooks(hooks: Any) -> None:
    """A hook under another name than its own would run beside the default one, not in its place."""
    for name, hook in hooks.items() if isinstance(hooks, Mapping) else ():
        path = f"default_hooks.{name}"
        if name in DEFAULT_HOOKS or not isinstance(hook, Mapping | None):
            continue
        if hook is None or "type" not in hook:
            raise ValueError(
                f"config: {path} is no default hook{did_you_mean(name, DEFAULT_HOOKS)} "
                f"({_some(set(DEFAULT_HOOKS))}; another hook needs a type)"
            )
        for own, part in (
            ("checkpoint", "Checkpoint"),
            ("logger", "LoggerHook"),
            ("timer", "IterTimer"),
            ("runtime_info", "RuntimeInfo"),
            ("runtime_info", "DeferredScalars"),
            ("param_scheduler", "ParamScheduler"),
            ("sampler_seed", "DistSamplerSeed"),
        ):
            if part in str(hook["type"]):
                raise ValueError(f"config: {path} of type {hook['type']!r} must stand under default_hooks.{own}")


def _typed(node: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    """(path, dict) of all dicts with a ``type`` below ``node``."""
    if path in FREE or path.rpartition(".")[2] in FREE_KEYS:
        return
    if isinstance(node, Mapping):
        if "type" in node:
            yield path, node
        for key, value in node.items():
            yield from _typed(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _typed(value, f"{path}.{number}")


def _check_component(path: str, node: Mapping, registered: Mapping[str, Sequence[Any]]) -> Any:
    """One dict with a ``type``; returns its component, None for one of another project's scope."""
    kind = node["type"]
    if not isinstance(kind, str) and not callable(kind):
        raise ValueError(f"config: {path}.type must be the name of a component, found {kind!r}")
    found: Sequence[Any] = (kind,)
    if isinstance(kind, str):
        scope, _, name = kind.rpartition(".")
        if scope not in ("", "mscmreid", "mmengine"):
            return None
        found = registered.get(kind if scope else name, ())
        if not found:
            raise _not_registered(f"{path}.type", kind, name, (n for n in registered if "." not in n))
    problems = [problem for cls in found if (problem := _misfit(path, node, cls)) is not None]
    if len(problems) == len(found):
        raise ValueError(f"config: {problems[0]}")
    return found[0]


def _misfit(path: str, node: Mapping, component: Any) -> str | None:
    """What of a dict does not fit a component's arguments, None if all fits."""
    known = arguments_of(component)
    if known is None:
        return None
    arguments, open_ended = known
    beside = {
        key: kind for pattern, keys in BESIDE.items() if re.fullmatch(pattern, path) for key, kind in keys.items()
    }
    checked = not open_ended and not any(path == part or path.startswith(f"{part}.") for part in BUILT_AT_ONCE)
    name = getattr(component, "__name__", str(component))
    for key, value in node.items():
        if key in ("type", "_scope_", "_delete_"):
            continue
        if checked and key not in arguments and key not in beside:
            names = {*arguments, *beside} - {"self", "runner", "dataloader", "dataset", "optimizer", "params"}
            return f"{path}.{key}: {name} has no {key!r}{did_you_mean(str(key), names)} ({_some(names)})"
        kind = beside.get(key, arguments.get(key, inspect.Parameter.empty))
        if isinstance(value, Mapping) and typing.get_origin(kind) is collections.abc.Mapping:
            for sub, part in value.items():
                if wanted := expected_kind(part, typing.get_args(kind)[1]):
                    return f"{path}.{key}.{sub}: expected {wanted}, found {part!r}"
        if wanted := expected_kind(value, kind):
            return f"{path}.{key}: expected {wanted}, found {value!r}"
    lacking = sorted(_required(component) - set(node) - SUPPLIED) if checked else ()
    if lacking and path != "train_cfg":  # the length of a training has its own message
        return f"{path} lacks {' and '.join(lacking)}, which {name} needs"
    return None


def _required(component: Any) -> set[str]:
    """Arguments of a class without a default (a function may be handed the rest later)."""
    found: set[str] = set()
    for cls in component.__mro__[:-1] if inspect.isclass(component) else ():
        if "__init__" not in cls.__dict__:
            continue
        parameters = [*inspect.signature(cls.__dict__["__init__"]).parameters.values()][1:]
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        found |= {p.name for p in named if p.default is p.empty}
        if sum(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters) < 2:
            break  # else it hands all on to its base
    return found


@functools.cache
def arguments_of(component: Any) -> tuple[dict[str, Any], bool] | None:
    """Names and annotations of a component's arguments, and whether it takes others too; None if nobody can say.

    Options that a class hands to its base (``**kwargs``) are looked up there.
    """
    functions = [component]
    if inspect.isclass(component):
        functions = [c.__dict__["__init__"] for c in component.__mro__[:-1] if "__init__" in c.__dict__]
    arguments: dict[str, Any] = {}
    open_ended = True
    for function in functions:
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        kinds = _annotations(function)
        named = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name != "self"]
        for name in named:
            arguments.setdefault(name, kinds.get(name, inspect.Parameter.empty))
        open_ended = any(p.kind == p.VAR_KEYWORD for p in parameters)
        if not open_ended:
            break
    return arguments, open_ended


def _annotations(function: Any) -> dict[str, Any]:
    try:
        return inspect.get_annotations(function, eval_str=True)
    except Exception:  # names that only a type checker sees: such an argument is not checked
        return {}


def _names(function: Any) -> set[str]:
    return {*inspect.signature(function).parameters} - {"self", "args", "kwargs"}


def components() -> dict[str, list[Any]]:
    """Everything that is registered, here and in MMEngine: name, with and without its scope -> components."""
    found: dict[str, list[Any]] = {}
    for registry in vars(registries).values():
        if not isinstance(registry, Registry):
            continue
        registry.import_from_location()
        level: Registry | None = registry
        seen: set[str] = set()
        while level is not None:
            for name, component in level.module_dict.items():
                found.setdefault(f"{level.scope}.{name}", []).append(component)
                if name not in seen:  # of two of one name the nearer counts
                    found.setdefault(name, []).append(component)
                seen.add(name)
            level = level.parent
    return found


def path_of(part: Mapping[str, Any], cfg: Any) -> str | None:
    """Where in a config a part stands that was taken out of it to be built, and may have got more keys since.

    Args:
        part: with ``type``.
        cfg: the whole config.
    """
    content = cfg.to_dict() if hasattr(cfg, "to_dict") else cfg
    for path, node in _typed(content, ""):
        keys = {*node} - {key for pattern, names in BESIDE.items() if re.fullmatch(pattern, path) for key in names}
        if node["type"] == part.get("type") and all(key in part and _same(part[key], node[key]) for key in keys):
            return path
    return None


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except (ValueError, RuntimeError):  # arrays, tensors
        return a is b
