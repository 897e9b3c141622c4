"""A view: a named sequence of random operations that turns uint8 images into one stem's input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mscmreid.models.views.intensity import Normalize
from mscmreid.registry import TRANSFORMS
from mscmreid.structures import MODALITIES, ROW_MODALITIES

Draws = dict[str, Tensor]


class ViewOp(Protocol):
    """One random operation on a batch, in two parts: what chance decides, and what is done with it.

    Register a class with these two methods in ``mscmreid.registry.TRANSFORMS`` and name it in a view's ``ops``. It may
    also have

    - ``makes_new = True``: ``apply`` never writes into its input, which may save a copy;
    - ``reads_partner = True``: ``apply(x, draws, partner)`` also gets, for each image, one of the same person in the
      other modality: uint8 (N, 3, H, W), as it came from the data set, not to be written into;
    - ``set_iteration(iteration, epoch)``: called before each training iteration.
    """

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> Draws:
        """Draws for ``n`` images of ``size`` (height, width), from a CPU generator: tensors whose first axis is the
        image. Drawn for the global batch; each rank then gets its rows. Nothing random: an empty dict."""

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """The changed images. ``x`` is (N, 3, H, W), uint8 before ``Normalize`` and float32 after it; the operation
        may change it in place. ``draws`` lie on x's device. On a GPU nothing may be read back to the host."""


@dataclass(frozen=True)
class Step:
    """An operation and the epochs, counted from 0, in which it is done: ``from_epoch`` <= epoch < ``until_epoch``."""

    op: Any
    from_epoch: int = 0
    until_epoch: float = math.inf


@dataclass
class View:
    """One augmented version of every image of a modality.

    Attributes:
        modality: what its rows are: 'visible', 'infrared', or 'mixed' (visible images, changed by an operation that
            reads the infrared partner).
        stem: the backbone's stem it goes to; several views may share one.
        steps: the operations by name, in order; one of them is ``Normalize``.
        epoch: where training stands.
    """

    modality: str
    stem: str
    steps: dict[str, Step]
    epoch: int = 0

    @classmethod
    def build(
        cls, name: str, cfg: Mapping, common: Mapping[str, Mapping], mean: Sequence[float], std: Sequence[float]
    ) -> View:
        """From ``dict(modality=, stem=, ops=dict(crop=dict(type='PadCrop'), ...))``.

        Args:
            name: the view's; ``stem`` may be left out where it is the same.
            cfg: ``ops`` are differences to ``common``, see :func:`merge_ops`. Beside an operation's own options may
                stand ``from_epoch`` and ``until_epoch``, as in :class:`Step`.
            common: operations of every view.
            mean, std: what ``Normalize`` gets where the config does not say.

        Raises:
            ValueError: a key is missing or unknown, the modality is unknown, there is not one ``Normalize``, or a
                mixed view has no operation that reads the partner.
        """
        if not {"modality"} <= set(cfg) <= {"modality", "stem", "ops"}:
            raise ValueError(
                f"the view {name!r} must have the key modality, and perhaps stem and ops, found {sorted(cfg)}"
            )
        if cfg["modality"] not in ROW_MODALITIES:
            raise ValueError(f"the view {name!r}: modality must be one of {ROW_MODALITIES}, found {cfg['modality']!r}")
        steps = {}
        for key, op in merge_ops(common, cfg.get("ops") or {}).items():
            epochs = {limit: op.pop(limit) for limit in ("from_epoch", "until_epoch") if limit in op}
            if op.get("type") in (Normalize, "Normalize", "mscmreid.Normalize"):
                op = {"mean": mean, "std": std, **op}
            steps[key] = Step(TRANSFORMS.build(op), **epochs)
        if sum(isinstance(step.op, Normalize) for step in steps.values()) != 1:
            raise ValueError(f"the view {name!r} must have exactly one Normalize among its ops, found {list(steps)}")
        view = cls(cfg["modality"], cfg.get("stem", name), steps)
        if view.modality == "mixed" and view.partner is None:
            raise ValueError(f"the mixed view {name!r} needs an operation that reads the partner, found {list(steps)}")
        return view

    @property
    def source(self) -> str:
        """The modality of the images that it is made of."""
        return "visible" if self.modality == "mixed" else self.modality

    @property
    def partner(self) -> str | None:
        """The modality of the partners that an operation reads, None where none does."""
        if not any(getattr(step.op, "reads_partner", False) for step in self.steps.values()):
            return None
        return MODALITIES[1 - MODALITIES.index(self.source)]

    def set_iteration(self, iteration: int, epoch: int) -> None:
        """Tell which training iteration, of which epoch, comes next."""
        self.epoch = epoch
        for step in self.steps.values():
            if hasattr(step.op, "set_iteration"):
                step.op.set_iteration(iteration, epoch)

    @property
    def ops(self) -> list[Any]:
        """The operations of the present epoch, in order."""
        return [step.op for step in self.steps.values() if step.from_epoch <= self.epoch < step.until_epoch]

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> list[Draws]:
        """Draws of every operation of the present epoch, in order, for ``n`` images of ``size`` (height, width)."""
        return [op.draw(generator, n, size) for op in self.ops]

    def apply(self, x: Tensor, draws: Sequence[Draws], partner: Tensor | None = None) -> Tensor:
        """The view (N, 3, H, W) float32 of the uint8 images ``x`` (N, 3, H, W), which stay as they are."""
        ops = self.ops
        if not getattr(ops[0], "makes_new", False):
            x = x.clone()
        for op, drawn in zip(ops, draws, strict=True):
            x = op.apply(x, drawn, partner) if getattr(op, "reads_partner", False) else op.apply(x, drawn)
        return x


def merge_ops(common: Mapping[str, Mapping], own: Mapping[str, Mapping | None]) -> dict[str, dict]:
    """Operations by name, in order: ``common`` with the differences ``own``.

    Of an operation in ``own``: None takes it away; with a ``type`` it is a new one (in the place of the common one of
    its name); without, its options change the common one's. A new one comes last, or where ``before='name'`` says.

    Raises:
        ValueError: ``before``, or an operation without ``type``, names none that is there.
    """
    merged: dict[str, dict] = {}
    for name, op in [*common.items(), *own.items()]:
        if op is None:
            merged.pop(name, None)
            continue
        op = dict(op)
        before = op.pop("before", None)
        if "type" not in op:
            if name not in merged:
                raise ValueError(f"the operation {name!r} has no type, and there is none of that name to change")
            op = {**merged[name], **op}
        if before is None:
            merged[name] = op
            continue
        merged.pop(name, None)
        if before not in merged:
            raise ValueError(f"the operation {name!r} is to stand before {before!r}, found only {list(merged)}")
        place = list(merged).index(before)
        items = list(merged.items())
        merged = dict([*items[:place], (name, op), *items[place:]])
    return merged


def view_generator(seed: int, iteration: int, view: int) -> torch.Generator:
    """A CPU generator that depends on (seed, iteration, view) alone; neighbours are independent of each other."""
    state = np.random.SeedSequence([seed, iteration, view]).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))
