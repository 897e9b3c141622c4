"""The network itself, in training on several processes."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn


def bare_model(model: nn.Module) -> Any:
    """``model`` without what data-parallel training wrapped it in."""
    return model.module if is_model_wrapper(model) else model
