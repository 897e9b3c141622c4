"""The form of a config: which of its parts are dicts and lists, which need a type, which keys are numbers or texts.

It is looked at before any part is read, so that no code meets a text where it expects a dict. Objects in the place of a
part (a model, a hook) are let through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from mscmreid.engine.runner.value_kinds import expected_kind

FREE = {"extra", "optim_wrapper.clip_grad", "custom_imports", "compile", "stages", "strategy"}
"""Parts with a ``type`` or options that are not a component's."""
_LOADER = r"(train|val|test)_dataloader"
_COMPONENTS = [
    "model",
    rf"{_LOADER}\.(dataset|sampler|batch_sampler|collate_fn|worker_init_fn)",
    r"default_hooks\.(runtime_info|timer|sampler_seed|logger|param_scheduler|checkpoint)",
    r"(custom_hooks|param_scheduler|visualizer\.vis_backends)\.\d+",
    r"(val|test)_evaluator(\.\d+)?\.protocols\.\d+",
    r"(val|test)_evaluator(\.(metrics\.)?\d+)?",
    r"optim_wrapper\.optimizer|visualizer",
]
_GROUPS = [
    _LOADER,
    r"(train|val|test)_cfg",
    r"optim_wrapper(\.paramwise_cfg(\.custom_keys)?)?",
    "default_hooks|log_processor|env_cfg|randomness|auto_scale_lr",
]
_MODEL_COMPONENTS = [r"model\.(backbone|neck|head|data_preprocessor)"]
_MODEL_GROUPS = [r"model\..*\b(plugins|losses|ops|views)(\.\w+)?"]
_LISTS = [r"custom_hooks|visualizer\.vis_backends|(val|test)_evaluator(\.\d+)?\.protocols"]
SEVERAL = {"val_evaluator", "test_evaluator"}
"""Components in whose place a list of some may stand."""
KINDS: dict[str, Any] = {
    **dict.fromkeys(("load_from", "default_scope", "runner_type", "launcher", "experiment_name", "work_dir"), str),
    **dict.fromkeys(("load_strict", "find_unused_parameters"), bool),
    **dict(
        log_level=str | int,
        resume=bool | Literal["auto"],
        frozen=Sequence[str],
        cudnn_benchmark=bool,
        resource_limit=int,
    ),
}
"""Keys of the top level and of ``env_cfg`` -> what stands there."""
NOT_NEGATIVE = {
    *("from_epoch", "until_epoch", "start_iter", "ramp_iters", "window_size", "seed", "base_batch_size", "weight_std"),
    *("num_workers", "prefetch_factor", "trials", "momentum", "weight_decay", "lr", "dampening", "begin", "end"),
    *("milestones", "last"),
}
"""Names of numbers, and of what holds them, that no component means anything by below 0."""


def check_form(content: Mapping[str, Any]) -> None:
    """Refuse parts of the wrong kind.

    Args:
        content: a config's.

    Raises:
        ValueError: a part is no dict or list, or has no type, where it must; a number is below 0 where none can be.
            Names the path.
    """
    model = content.get("model")
    ours = isinstance(model, Mapping) and str(model.get("type")).rpartition(".")[2] == "CrossModalReID"
    components = _joined([*_COMPONENTS, *(_MODEL_COMPONENTS if ours else ())])
    groups = _joined([*_GROUPS, *(_MODEL_GROUPS if ours else ())])
    lists = _joined(_LISTS)
    for within, key, value in _parts(content, ""):
        if value is None:
            continue
        path = f"{within}.{key}" if within else key
        if components.fullmatch(path):
            many = (list, tuple) if within or key not in SEVERAL else ()
            _refuse(path, value, "a dict with a type", (bool, int, float, str, *many))
            if path != "model":
                _require_type(path, value)
        elif groups.fullmatch(path) or within.endswith("custom_keys"):
            _refuse(path, value, "a dict", (bool, int, float, str, list, tuple))
        elif lists.fullmatch(path):
            _refuse(path, value, "a list", (bool, int, float, str, Mapping))
        elif path == "param_scheduler":  # a dict may be one, or several by the name of an optimizer
            _refuse(path, value, "a dict or a list of dicts", (bool, int, float, str))
        elif isinstance(value, int | float) and value < 0 and {key, within.rpartition(".")[2]} & NOT_NEGATIVE:
            raise ValueError(f"config: {path} must be 0 or more, found {value!r}")
        elif key.endswith("_mult") and (wanted := expected_kind(value, float)):
            raise ValueError(f"config: {path}: expected {wanted}, found {value!r}")
    for within, part in (("", content), ("env_cfg.", content.get("env_cfg") or {})):
        for key, value in part.items():
            if wanted := expected_kind(value, KINDS.get(key)):
                raise ValueError(f"config: {within}{key}: expected {wanted}, found {value!r}")


def check_complete(content: Mapping[str, Any]) -> None:
    """Refuse a config without what a run needs. One that is only read, for its data sets, may have less, and objects
    may stand in the place of parts.

    Args:
        content: a config's.

    Raises:
        ValueError: the model has no type; a loader has no dataset, or neither a sampler nor a batch_sampler.
    """
    _require_type("model", content.get("model"))
    for loader, found in content.items():
        if not re.fullmatch(_LOADER, loader) or not isinstance(found, Mapping) or not found:
            continue
        if "dataset" not in found or not {"sampler", "batch_sampler"} & set(found):
            raise ValueError(
                f"config: {loader} needs a dataset, and a sampler or batch_sampler; found {', '.join(found)}"
            )


def _require_type(path: str, part: Any) -> None:
    if isinstance(part, Mapping) and not {"type", "metrics"} & set(part):
        found = ", ".join(map(str, part)) or "nothing"
        raise ValueError(f"config: {path} needs a type, the name of a component; found {found}")


def _joined(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


def _refuse(path: str, value: Any, wanted: str, kinds: tuple[type, ...]) -> None:
    if isinstance(value, kinds):
        raise ValueError(f"config: {path} must be {wanted}, found {value!r}")


def _parts(node: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """(path of the part it stands in, key, value) of everything below a part, the part above what is in it."""
    items: Any = node.items() if isinstance(node, Mapping) else ()
    if isinstance(node, list | tuple):
        items = enumerate(node)
    for key, value in items:
        place = f"{path}.{key}" if path else str(key)
        if place not in FREE:
            yield path, str(key), value
            yield from _parts(value, place)
