"""How they are drawn: surfaces against a slow twin, physics of the modalities, determinism of pictures."""

from dataclasses import replace
from math import asin, pi

import numpy as np
import pytest

from mscmreid.synthetic.body import ALL, Layer, Pose, Stage, even
from mscmreid.synthetic.figure import build_figure
from mscmreid.synthetic.materials import Material
from mscmreid.synthetic.painter import Painter
from mscmreid.synthetic.patterns import KINDS, Pattern, Surface, pattern_mask
from mscmreid.synthetic.person import draw_person
from mscmreid.synthetic.photo import draw_shot, take_photo
from mscmreid.synthetic.plan import Options, make_plan
from mscmreid.synthetic.raster import Placement, rasterize
from mscmreid.synthetic.scene import make_camera

FRONT = Pose(yaw=0.0, pitch=0.0, stride=0.0, phase=0.0, swing=0.0, elbow=0.2)
SIZE = (64, 32)


def slow_materials(parts, names, place, raster):
    """Material of every covered pixel, one pixel after another; the part is that of the last polygon drawn there."""
    from PIL import Image, ImageDraw

    owner = np.full(raster.size, -1)
    for number, part in enumerate(parts):
        image = Image.new("1", (raster.size[1], raster.size[0]))
        outline = [(place.x + x * place.scale, place.y + y * place.scale) for x, y in part.outline]
        ImageDraw.Draw(image).polygon(outline, fill=1)
        owner[np.asarray(image)] = number
    found, sides = [], []
    for row, column in zip(*np.nonzero(owner >= 0), strict=True):
        part = parts[owner[row, column]]
        x, y = (column - place.x) / place.scale - part.start[0], (row - place.y) / place.scale - part.start[1]
        ax, ay = part.end[0] - part.start[0], part.end[1] - part.start[1]
        length = (ax * ax + ay * ay) ** 0.5
        ax, ay = ax / length, ay / length
        s = x * ax + y * ay
        v = min(1, max(0, s / length))
        width = part.widths[int(v * (len(part.widths) - 1) + 0.5)]
        u = min(1, max(-1, (x * ay - y * ax) / max(width, 1e-4)))
        phi = (asin(u) - part.yaw + pi) % (2 * pi) - pi
        at = Surface(*(np.array([value]) for value in (s, v, phi, phi * part.radius)))
        name = part.layers[0].material
        for layer in part.layers[1:]:
            if pattern_mask(layer.pattern, at)[0]:
                name = layer.material
        found.append(names.index(name))
        sides.append(u)
    return np.array(found), np.array(sides)


@pytest.mark.parametrize("pid", range(1, 9))
def test_raster_equals_a_pixel_by_pixel_twin(pid):
    person = draw_person(5, pid)
    parts = build_figure(person, replace(FRONT, yaw=0.7 * pid, pitch=0.15, stride=0.3, phase=0.1 * pid))
    names, place = list(person.materials), Placement(60.0, 20.0, 66.0)
    raster = rasterize(parts, names, place, (72, 40))
    material, side = slow_materials(parts, names, place, raster)
    assert len(material) == len(raster.material) > 300
    assert np.mean(material == raster.material) > 0.995  # float32 against float64 at the borders of a pattern
    assert np.mean(np.abs(side - raster.side) < 1e-3) > 0.995


def test_a_print_in_front_is_hidden_from_behind():
    def share(yaw):
        stage = Stage(replace(FRONT, yaw=yaw))
        layers = (Layer(ALL, "cloth"), Layer(Pattern("front", period=0.5), "print"))
        stage.tube((0, 1, 0), (0, 0, 0), even(0.2), 0.0, *layers)
        return rasterize(stage.parts, ["cloth", "print"], Placement(90, 50, 95), (100, 100)).material.mean()

    assert share(pi) == 0
    assert share(0.0) > 0.3
    assert 0 < share(1.2) < share(0.0)


def test_stripes_cover_about_half_of_a_tube():
    s = np.linspace(0, 1, 1001)
    at = Surface(s, s, 0 * s, 0 * s)
    assert pattern_mask(Pattern("stripes", period=0.1), at).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_patterns_are_masks_of_their_surface(kind):
    rng = np.random.default_rng(0)
    phi = rng.uniform(-pi, pi, 500)
    v = rng.random(500)
    mask = pattern_mask(Pattern(kind, period=0.1, phase=0.3, start=0.2), Surface(v * 0.4, v, phi, phi * 0.1))
    assert mask.shape == (500,)
    assert mask.dtype == bool
    assert mask.any() == (kind != "plain")


