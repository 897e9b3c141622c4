"""How images come to a network's size: Pillow's filters. Needs Pillow only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

FILTERS = {name: Image.Resampling[name.upper()] for name in ("nearest", "bilinear", "bicubic", "lanczos")}


@dataclass(frozen=True)
class Resize:
    """How images come to their size: Pillow's filters one after another.

    Attributes:
        steps: (filter, (H, W)) each; the last one's size is None, which is the size asked for.
    """

    steps: tuple[tuple[str, tuple[int, int] | None], ...] = (("lanczos", None),)

    @classmethod
    def parse(cls, value: str | Sequence) -> Resize:
        """From a filter's name, or a chain such as ``[('lanczos', (288, 144)), 'bilinear']``, whose last has no size.

        Raises:
            ValueError: an unknown filter, or a chain that is not like that.
        """
        chain = [value] if isinstance(value, str) else list(value)
        steps = [(step, None) if isinstance(step, str) else (step[0], check_size(step[1])) for step in chain]
        unknown = [name for name, _ in steps if name not in FILTERS]
        if unknown or not steps or [size is None for _, size in steps] != [False] * (len(steps) - 1) + [True]:
            raise ValueError(
                f"resize must be one of {sorted(FILTERS)}, or a chain of (filter, (H, W)) that ends with a filter, "
                f"found {value!r}"
            )
        return cls(tuple(steps))

    def __call__(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """The image at ``size`` (H, W)."""
        for name, own in self.steps:
            height, width = own or size
            image = image.resize((width, height), FILTERS[name])
        return image

    def __str__(self) -> str:
        names = [name.capitalize() + (f" {size[0]}x{size[1]}" if size else "") for name, size in self.steps]
        return ", ".join(names)


LANCZOS = Resize()


def check_size(size: Sequence[int]) -> tuple[int, int]:
    """(H, W) as two positive integers, or a ValueError."""
    if isinstance(size, int) or len(size) != 2 or not all(int(side) == side and side > 0 for side in size):
        raise ValueError(f"an image size is two positive integers (height, width), found {size!r}")
    return int(size[0]), int(size[1])
