"""Parts of a model that training leaves as they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn


def freeze(model: nn.Module, names: Sequence[str]) -> None:
    """Keep parts of a model as they are: no gradients, and eval mode (batch-norm statistics stand, no dropout).

    Args:
        model: before it is wrapped for several processes, and before its optimizer is built.
        names: of its modules or parameters, such as 'backbone.stems' or 'head.classifier.weight'.

    Raises:
        ValueError: a name of neither.
    """
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name in names:
        if name in modules:
            part = modules[name].requires_grad_(False).eval()
            part.train = partial(_stay, part)  # type: ignore[method-assign]
        elif name in parameters:
            parameters[name].requires_grad_(False)
        else:
            tops = sorted({key.split(".")[0] for key in parameters})
            raise ValueError(f"frozen: the model has no part named {name!r}; its parts begin with {tops}")


def _stay(part: nn.Module, mode: bool = True) -> nn.Module:
    """In the place of a frozen part's ``train``."""
    return part
