"""Learning rate and weight decay by name of the parameter, in as few groups as there are different options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mscmreid.engine.optimizers.line_sgd import LineSGD
from mscmreid.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d)
_OPTIONS = {"custom_keys", "norm_decay_mult", "bias_decay_mult"}
_KEY_OPTIONS = {"lr_mult", "decay_mult"}
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
"""Optimizers with one kernel for the whole update, on a CPU too (torch 2.4 and later)."""


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, paramwise: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Groups of trainable parameters with equal options, in the order in which their first parameter appears.

    Args:
        model: not wrapped.
        lr, weight_decay: base values.
        paramwise: ``custom_keys`` (part of a name -> ``lr_mult``, ``decay_mult``; the longest key that is part of a
            parameter's name counts), ``norm_decay_mult``, ``bias_decay_mult``, as in MMEngine.

    Raises:
        ValueError: an unknown option, or a key that is part of no parameter's name.
    """
    paramwise = dict(paramwise or {})
    custom = {key: dict(options) for key, options in paramwise.get("custom_keys", {}).items()}
    unknown = set(paramwise) - _OPTIONS
    for options in custom.values():
        unknown |= set(options) - _KEY_OPTIONS
    if unknown:
        raise ValueError(
            f"paramwise_cfg knows {sorted(_OPTIONS)} and {sorted(_KEY_OPTIONS)} a key, found {sorted(unknown)}"
        )
    keys = sorted(custom, key=lambda key: (-len(key), key))
    unused = set(keys)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter, is_norm in _trainable(model):
        key = next((k for k in keys if k in name), None)
        unused.discard(key or "")
        if key is not None:
            lr_mult, decay_mult = custom[key].get("lr_mult", 1.0), custom[key].get("decay_mult", 1.0)
        else:
            lr_mult, decay_mult = 1.0, 1.0
            if is_norm:
                decay_mult = paramwise.get("norm_decay_mult", 1.0)
            elif name.endswith("bias"):
                decay_mult = paramwise.get("bias_decay_mult", 1.0)
        group = groups.setdefault(
            (lr_mult, decay_mult), dict(params=[], lr=lr * lr_mult, weight_decay=weight_decay * decay_mult)
        )
        group["params"].append(parameter)
    if unused:
        raise ValueError(f"paramwise_cfg.custom_keys: no trainable parameter has {sorted(unused)} in its name")
    if not groups:
        raise ValueError("the model has no trainable parameter")
    return list(groups.values())


def _trainable(model: nn.Module) -> list[tuple[str, nn.Parameter, bool]]:
    """(name, parameter, belongs to a norm layer), each parameter once."""
    norms = {
        id(p) for module in model.modules() if isinstance(module, _NORMS) for p in module.parameters(recurse=False)
    }
    return [(name, p, id(p) in norms) for name, p in model.named_parameters() if p.requires_grad]


def begin_momentum(optimizer: torch.optim.SGD, args: Any = None, kwargs: Any = None) -> None:
    """Before a step of fused SGD: momentum that is not there yet begins at 0, so that the first step makes it g.

    torch would give its kernel unset memory to write g into. Where the gradients of that step overflow (float16), the
    kernel writes nothing, and the next step takes what lies there for momentum. It also refuses a parameter whose first
    gradient comes later than the others'.
    """
    for group in optimizer.param_groups:
        if group["fused"] and group["momentum"] and not group["dampening"]:
            for p in group["params"]:
                if p.grad is not None and optimizer.state[p].get("momentum_buffer") is None:
                    optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ReIDOptimWrapperConstructor:
    """Builds optimizer and wrapper from ``optim_wrapper``.

    MMEngine's own makes one group a parameter as soon as ``paramwise_cfg`` is given, so that an update launches one
    kernel for each; here parameters with the same options share a group. SGD, Adam and AdamW use torch's fused update,
    on CUDA and on a CPU, unless the config says otherwise (``fused`` or ``foreach``).

    Args:
        optim_wrapper_cfg: config of the wrapper, with the optimizer's under ``optimizer``.
        paramwise_cfg: see :func:`parameter_groups`.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if "optimizer" not in optim_wrapper_cfg:
            raise ValueError(f"optim_wrapper needs the key 'optimizer', found {sorted(optim_wrapper_cfg)}")
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop("optimizer"))
        self.paramwise_cfg = paramwise_cfg

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The wrapper for ``model`` (wrapped for data-parallel training or not)."""
        model = getattr(model, "module", model)
        cfg = dict(self.optimizer_cfg)
        if "lr" not in cfg:
            raise ValueError(f"optim_wrapper.optimizer needs 'lr', found {sorted(cfg)}")
        groups = parameter_groups(model, cfg["lr"], cfg.get("weight_decay", 0.0), self.paramwise_cfg)
        if "weight_decay" not in cfg:
            for group in groups:
                del group["weight_decay"]
        cls = OPTIMIZERS.get(cfg["type"]) if isinstance(cfg["type"], str) else cfg["type"]
        device_type = groups[0]["params"][0].device.type
        chosen = {"fused", "foreach"} & set(cfg) or cfg.get("dampening")  # with dampening, see begin_momentum
        if cls in FUSED and device_type in ("cuda", "cpu") and not chosen:
            cfg["fused"] = True
            if cls is torch.optim.SGD and device_type == "cpu":
                cfg["type"] = LineSGD
        for group in groups:
            count = sum(p.numel() for p in group["params"])
            options = ", ".join(f"{k} {v:g}" for k, v in group.items() if k != "params")
            print_log(f"optimizer group: {len(group['params'])} parameters ({count:,} numbers), {options}", "current")
        optimizer = OPTIMIZERS.build(dict(cfg, params=groups))
        if isinstance(optimizer, torch.optim.SGD):
            optimizer.register_step_pre_hook(begin_momentum)
        return OPTIM_WRAPPERS.build(dict(dict(type="AutocastOptimWrapper") | self.wrapper_cfg, optimizer=optimizer))
