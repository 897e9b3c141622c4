"""One photograph: a person before a camera, with light, shadow, things in the way, blur and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mscmreid.synthetic.body import Pose
from mscmreid.synthetic.figure import build_figure
from mscmreid.synthetic.materials import Material
from mscmreid.synthetic.person import Person
from mscmreid.synthetic.raster import Placement, Raster, rasterize
from mscmreid.synthetic.scene import PANORAMA, Camera


@dataclass(frozen=True)
class Shot:
    """What differs from frame to frame.

    Attributes:
        pose: how the person stands.
        scale: body height of the tallest person, as a share of the image height.
        shift: (right, down) displacement, in image heights.
        exposure: factor on the light of this frame.
        window: place of the picture in the camera's panorama, 0..1.
        zoom: how much of the panorama's height is seen, 0..1.
        occluder: None, or (side, share of the image that is covered, tone 0..1); side is 'left', 'right' or 'bottom'.
        noise_seed: seed of the sensor noise.
    """

    pose: Pose
    scale: float
    shift: tuple[float, float]
    exposure: float
    window: float
    zoom: float
    occluder: tuple[str, float, float] | None
    noise_seed: int


def draw_shot(rng: np.random.Generator, camera: Camera, heading: float, turn_prob: float = 0.25) -> Shot:
    """A frame's pose, framing and accidents.

    Args:
        rng: source of randomness, of this frame alone.
        camera: which camera it is.
        heading: yaw at which the person passes this camera, radians.
        turn_prob: chance that the person goes the other way in this frame.
    """
    turned = np.pi if rng.random() < turn_prob else 0.0
    pose = Pose(
        yaw=heading + turned + float(rng.normal(0, 0.2)),
        pitch=camera.pitch,
        stride=float(rng.uniform(0.1, 0.42)),
        phase=float(rng.random()),
        swing=float(rng.uniform(0.4, 1.1)),
        elbow=float(rng.uniform(0.1, 0.6)),
    )
    occluder = None
    if rng.random() < 0.12:
        side = str(rng.choice(["left", "right", "bottom"]))
        occluder = (side, float(rng.uniform(0.1, 0.22)), float(rng.uniform(0.1, 0.9)))
    return Shot(
        pose=pose,
        scale=float(rng.uniform(0.82, 0.97)),
        shift=(float(rng.uniform(-0.06, 0.06)), float(rng.uniform(-0.035, 0.015))),
        exposure=float(rng.uniform(0.88, 1.12)),
        window=float(rng.random()),
        zoom=float(rng.uniform(0.75, 1.0)),
        occluder=occluder,
        noise_seed=int(rng.integers(2**31)),
    )


def take_photo(person: Person, camera: Camera, shot: Shot, size: tuple[int, int]) -> np.ndarray:
    """The picture, uint8 (height, width, 3) for ``size`` = (height, width); infrared has three equal channels."""
    height, width = size
    scale = 3 if height <= 112 else 2  # drawn larger, then averaged: smooth edges
    canvas = (height * scale, width * scale)
    place = Placement(
        scale=shot.scale * person.build.height * canvas[0],
        x=canvas[1] / 2 + shot.shift[0] * canvas[0],
        y=(0.965 + shot.shift[1]) * canvas[0],
    )
    names = list(person.materials)
    raster = rasterize(build_figure(person, shot.pose), names, place, canvas)
    figure = _shade(raster, [person.materials[n] for n in names], camera).reduce(scale)

    image = _background(camera, shot, size)
    _cast_shadow(image, place, scale, camera)
    image.paste(figure, mask=figure.getchannel("A"))
    if shot.occluder is not None:
        _occlude(image, shot.occluder, camera)
    return _expose(image, camera, shot)


def _shade(raster: Raster, materials: Sequence[Material], camera: Camera) -> Image.Image:
    """The lit figure on a transparent ground, RGBA."""
    facing = np.sqrt(1 - raster.side**2)
    if camera.modality == "visible":
        table = np.array([m.rgb for m in materials], np.float32)
        lx = camera.light
        lit = camera.ambient + (1.1 - camera.ambient) * np.maximum(0, facing * np.sqrt(1 - lx * lx) + raster.side * lx)
    elif camera.modality == "infrared":  # the lamp is at the lens: what turns away gets little light
        table = np.repeat(np.array([[m.reflectance] for m in materials], np.float32), 3, 1)
        lit = 0.45 + 0.6 * facing
    else:  # warm bodies glow by themselves, a little less at the edges
        table = np.repeat(np.array([[m.warmth] for m in materials], np.float32), 3, 1)
        lit = 0.8 + 0.2 * facing
    strength = 1.0 if camera.modality != "thermal" else 0.5
    colour = table[raster.material] * (lit * (1 - strength * raster.shadow))[:, None].astype(np.float32)
    rgba = np.zeros((raster.size[0] * raster.size[1], 4), np.uint8)
    rgba[raster.pixels, :3] = np.clip(colour * 255, 0, 255)
    rgba[raster.pixels, 3] = 255
    return Image.fromarray(rgba.reshape(*raster.size, 4))


def _background(camera: Camera, shot: Shot, size: tuple[int, int]) -> Image.Image:
    height, width = size
    panorama = Image.fromarray(camera.background)
    seen_h = shot.zoom * camera.background.shape[0]
    seen_w = seen_h * width / height
    x = shot.window * (PANORAMA * camera.background.shape[0] - seen_w)
    y = (camera.background.shape[0] - seen_h) * 0.8
    return panorama.resize((width, height), Image.Resampling.BILINEAR, box=(x, y, x + seen_w, y + seen_h))


def _cast_shadow(image: Image.Image, place: Placement, scale: int, camera: Camera) -> None:
    """A soft dark spot on the ground under the person (none in thermal infrared)."""
    if camera.modality == "thermal":
        return
    x, y, r = place.x / scale, place.y / scale, 0.13 * place.scale / scale
    spot = Image.new("L", image.size)
    ImageDraw.Draw(spot).ellipse((x - r, y - 0.28 * r, x + r, y + 0.28 * r), fill=130)
    image.paste((0, 0, 0), mask=spot.filter(ImageFilter.BoxBlur(max(1, r * 0.15))))


def _occlude(image: Image.Image, occluder: tuple[str, float, float], camera: Camera) -> None:
    """Something between the camera and the person: a post at one side or a low wall."""
    side, share, bright = occluder
    width, height = image.size
    tone = int(255 * (bright if camera.modality != "thermal" else 0.1 + 0.1 * bright))
    fill, edge = (tone, tone, tone), (int(tone * 0.7),) * 3
    draw = ImageDraw.Draw(image)
    if side == "bottom":
        top = int(height * (1 - 0.8 * share))
        draw.rectangle((0, top, width, height), fill=fill)
        draw.rectangle((0, top, width, top + max(1, height // 50)), fill=edge)
        return
    thick = int(width * share)
    x = int(width * 0.1) if side == "left" else int(width * 0.9) - thick
    draw.rectangle((x, 0, x + thick, height), fill=fill)
    draw.rectangle((x, 0, x + max(1, thick // 4), height), fill=edge)


def _expose(image: Image.Image, camera: Camera, shot: Shot) -> np.ndarray:
    """Lens and sensor: fall-off of light, response curve, haze, blur, noise."""
    blur = camera.blur * image.size[1] / 128
    light = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), np.float32) / 255
    rng = np.random.default_rng(shot.noise_seed)
    if camera.modality == "infrared":
        height, width = light.shape[:2]
        y = np.linspace(0, 1, height, dtype=np.float32)[:, None] - camera.lamp[0]
        x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
        light = light * (1.12 / (1 + camera.lamp[1] * (y * y + 0.6 * x * x) * 2))[:, :, None]
    value = np.maximum(light * (np.array(camera.gain, np.float32) * shot.exposure), 0) ** camera.gamma
    value = camera.haze + (1 - camera.haze) * value
    channels = 3 if camera.modality == "visible" else 1
    value = value[:, :, :channels] + camera.noise * rng.standard_normal((*value.shape[:2], channels), np.float32)
    picture = (np.clip(value, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))