def test_an_unknown_pattern_is_named():
    with pytest.raises(ValueError, match=r"pattern kind must be one of .*'zigzag'"):
        pattern_mask(Pattern("zigzag"), Surface(*[np.zeros(1)] * 4))


def test_an_unknown_modality_is_named():
    with pytest.raises(ValueError, match=r"modality must be one of .*'ultraviolet'"):
        make_camera(0, 1, "ultraviolet", True, 64)


def test_a_figure_is_as_tall_as_one_and_stands_on_the_ground():
    for pid in range(1, 40):
        person = draw_person(1, pid)
        y = [p[1] for part in build_figure(person, FRONT) for p in part.outline]
        assert -1.13 < min(y) < -0.97  # hair and hats reach higher
        assert -0.03 < max(y) < 0.03


def test_a_side_view_is_narrower_than_a_front_view():
    def width(yaw):
        body = build_figure(replace(draw_person(1, 3), bag="none"), replace(FRONT, yaw=yaw))
        return max(p[0] for part in body for p in part.outline)

    assert width(pi / 2) < 0.8 * width(0.0)


def photo(person, modality, cam=3, seed=0):
    camera = make_camera(0, cam, modality, True, SIZE[0])
    return take_photo(person, camera, draw_shot(np.random.default_rng(seed), camera, 0.0), SIZE)


@pytest.mark.parametrize("modality", ["infrared", "thermal"])
def test_infrared_has_three_equal_channels(modality):
    picture = photo(draw_person(0, 2), modality)
    assert picture.shape == (*SIZE, 3)
    assert picture.dtype == np.uint8
    assert (picture[..., 0] == picture[..., 1]).all()
    assert (picture[..., 0] == picture[..., 2]).all()
    assert picture.std() > 10


def repaint(person, **change):
    values = {n: replace(m, **change) for n, m in person.materials.items()}
    return replace(person, materials=values)


def test_each_modality_sees_its_own_property_only():
    person = draw_person(0, 2)
    red, bright, hot = (
        repaint(person, rgb=(1.0, 0.0, 0.0)),
        repaint(person, reflectance=1.0),
        repaint(person, warmth=1.0),
    )
    for modality, same, other in (
        ("visible", (bright, hot), red),
        ("infrared", (red, hot), bright),
        ("thermal", (red, bright), hot),
    ):
        plain = photo(person, modality)
        assert all((photo(p, modality) == plain).all() for p in same)
        assert (photo(other, modality) != plain).mean() > 0.1


def test_a_bright_material_is_drawn_bright():
    person = draw_person(0, 2)
    dark, light = (
        photo(repaint(person, reflectance=0.1), "infrared"),
        photo(repaint(person, reflectance=0.9), "infrared"),
    )
    assert light[20:40, 12:20].mean() > dark[20:40, 12:20].mean() + 80
    assert isinstance(person.materials["upper"], Material)


def test_a_frame_does_not_depend_on_what_was_drawn_before():
    plan = make_plan(Options("sysu", num_ids=4, images_per_camera=2, size=SIZE))
    forward, backward = Painter.of(plan), Painter.of(plan)
    pictures = {f.path: forward.draw(f) for f in plan.frames}
    for frame in reversed(plan.frames):
        assert (backward.draw(frame) == pictures[frame.path]).all()
    assert len({p.tobytes() for p in pictures.values()}) == len(pictures)


def test_other_seeds_draw_other_pictures():
    first, second = (make_plan(Options("sysu", num_ids=4, seed=s, size=SIZE, absent=0.0)) for s in (0, 1))
    same = [
        (Painter.of(first).draw(a) == Painter.of(second).draw(b)).mean()
        for a, b in zip(first.frames[:12:4], second.frames[:12:4], strict=True)
    ]
    assert max(same) < 0.3


def test_a_regdb_name_tells_the_view():
    plan = make_plan(Options("regdb", num_ids=40, size=SIZE))
    for frame in plan.frames:
        assert ("_front_" in frame.path) == (frame.heading == 0.0)
        assert ("_back_" in frame.path) == (frame.heading == pi)
