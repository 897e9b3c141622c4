"""torch's fused SGD on a CPU, without the copies that it makes of gradients and does not use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.sgd import sgd

from mscmreid.models.layout import laid_out_like, line


class LineSGD(torch.optim.SGD):
    """``torch.optim.SGD`` with ``fused=True``: the same arguments, numbers and state.

    On a CPU torch's kernel lays out anew each gradient that is in channels_last and then works on the given one, in the
    order in which its numbers lie, whatever the order of the weight and its momentum. Here it is given each weight with
    its gradient and momentum as lines of numbers, all three in the weight's order: nothing is copied, and momentum of
    a checkpoint that was written in another memory format meets the right weights.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; the loss of ``closure``, if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            used = [p for p in group["params"] if p.grad is not None]
            momenta = [self.state[p].get("momentum_buffer") if group["momentum"] else None for p in used]
            lines: list[Any] = [
                None if m is None else line(laid_out_like(m, p)) for m, p in zip(momenta, used, strict=True)
            ]
            sgd(
                [line(p) for p in used],
                [line(laid_out_like(p.grad, p)) for p in used],
                lines,
                fused=True,
                grad_scale=getattr(self, "grad_scale", None),
                found_inf=getattr(self, "found_inf", None),
                **{key: group[key] for key in ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")},
            )
            if group["momentum"]:
                for p, momentum in zip(used, lines, strict=True):
                    self.state[p]["momentum_buffer"] = momentum.as_strided(p.shape, p.stride())
        return loss
