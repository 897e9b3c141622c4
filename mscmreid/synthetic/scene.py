"""Cameras: where they hang, what lies behind the people, and how they see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
from PIL import Image, ImageDraw

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
    warm, tint = rng.uniform(-0.14, 0.14), rng.uniform(-0.05, 0.05)  # of the white balance
    cast = np.array([1 + warm, 1 + tint, 1 - warm]) if is_visible else np.ones(3)
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
Hues = Sequence[tuple[float, float, float]]
WALLS: Hues = ((0.96, 0.93, 0.85), (0.88, 0.92, 0.95), (0.92, 0.95, 0.88), (0.97, 0.88, 0.8), (0.93, 0.93, 0.93))
FLOORS: Hues = ((0.86, 0.72, 0.55), (0.8, 0.8, 0.82), (0.75, 0.7, 0.62), (0.62, 0.68, 0.72))
WOOD: Hues = ((0.75, 0.52, 0.33), (0.9, 0.76, 0.55), (0.85, 0.85, 0.82), (0.55, 0.65, 0.75))
FACADES: Hues = ((0.85, 0.52, 0.42), (0.93, 0.86, 0.7), (0.82, 0.82, 0.8), (0.9, 0.72, 0.5), (0.7, 0.76, 0.8))
SKIES: Hues = ((0.72, 0.86, 1.0), (0.9, 0.93, 0.97), (0.98, 0.9, 0.82))
LEAVES: Hues = ((0.45, 0.75, 0.35), (0.62, 0.78, 0.3), (0.35, 0.62, 0.4), (0.85, 0.65, 0.3))
GRAYS: Hues = ((1.0, 1.0, 1.0), (0.95, 0.97, 1.0), (1.0, 0.97, 0.93))
PAINTS: Hues = (
    (0.85, 0.2, 0.18),
    (0.2, 0.35, 0.75),
    (0.95, 0.95, 0.95),
    (0.25, 0.25, 0.28),
    (0.9, 0.75, 0.25),
    (0.2, 0.55, 0.45),
)


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
    """A function that draws tones of background things: (lowest, highest brightness, hues to choose from) -> RGB."""

    def tone(low: float, high: float, hues: Hues = GRAYS) -> Tone:
        if modality == "thermal":  # surroundings are cold
            low, high = 0.08 + 0.12 * low, 0.08 + 0.2 * high
        bright = rng.uniform(low, high)
        hue = hues[int(rng.integers(len(hues)))]
        if modality != "visible":
            hue = (1.0, 1.0, 1.0)
        r, g, b = (int(255 * min(1.0, bright * c)) for c in hue)
        return r, g, b

    return tone


def _dim(tone: Tone, share: float) -> Tone:
    r, g, b = (min(255, int(c * share)) for c in tone)
    return r, g, b


def _gradient(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], top: Tone, bottom: Tone) -> None:
    x0, y0, x1, y1 = box
    for y in range(y0, y1):
        share = (y - y0) / max(1, y1 - y0)
        draw.line((x0, y, x1, y), fill=tuple(int(a + (b - a) * share) for a, b in zip(top, bottom, strict=True)))


def _paint_room(rng: np.random.Generator, draw: ImageDraw.ImageDraw, tone: Callable[..., Tone], w: int, h: int) -> None:
    line = int(h * HORIZON)
    wall, floor = tone(0.5, 0.85, WALLS), tone(0.4, 0.7, FLOORS)
    _gradient(draw, (0, 0, w, line), _dim(wall, 1.12), wall)
    _gradient(draw, (0, line, w, h), _dim(floor, 0.8), floor)
    for k in range(1, 6):  # floor tiles, wider apart towards the camera
        y = line + int((h - line) * (k / 5) ** 1.6)
        draw.line((0, y, w, y), fill=_dim(floor, 0.72), width=1)
    for x in range(-w, 2 * w, h // 5):
        draw.line((w // 2 + (x - w // 2) // 2, line, x, h), fill=_dim(floor, 0.72), width=1)
    draw.line((0, line, w, line), fill=_dim(wall, 0.6), width=max(2, h // 80))
    x = int(rng.uniform(0, 0.4) * h)
    while x < w:
        thing, wide = rng.choice(5), int(rng.uniform(0.22, 0.5) * h)
        if thing == 0:  # door
            door = tone(0.35, 0.8, WOOD)
            draw.rectangle((x, int(0.1 * h), x + wide, line), fill=door, outline=_dim(door, 0.6), width=3)
            draw.ellipse((x + wide - h // 18, int(0.4 * h), x + wide - h // 30, int(0.42 * h)), fill=_dim(door, 0.4))
        elif thing == 1:  # poster
            top = int(rng.uniform(0.08, 0.2) * h)
            draw.rectangle((x, top, x + wide // 2, top + wide // 2), fill=tone(0.8, 0.95))
            draw.rectangle(
                (x + wide // 12, top + wide // 12, x + wide * 5 // 12, top + wide // 3), fill=tone(0.5, 0.9, PAINTS)
            )
        elif thing == 2:  # window
            frame, top, bottom = tone(0.3, 0.5, WOOD), int(0.06 * h), int(0.36 * h)
            draw.rectangle((x, top, x + wide, bottom), fill=tone(0.85, 1.0, SKIES), outline=frame, width=3)
            draw.line((x + wide // 2, top, x + wide // 2, bottom), fill=frame, width=3)
        elif thing == 3:  # cabinet
            case = tone(0.3, 0.75, WOOD)
            draw.rectangle((x, int(0.42 * h), x + wide, int(0.66 * h)), fill=case, outline=_dim(case, 0.6), width=2)
            draw.line((x + wide // 2, int(0.42 * h), x + wide // 2, int(0.66 * h)), fill=_dim(case, 0.6), width=2)
        else:  # plant
            leaf = tone(0.4, 0.9, LEAVES)
            for _ in range(14):
                cx, cy, r = x + h // 20 + rng.normal(0, h / 26), 0.5 * h + rng.normal(0, h / 22), h / 44
                draw.ellipse((cx - r, cy - 2 * r, cx + r, cy + 2 * r), fill=_dim(leaf, rng.uniform(0.7, 1.0)))
            draw.rectangle((x, int(0.58 * h), x + h // 10, int(0.68 * h)), fill=tone(0.4, 0.8, FACADES))
        x += wide + int(rng.uniform(0.1, 0.45) * h)


def _paint_street(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, tone: Callable[..., Tone], w: int, h: int
) -> None:
    line = int(h * HORIZON)
    sky, road = tone(0.75, 1.0, SKIES), tone(0.35, 0.6)
    _gradient(draw, (0, 0, w, line), _dim(sky, 0.9), sky)
    x = 0
    while x < w:  # houses
        wide, top = int(rng.uniform(0.4, 0.9) * h), int(rng.uniform(0.0, 0.3) * h)
        house = tone(0.45, 0.85, FACADES)
        draw.rectangle((x, top, x + wide, line), fill=house)
        glass, step = tone(0.2, 0.6, SKIES), max(6, h // 9)
        for wx in range(x + step // 2, x + wide - step // 2, step):
            for wy in range(top + step // 2, line - step, step):
                draw.rectangle((wx, wy, wx + step // 2, wy + step // 2), fill=glass, outline=_dim(house, 0.8))
        x += wide + int(rng.uniform(-0.05, 0.3) * h)
    _gradient(draw, (0, line, w, h), _dim(road, 0.85), road)
    kerb = line + int(0.3 * (h - line))
    draw.rectangle((0, line, w, kerb), fill=_dim(road, 1.15))
    draw.rectangle((0, kerb, w, kerb + max(2, h // 70)), fill=_dim(road, 1.45))
    x = int(rng.uniform(0, 0.3) * h)
    while x < w:
        thing = rng.choice(3)
        if thing == 0:  # tree
            draw.rectangle((x, int(0.25 * h), x + h // 28, line + h // 20), fill=tone(0.25, 0.5, WOOD))
            leaf = tone(0.45, 0.95, LEAVES)
            for _ in range(18):
                cx, cy, r = x + rng.normal(0, h / 12), 0.16 * h + rng.normal(0, h / 18), h * rng.uniform(0.03, 0.06)
                draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=_dim(leaf, rng.uniform(0.7, 1.0)))
        elif thing == 1:  # car
            paint, long = tone(0.4, 0.95, PAINTS), int(0.5 * h)
            body, roof = (
                (x, line - h // 14, x + long, line + h // 18),
                (x + long // 5, line - h // 8, x + long * 4 // 5, line),
            )
            draw.rounded_rectangle(roof, radius=h // 40, fill=tone(0.15, 0.35, SKIES))
            draw.rounded_rectangle(body, radius=h // 40, fill=paint)
            for cx in (x + long // 5, x + long * 4 // 5):
                draw.ellipse(
                    (cx - h // 26, line + h // 60, cx + h // 26, line + h // 60 + h // 13), fill=tone(0.03, 0.12)
                )
        else:  # lamp post
            draw.rectangle((x, int(0.05 * h), x + h // 60, line + h // 16), fill=tone(0.15, 0.4))
            draw.ellipse((x - h // 36, int(0.02 * h), x + h // 22, int(0.07 * h)), fill=tone(0.9, 1.0))
        x += int(rng.uniform(0.45, 0.9) * h)


def draw_heading(rng: np.random.Generator, camera: Camera) -> float:
    """Yaw in radians at which a person passes ``camera``: about front, back or a side."""
    kind = rng.choice(3, p=camera.heading)
    side = 1 if rng.random() < 0.5 else -1
    return float([0.0, pi, side * pi / 2][kind] + rng.normal(0, 0.3))
