"""Weather. Severities of Hendrycks and Dietterich (ICLR 2019), those of rain of Chen, Wang and Zheng (NeurIPS 2021).

Snow, fog and brightness follow the published formulas; what frost, drops and streaks look like is drawn here.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from mscmreid.corruptions.corrupt import LUMA
from mscmreid.corruptions.draws import NORMAL, Draws
from mscmreid.corruptions.pixels import along, blurred, enlarged, gaussian, plasma, streaked, to_uint8
from mscmreid.registry import CORRUPTIONS

ICE = np.array([205, 222, 235])
WATER = np.array([175, 238, 238])
MUD = np.array([63, 42, 20])


@CORRUPTIONS.register_module()
def snow(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Flakes that fall, and everything paler."""
    mean, deviation, zoom, threshold, radius, sigma, keep = (
        (0.1, 0.3, 300, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 200, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 400, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 450, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 250, 0.85, 12, 12, 0.55),
    )[severity - 1]
    flakes = to_uint8(255 * (mean + deviation * draws.normal(image.shape[:2]) / NORMAL))
    flakes = enlarged(flakes, zoom)
    flakes = np.where(flakes < 255 * threshold, 0, flakes)
    flakes = np.rint(streaked(flakes, radius, sigma, draws.between(-135, -45)))
    gray = (image * LUMA).sum(axis=2, keepdims=True) / 1000
    pale = keep * image + (1 - keep) * np.maximum(image, 1.5 * gray + 127.5)
    return pale + (flakes + flakes[::-1, ::-1])[..., None]


@CORRUPTIONS.register_module()
def frost(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Ice on the lens: feathers of crystals over a haze, drawn here in the place of the published photographs."""
    keep, ice = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity - 1]
    height, width = image.shape[:2]
    layer = Image.new("L", (width, height))
    pencil = ImageDraw.Draw(layer)
    size = max(height, width)
    for _ in range(24):
        _feather(pencil, draws, (draws.between(0, width), draws.between(0, height)), size)
    crystals = blurred(np.asarray(layer), 0.6)
    haze = 140 * plasma(height, width, 1.7, draws.uniform)
    return keep * image + ice * np.minimum(haze + 0.7 * crystals, 255)[..., None] * (ICE / 255)


def _feather(pencil: ImageDraw.ImageDraw, draws: Draws, start: tuple[int, int], size: int) -> None:
    """A stem with barbs at 60 degrees on both sides, shorter towards its end."""
    angle, length = draws.between(0, 359), draws.between(size // 6, size // 2)
    tone = draws.between(110, 255)
    dy, dx = along(angle, length)
    pencil.line((*start, start[0] + dx, start[1] + dy), fill=tone)
    for at in range(0, length, max(2, size // 60)):
        down, right = along(angle, at)
        foot = start[0] + right, start[1] + down
        for side in (-60, 60):
            dy, dx = along(angle + side, draws.between(1, max(2, (length - at) // 3)))
            pencil.line((*foot, foot[0] + dx, foot[1] + dy), fill=tone * 3 // 4)


@CORRUPTIONS.register_module()
def fog(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Cloudy light added, and the whole darkened to the image's old maximum."""
    amount, decay = ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))[severity - 1]
    brightest = int(image.max()) / 255
    clouds = plasma(image.shape[0], image.shape[1], decay, draws.uniform)[..., None]
    return (image + 255 * amount * clouds) * (brightest / (brightest + amount))


@CORRUPTIONS.register_module()
def brightness(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """A higher value (HSV) at the same hue and saturation."""
    value = image.max(axis=2, keepdims=True).astype(np.float64)
    brighter = np.minimum(value + 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1], 255)
    return np.where(value > 0, image * brighter / np.maximum(value, 1), brighter)


@CORRUPTIONS.register_module()
def spatter(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Drops of water on the lens (1 to 3), or of mud (4 and 5)."""
    mean, deviation, sigma, threshold, strength = (
        (0.65, 0.3, 4, 0.69, 0.6),
        (0.65, 0.3, 3, 0.68, 0.6),
        (0.65, 0.3, 2, 0.68, 0.5),
        (0.65, 0.3, 1, 0.65, 1.5),
        (0.67, 0.4, 1, 0.65, 1.5),
    )[severity - 1]
    liquid = np.rint(mean * NORMAL + deviation * draws.normal(image.shape[:2])).astype(np.int32)
    liquid = gaussian(np.clip(liquid, 0, 65535), sigma)
    is_wet = liquid > threshold * NORMAL
    if severity > 3:
        cover = gaussian(is_wet.astype(np.int32) * 4096, strength) / 4096
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return image * (1 - cover) + MUD * cover
    # light falls on a drop's upper left rim, and its lower right one lies in the shade
    slope = np.roll(liquid, (-1, -1), (0, 1)) - np.roll(liquid, (1, 1), (0, 1))
    shine = np.clip(0.45 + slope / max(1, int(np.abs(slope[is_wet]).max(initial=1))), 0, 1)
    return image + strength * np.where(is_wet, shine, 0)[..., None] * WATER


@CORRUPTIONS.register_module()
def rain(image: np.ndarray, severity: int, draws: Draws) -> np.ndarray:
    """Streaks of one slant, a blur and less light; drizzle, heavy (2 and 3) and torrential rain (4 and 5)."""
    area_of_drop, length = ((770, 10), (600, 30), (600, 30), (500, 60), (500, 60))[severity - 1]
    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    pencil = ImageDraw.Draw(picture)
    slant = draws.between(-10, 10)
    for _ in range(max(1, height * width // area_of_drop)):
        x, y = draws.between(0, width - 1), draws.between(-length, height - 1)
        pencil.line((x, y, x + slant, y + length), fill=(200, 200, 200))
    return _box_blur(np.asarray(picture), 2 + severity) - 255 * (0.05 + 0.05 * severity)


def _box_blur(image: np.ndarray, size: int) -> np.ndarray:
    """The mean over squares of ``size`` pixels."""
    before, after = size // 2, size - 1 - size // 2
    sums = np.pad(image, ((before, after), (before, after), (0, 0)), mode="edge").astype(np.int32)
    for axis in (0, 1):
        sums = np.lib.stride_tricks.sliding_window_view(sums, size, axis).sum(axis=-1, dtype=np.int32)
    return sums / (size * size)
