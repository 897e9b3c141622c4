"""Cameras: where they hang, what lies behind the people, and how they see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np
from PIL import Image, ImageDraw

from .materials import draw_colour

PANORAMA = 4.0
"""Width of a camera's background, in image heights."""
HORIZON = 0.6
"""Height of the line where the floor begins, as a share of the image height from the top."""


@dataclass(frozen=True)
class Camera:
    """One camera of the network, the same for every person.

    Attributes:
        modality: 'visible', 'infrared' (near, with a lamp beside the lens) or 'thermal'.
        gain: factor on red, green and blue (infrared: one value three times).
        gamma: exponent of its response.
        haze: light that is added everywhere, 0..1.
        blur: radius of its blur, in pixels of an image 128 high.
        noise: standard deviation of its noise, in gray values of 0..1.
        light: sideways direction of the light, -1 from the left, 1 from the right.
        ambient: light that comes from everywhere, 0..1.
        lamp: height of the brightest place (share of the image) and how fast light falls off around it.
        pitch: how far it looks down, radians.
        heading: chances that a person is seen from the front, the back, and a side.
        background: (height, PANORAMA * height, 3) uint8, in its own kind of light.
    """

    modality: str
    gain: tuple[float, float, float]
    gamma: float
    haze: float
    blur: float
    noise: float
    light: float
    ambient: float
    lamp: tuple[float, float]
    pitch: float
    heading: tuple[float, float, float]
    background: np.ndarray


def make_camera(seed: int, cam_id: int, modality: str, is_indoor: bool, height: int) -> Camera:
    """Camera ``cam_id``, drawn from (seed, cam_id, modality) alone.

    Args:
        seed: seed of the data set.
        cam_id: number of the camera.
        modality: 'visible', 'infrared' or 'thermal'.
        is_indoor: whether it looks into a room or a street.
        height: image height, in pixels.
    """
    kinds = ("visible", "infrared", "thermal")
    if modality not in kinds:
        raise ValueError(f"a camera's modality must be one of {kinds}, found {modality!r}")
    rng = np.random.default_rng([seed, 202, cam_id, kinds.index(modality)])
    is_visible = modality == "visible"
    exposure = rng.uniform(0.78, 1.1) if is_visible else rng.uniform(0.95, 1.1)
    cast = rng.uniform(0.86, 1.12, 3) if is_visible else np.ones(3)
    front = rng.uniform(0.3, 0.55)
    return Camera(
        modality=modality,
        gain=tuple((exposure * cast).tolist()),
        gamma=float(rng.uniform(0.85, 1.2)),
        haze=float(rng.uniform(0.0, 0.08)),
        blur=float(rng.uniform(0.3, 0.8) if is_visible else rng.uniform(0.5, 0.9)),
        noise=float(rng.uniform(0.008, 0.02) if is_visible else rng.uniform(0.02, 0.035)),
        light=float(rng.uniform(-0.8, 0.8)),
        ambient=float(rng.uniform(0.45, 0.65)),
        lamp=(float(rng.uniform(0.3, 0.5)), float(rng.uniform(0.5, 0.9))),
        pitch=float(rng.uniform(0.06, 0.22)),
        heading=(front, 0.8 - front, 0.2),
        background=paint_background(rng, modality, is_indoor, height),
    )


Tone = tuple[int, int, int]


def paint_background(rng: np.random.Generator, modality: str, is_indoor: bool, height: int) -> np.ndarray:
    """The strip of wall and floor, or street, that a camera sees: uint8 (height, PANORAMA * height, 3)."""
    scale = 2  # painted larger, then averaged, for smooth edges
    h, w = height * scale, int(PANORAMA * height * scale)
    image = Image.new("RGB", (w, h))
    draw = ImageDraw.Draw(image)
    tone = _tones(rng, modality)
    (_paint_room if is_indoor else _paint_street)(rng, draw, tone, w, h)
    return np.asarray(image.reduce(scale))


