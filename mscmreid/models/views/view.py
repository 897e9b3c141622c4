"""A view: a named sequence of random operations that turns uint8 images into one stem's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mscmreid.registry import TRANSFORMS
from mscmreid.structures import modality_index

from .intensity import Normalize
from .rowwise import passes

Draws = dict[str, Tensor]


class ViewOp(Protocol):
    """One random operation on a batch, in two parts: what chance decides, and what is done with it.

    Register a class with these two methods in ``mscmreid.registry.TRANSFORMS`` and name it in a view's ``ops``.
    """

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> Draws:
        """Draws for ``n`` images of ``size`` (height, width), from a CPU generator: tensors whose first axis is the
        image. Drawn for the global batch; each rank then gets its rows. Nothing random: an empty dict."""

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """The changed images. ``x`` is (N, 3, H, W): uint8 before ``Normalize``, and then shared with other views, so
        it must stay as it is; float32 after it, which may be changed in place. ``draws`` lie on x's device. On a GPU
        nothing may be read back to the host."""


@dataclass(frozen=True)
class View:
    """One augmented version of every image of a modality.

    Attributes:
        modality: 'visible' or 'infrared': the images it is made of.
        stem: the backbone's stem it goes to; several views may share one.
        before: operations on uint8 images, in order.
        normalize: what makes float32 images of them.
        after: operations on those, in order.
    """

    modality: str
    stem: str
    before: tuple[ViewOp, ...]
    normalize: Normalize
    after: tuple[ViewOp, ...]

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
        places = [i for i, op in enumerate(ops) if isinstance(op, Normalize)]
        if len(places) != 1:
            raise ValueError(
                f"a view's ops must have exactly one Normalize, found {[type(op).__name__ for op in ops]} "
                f"in the view for stem {cfg['stem']!r}"
            )
        i = places[0]
        return cls(cfg["modality"], cfg["stem"], tuple(ops[:i]), ops[i], tuple(ops[i + 1 :]))

    @property
    def ops(self) -> tuple[ViewOp, ...]:
        """All operations, in order."""
        return (*self.before, self.normalize, *self.after)

    def draw(self, generator: torch.Generator, n: int, size: tuple[int, int]) -> list[Draws]:
        """Draws of every operation, in order, for ``n`` images of ``size`` (height, width)."""
        return [op.draw(generator, n, size) for op in self.ops]

    def apply(self, x: Tensor, draws: Sequence[Draws]) -> Tensor:
        """The view (N, 3, H, W) float32, channels_last, of the uint8 images ``x`` (N, 3, H, W), which stay as they
        are. On a CPU a few images at a time, so that they stay in the cache from the first operation to the last."""
        out = torch.empty_like(x, dtype=torch.float32, memory_format=torch.channels_last)
        for rows in passes(x):
            target = out[rows]
            y = self._chain(x[rows], target, [{k: v[rows] for k, v in drawn.items()} for drawn in draws])
            if y is not target:
                target.copy_(y)
        return out

    def _chain(self, x: Tensor, out: Tensor, draws: Sequence[Draws]) -> Tensor:
        """All operations on all of ``x``; the float images lie in ``out`` as long as the operations stay in place."""
        middle = len(self.before)
        for op, drawn in zip(self.before, draws[:middle], strict=True):
            x = op.apply(x, drawn)
        y = self.normalize.apply(x, draws[middle], out=out)
        for op, drawn in zip(self.after, draws[middle + 1 :], strict=True):
            y = op.apply(y, drawn)
        return y


def view_generator(seed: int, iteration: int, view: int) -> torch.Generator:
    """A CPU generator that depends on (seed, iteration, view) alone; neighbours are independent of each other."""
    state = np.random.SeedSequence([seed, iteration, view]).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(state[0]))
