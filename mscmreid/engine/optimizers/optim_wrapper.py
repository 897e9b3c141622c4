"""Mixed precision around any optimizer, on a GPU or a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from mscmreid.models.cast_once import WeightsCastOnce
from mscmreid.models.layout import laid_out_like
from mscmreid.registry import OPTIM_WRAPPERS

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Name -> dtype of the autocast, of training."""
EXTRACTION_PRECISIONS = {**PRECISIONS, "mixed": torch.bfloat16, "tf32": torch.float32}
"""The same of a copy for inference; 'mixed' keeps float32 where half precision shows (``inference_copy``); 'tf32' is
float32 with an NVIDIA GPU's shorter products (:func:`mscmreid.models.precision.inference_precision`)."""


def usable_precision(dtype: str, device_type: str, known: Mapping[str, torch.dtype] = PRECISIONS) -> str:
    """The precision a run uses: ``dtype``, but 'float32' where 'float16' or 'tf32' is asked for on a CPU (logged).

    Raises:
        ValueError: ``dtype`` is not one of ``known``.
    """
    if dtype not in known:
        raise ValueError(f"dtype must be one of {sorted(known)}, found {dtype!r}")
    if dtype in ("float16", "tf32") and device_type == "cpu":
        print_log(f"no CUDA device: going on in float32 instead of {dtype} (--amp bf16 is there on a CPU)", "current")
        return "float32"
    return dtype


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Autocast in the forward pass, loss scaling for float16, gradient accumulation and clipping as in MMEngine.

    Args:
        optimizer: the wrapped optimizer.
        dtype: 'float16' (with a gradient scaler; float32 on a CPU), 'bfloat16' or 'float32'.
        loss_scale: 'dynamic', a fixed number, or the arguments of ``torch.amp.GradScaler``. Used with float16 only.
        accumulative_counts: batches whose gradients are accumulated before a step.
        clip_grad: arguments of ``torch.nn.utils.clip_grad_norm_`` (or ``_value_`` with ``type='value'``).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        dtype: str = "float16",
        loss_scale: str | float | Mapping[str, Any] = "dynamic",
        accumulative_counts: int = 1,
        clip_grad: dict | None = None,
    ) -> None:
        super().__init__(optimizer, accumulative_counts, None if clip_grad is None else dict(clip_grad))
        self.device_type = optimizer.param_groups[0]["params"][0].device.type
        self.precision = usable_precision(dtype, self.device_type)
        self.fixed_scale = float(loss_scale) if isinstance(loss_scale, int | float) else None
        self.scaler = torch.amp.GradScaler(
            self.device_type, enabled=self.precision == "float16", **_scaler_options(loss_scale)
        )
        self.grad_norm: Tensor | None = None
        self.weights: WeightsCastOnce | None = None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The forward pass runs in here: autocast, with the weights cast once, and no gradient exchange between
        accumulated batches."""
        dtype = PRECISIONS[self.precision]
        if self.weights is None or self.weights.model is not model:
            self.weights = WeightsCastOnce(model, dtype)
        with (
            super().optim_context(model),
            self.weights(),
            torch.autocast(self.device_type, dtype=dtype, enabled=dtype is not torch.float32),
        ):
            yield

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss divided by the batches that are accumulated, as in MMEngine, which divides by 1, too."""
        return loss if self._accumulative_counts == 1 else super().scale_loss(loss)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Gradients of the scaled loss; ``kwargs`` go to :meth:`torch.Tensor.backward`."""
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        """Clip and update; with float16 an update with infinite gradients is left out and the scale lowered."""
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update(self.fixed_scale)

    def _clip_grad(self) -> None:
        """As in MMEngine, but the norm stays on the device until it is logged."""
        params = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if params:
            self.grad_norm = self.clip_func(params, **self.clip_grad_kwargs)

    def state_dict(self) -> dict:
        """The optimizer's state, and the scaler's under ``loss_scaler``."""
        state = super().state_dict()
        if self.scaler.is_enabled():
            state["loss_scaler"] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore :meth:`state_dict`; a state without a scale (another precision) leaves the scaler as it is.

        Momentum of a run in another memory format is laid out as the weights are: torch's fused optimizers read
        both in the order in which their numbers lie.
        """
        state_dict = dict(state_dict)
        scale = state_dict.pop("loss_scaler", None)
        if self.scaler.is_enabled():
            if scale:
                self.scaler.load_state_dict(scale)
            else:
                print_log("the checkpoint holds no loss scale (it ran without float16): it starts anew", "current")
        super().load_state_dict(state_dict)
        for parameter in (p for group in self.optimizer.param_groups for p in group["params"]):
            state = self.optimizer.state.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = laid_out_like(value, parameter)


def _scaler_options(loss_scale: str | float | Mapping[str, Any]) -> dict[str, Any]:
    if loss_scale == "dynamic":
        return {}
    if isinstance(loss_scale, int | float):
        return dict(init_scale=float(loss_scale))
    if isinstance(loss_scale, Mapping):
        return dict(loss_scale)
    raise ValueError(f"loss_scale must be 'dynamic', a number or GradScaler's arguments, found {loss_scale!r}")