def _tones(rng: np.random.Generator, modality: str) -> Callable[..., Tone]:
    """A function that draws tones of background things: (lowest, highest brightness, saturation) -> RGB."""

    def tone(low: float, high: float, saturation: float = 0.25) -> Tone:
        if modality == "thermal":  # surroundings are cold
            low, high = 0.08 + 0.12 * low, 0.08 + 0.2 * high
        bright = rng.uniform(low, high)
        colour = np.array(draw_colour(rng))
        if modality != "visible":
            colour = np.ones(3)
        mixed = bright * ((1 - saturation) + saturation * colour / max(colour.max(), 1e-6))
        r, g, b = (int(255 * c) for c in np.clip(mixed, 0, 1))
        return r, g, b

    return tone


def _gradient(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], top: Tone, bottom: Tone) -> None:
    x0, y0, x1, y1 = box
    for y in range(y0, y1):
        share = (y - y0) / max(1, y1 - y0)
        draw.line((x0, y, x1, y), fill=tuple(int(a + (b - a) * share) for a, b in zip(top, bottom, strict=True)))


def _paint_room(rng: np.random.Generator, draw: ImageDraw.ImageDraw, tone: Callable[..., Tone], w: int, h: int) -> None:
    line = int(h * HORIZON)
    wall, floor = tone(0.45, 0.8), tone(0.3, 0.6)
    _gradient(draw, (0, 0, w, line), tuple(min(255, int(c * 1.12)) for c in wall), wall)  # type: ignore[arg-type]
    _gradient(draw, (0, line, w, h), tuple(int(c * 0.8) for c in floor), floor)  # type: ignore[arg-type]
    joint = tuple(int(c * 0.72) for c in floor)
    for k in range(1, 6):  # floor tiles, wider apart towards the camera
        y = line + int((h - line) * (k / 5) ** 1.6)
        draw.line((0, y, w, y), fill=joint, width=1)
    for x in range(-w, 2 * w, h // 5):
        draw.line((w // 2 + (x - w // 2) // 2, line, x, h), fill=joint, width=1)
    x = int(rng.uniform(0, 0.4) * h)
    while x < w:
        thing, wide = rng.choice(5), int(rng.uniform(0.22, 0.5) * h)
        if thing == 0:  # door
            draw.rectangle((x, int(0.12 * h), x + wide, line + 2), fill=tone(0.25, 0.65, 0.5), outline=tone(0.15, 0.3))
            draw.ellipse((x + wide - h // 20, int(0.4 * h), x + wide - h // 32, int(0.42 * h)), fill=tone(0.8, 0.9))
        elif thing == 1:  # poster
            top = int(rng.uniform(0.08, 0.2) * h)
            draw.rectangle((x, top, x + wide // 2, top + wide // 2), fill=tone(0.6, 0.95, 0.5))
            draw.rectangle((x + wide // 8, top + wide // 8, x + wide // 3, top + wide // 4), fill=tone(0.2, 0.6, 0.6))
        elif thing == 2:  # window
            draw.rectangle(
                (x, int(0.06 * h), x + wide, int(0.36 * h)), fill=tone(0.85, 1.0, 0.1), outline=tone(0.3, 0.4)
            )
            draw.line((x + wide // 2, int(0.06 * h), x + wide // 2, int(0.36 * h)), fill=tone(0.3, 0.4), width=3)
        elif thing == 3:  # cabinet
            draw.rectangle((x, int(0.42 * h), x + wide, int(0.66 * h)), fill=tone(0.2, 0.6, 0.4))
            draw.line((x + wide // 2, int(0.42 * h), x + wide // 2, int(0.66 * h)), fill=tone(0.1, 0.2), width=2)
        else:  # plant
            pot = tone(0.3, 0.6, 0.5)
            draw.rectangle((x, int(0.58 * h), x + h // 10, int(0.68 * h)), fill=pot)
            leaf = tone(0.3, 0.7, 0.4)
            for _ in range(9):
                cx, cy, r = x + h // 20 + rng.normal(0, h / 26), 0.5 * h + rng.normal(0, h / 24), h / 40
                draw.ellipse((cx - r, cy - 2 * r, cx + r, cy + 2 * r), fill=leaf)
        x += wide + int(rng.uniform(0.1, 0.45) * h)
    skirting = tuple(int(c * 0.6) for c in wall)
    draw.line((0, line, w, line), fill=skirting, width=max(2, h // 80))


def _paint_street(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, tone: Callable[..., Tone], w: int, h: int
) -> None:
    line = int(h * HORIZON)
    _gradient(draw, (0, 0, w, line), tone(0.6, 0.95, 0.2), tone(0.7, 0.95, 0.1))
    x = 0
    while x < w:  # houses
        wide, top = int(rng.uniform(0.4, 0.9) * h), int(rng.uniform(0.0, 0.3) * h)
        draw.rectangle((x, top, x + wide, line), fill=tone(0.35, 0.75, 0.3))
        glass, step = tone(0.2, 0.6, 0.2), max(6, h // 9)
        for wx in range(x + step // 2, x + wide - step // 2, step):
            for wy in range(top + step // 2, line - step, step):
                draw.rectangle((wx, wy, wx + step // 2, wy + step // 2), fill=glass)
        x += wide + int(rng.uniform(-0.05, 0.3) * h)
    road = tone(0.35, 0.6, 0.08)
    _gradient(draw, (0, line, w, h), tuple(int(c * 0.85) for c in road), road)  # type: ignore[arg-type]
    kerb = line + int(0.3 * (h - line))
    draw.rectangle((0, kerb, w, kerb + max(2, h // 60)), fill=tone(0.65, 0.85, 0.05))
    x = int(rng.uniform(0, 0.3) * h)
    while x < w:
        thing = rng.choice(3)
        if thing == 0:  # tree
            trunk, leaf = tone(0.15, 0.35, 0.4), tone(0.3, 0.8, 0.5)
            draw.rectangle((x, int(0.25 * h), x + h // 28, line + h // 20), fill=trunk)
            for _ in range(14):
                cx, cy, r = x + rng.normal(0, h / 12), 0.16 * h + rng.normal(0, h / 18), h * rng.uniform(0.03, 0.06)
                shade = rng.uniform(0.75, 1.0)
                draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=tuple(int(c * shade) for c in leaf))
        elif thing == 1:  # car
            paint, glass = tone(0.2, 0.9, 0.7), tone(0.1, 0.3, 0.1)
            long = int(0.5 * h)
            draw.rounded_rectangle((x, line - h // 14, x + long, line + h // 18), radius=h // 40, fill=paint)
            draw.rounded_rectangle(
                (x + long // 5, line - h // 8, x + long * 4 // 5, line - h // 22), radius=h // 40, fill=glass
            )
            for cx in (x + long // 5, x + long * 4 // 5):
                draw.ellipse(
                    (cx - h // 26, line + h // 60, cx + h // 26, line + h // 60 + h // 13), fill=tone(0.03, 0.12)
                )
        else:  # lamp post
            post = tone(0.1, 0.4, 0.1)
            draw.rectangle((x, int(0.05 * h), x + h // 60, line + h // 16), fill=post)
            draw.ellipse((x - h // 36, int(0.02 * h), x + h // 22, int(0.07 * h)), fill=tone(0.8, 1.0, 0.1))
        x += int(rng.uniform(0.45, 0.9) * h)


def draw_heading(rng: np.random.Generator, camera: Camera) -> float:
    """Yaw in radians at which a person passes ``camera``: about front, back or a side."""
    kind = rng.choice(3, p=camera.heading)
    side = 1 if rng.random() < 0.5 else -1
    return float([0.0, pi, side * pi / 2][kind] + rng.normal(0, 0.3))
