"""From tubes to pixels: which material shows at every pixel of a figure, and how its surface lies to the light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mscmreid.synthetic.body import NUM_WIDTHS, Part
from mscmreid.synthetic.patterns import Surface, pattern_mask


@dataclass(frozen=True)
class Placement:
    """Where a figure stands on a canvas: pixels of one body height, and the point on the ground under it."""

    scale: float
    x: float
    y: float


@dataclass(frozen=True)
class Raster:
    """What a figure shows at the N pixels that it covers.

    Attributes:
        size: (height, width) of the canvas.
        pixels: flat positions on the canvas, (N,) int.
        material: index into the list of material names given, (N,) int.
        side: -1 at the left edge of a tube, 0 in its middle, 1 at its right edge, (N,) float.
        shadow: 0..1, darkness of creases and folds, (N,) float.
    """

    size: tuple[int, int]
    pixels: np.ndarray
    material: np.ndarray
    side: np.ndarray
    shadow: np.ndarray


def rasterize(parts: Sequence[Part], names: Sequence[str], place: Placement, size: tuple[int, int]) -> Raster:
    """Paints ``parts`` in their order and resolves patterns, folds and creases.

    Args:
        parts: at most 255, farthest first.
        names: material names; indices in the result point into it.
        place: where body coordinates lie on the canvas.
        size: (height, width) of the canvas.
    """
    label = Image.new("L", (size[1], size[0]))
    draw = ImageDraw.Draw(label)
    for number, part in enumerate(parts, 1):
        draw.polygon([(place.x + x * place.scale, place.y + y * place.scale) for x, y in part.outline], fill=number)
    flat = np.asarray(label).ravel()
    pixels = np.flatnonzero(flat)
    part_of = flat[pixels].astype(np.intp) - 1

    start = np.array([p.start for p in parts], np.float32)
    axis = np.array([p.end for p in parts], np.float32) - start
    length = np.maximum(np.hypot(axis[:, 0], axis[:, 1]), 1e-6)
    axis /= length[:, None]
    rows, columns = np.divmod(pixels, size[1])
    dx = ((columns - place.x) / place.scale).astype(np.float32) - start[part_of, 0]
    dy = ((rows - place.y) / place.scale).astype(np.float32) - start[part_of, 1]
    ax, ay = axis[part_of, 0], axis[part_of, 1]
    s = dx * ax + dy * ay
    v = np.clip(s / length[part_of], 0, 1)
    widths = np.stack([p.widths for p in parts])
    width = widths[part_of, (v * (NUM_WIDTHS - 1) + 0.5).astype(np.intp)]
    side = np.clip((dx * ay - dy * ax) / np.maximum(width, 1e-4), -1, 1)
    phi = np.arcsin(side) - np.array([p.yaw for p in parts], np.float32)[part_of]
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    arc = phi * np.array([p.radius for p in parts], np.float32)[part_of]

    crease = np.array([p.crease for p in parts], np.float32)[part_of]
    shadow = crease * np.exp(-np.maximum(s, 0) / 0.035) + 0.03 * (1 + np.sin(31 * s + 5 * np.sin(17 * s + 2 * phi)))
    return Raster(size, pixels, _materials(parts, names, part_of, Surface(s, v, phi, arc)), side, shadow)


def _materials(parts: Sequence[Part], names: Sequence[str], part_of: np.ndarray, at: Surface) -> np.ndarray:
    """Index of the material at every pixel: each part's first layer, then its patterns over it."""
    index = {name: i for i, name in enumerate(names)}
    material = np.array([index[p.layers[0].material] for p in parts], np.intp)[part_of]
    for number, part in enumerate(parts):
        if len(part.layers) > 1:
            here = np.flatnonzero(part_of == number)
            surface = Surface(at.s[here], at.v[here], at.phi[here], at.arc[here])
            for layer in part.layers[1:]:
                material[here[pattern_mask(layer.pattern, surface)]] = index[layer.material]
    return material
