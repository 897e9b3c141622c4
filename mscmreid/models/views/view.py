"""A view: a named sequence of random operations that turns uint8 images into one stem's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mscmreid.models.views.intensity import Normalize
from mscmreid.registry import TRANSFORMS
from mscmreid.structures import modality_index

Draws = dict[str, Tensor]


class ViewOp(Protocol):
    """One random operation on a batch, in two parts: what chance decides, and what is done with it.

    Register a class with these two methods in ``mscmreid.registry.TRANSFORMS`` and name it in a view's ``ops``.
    """

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> Draws:
        """Draws for ``n`` images of ``size`` (height, width), from a CPU generator: tensors whose first axis is the
        image. Drawn for the global batch; each rank then gets its rows. Nothing random: an empty dict."""

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """The changed images. ``x`` is (N, 3, H, W), uint8 before ``Normalize`` and float32 after it; the operation
        may change it in place (one that never does says so by ``makes_new = True`` and may save a copy). ``draws`` lie
        on x's device. On a GPU nothing may be read back to the host."""


@dataclass(frozen=True)
class View:
    """One augmented version of every image of a modality.

    Attributes:
        modality: 'visible' or 'infrared': the images it is made of.
        stem: the backbone's stem it goes to; several views may share one.
        ops: the operations, in order; one of them is ``Normalize``.
    """

    modality: str
    stem: str
    ops: tuple[ViewOp, ...]

    @classmethod
    def build(cls, cfg: Mapping, mean: Sequence[float], std: Sequence[float]) -> View:
        """From ``dict(modality=, stem=, ops=[dict(type=...), ...])``; ``Normalize`` gets ``mean`` and ``std``.

        Raises:
            ValueError: a key is missing or unknown, the modality is unknown, or there is not one ``Normalize``.
        """
        if set(cfg) != {"modality", "stem", "ops"}:
            raise ValueError(f"a view must have exactly the keys modality, stem and ops, found {sorted(cfg)}")
        modality_index(cfg["modality"])
        ops = []
        for op in map(dict, cfg["ops"]):
            if op.get("type") in (Normalize, "Normalize", "mscmreid.Normalize"):
                op = {"mean": mean, "std": std, **op}
            ops.append(TRANSFORMS.build(op))
        if sum(isinstance(op, Normalize) for op in ops) != 1:
            raise ValueError(
                f"a view's ops must have exactly one Normalize, found {[type(op).__name__ for op in ops]} "
                f"in the view for stem {cfg['stem']!r}"
            )
        return cls(cfg["modality"], cfg["stem"], tuple(ops))

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> list[Draws]:
        """Draws of every operation, in order, for ``n`` images of ``size`` (height, width)."""
        return [op.draw(generator, n, size) for op in self.ops]

    def apply(self, x: Tensor, draws: Sequence[Draws]) -> Tensor:
        """The view (N, 3, H, W) float32 of the uint8 images ``x`` (N, 3, H, W), which stay as they are."""
        if not getattr(self.ops[0], "makes_new", False):
            x = x.clone()
        for op, drawn in zip(self.ops, draws, strict=True):
            x = op.apply(x, drawn)
        return x


def view_generator(seed: int, iteration: int, view: int) -> torch.Generator:
    """A CPU generator that depends on (seed, iteration, view) alone; neighbours are independent of each other."""
    state = np.random.SeedSequence([seed, iteration, view]).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))
