"""Corruptions: the same pixels everywhere, the published formulas, and what each does to an image."""

from __future__ import annotations

import colorsys
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tool_modules import load_tool

from mscmreid.corruptions import SEVERITIES, Draws, choose_corruptions, corrupt, family_of
from mscmreid.corruptions.draws import NORMAL
from mscmreid.corruptions.pixels import WEIGHT, gaussian_weights
from mscmreid.registry import CORRUPTIONS

NAMES = choose_corruptions(["all", "infrared"])
HASHES = Path(__file__).resolve().parents[1] / "data" / "corruption_hashes.json"
NO_VECTORS = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V3 X86_V4"


def plain_image(height: int = 60, width: int = 30) -> np.ndarray:
    """Slopes, edges and colours, from whole numbers alone."""
    rows, columns = np.indices((height, width))
    parts = [rows * 5 + columns, (rows * columns) // 7, 40 * (rows // 8 % 2) + 90 * (columns // 5 % 2) + rows]
    return (np.stack(parts, axis=2) % 256).astype(np.uint8)


def gray_image() -> np.ndarray:
    return np.repeat(plain_image()[..., :1], 3, axis=2)


def hashes() -> dict[str, str]:
    """'name severity' -> the first digits of the output's SHA-256, of a colour and a gray image together."""
    found = {}
    for name in NAMES:
        for severity in SEVERITIES:
            digest = hashlib.sha256()
            for image in (plain_image(), gray_image()):
                digest.update(corrupt(image, name, severity, "cam1/0006/0001.jpg").tobytes())
            found[f"{name} {severity}"] = digest.hexdigest()[:16]
    return found


def test_pixels_are_those_of_every_machine():
    assert hashes() == json.loads(HASHES.read_text())


def test_pixels_do_not_depend_on_the_instruction_set():
    here = Path(__file__).resolve().parent
    paths = os.pathsep.join(map(str, (here, here.parent, here.parents[1])))
    environment = {
        **os.environ,
        "NPY_DISABLE_CPU_FEATURES": NO_VECTORS,
        "PYTHONPATH": paths,
        "PYTHONWARNINGS": "ignore",
    }
    code = "import json, test_corruptions; print(json.dumps(test_corruptions.hashes()))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(HASHES.read_text())


def test_the_protocol_has_twenty_in_four_families():
    found = {}
    for name in choose_corruptions():
        found.setdefault(family_of(name), []).append(name)
    assert {family: len(names) for family, names in found.items()} == dict(noise=4, blur=5, weather=6, digital=5)
    assert len(choose_corruptions(["infrared"])) == 4
    assert choose_corruptions(["fog", "noise", "fog"])[-1] == "fog" and len(choose_corruptions(["fog", "noise"])) == 5


@pytest.mark.parametrize("name", NAMES)
def test_an_image_stays_one_and_chance_is_its_own(name):
    image, gray = plain_image(), gray_image()
    before = image.copy()
    first = corrupt(image, name, 3, "a.jpg")
    assert first.shape == image.shape and first.dtype == np.uint8 and (image == before).all()
    assert (first != image).any()
    assert (corrupt(image, name, 3, "a.jpg") == first).all()
    is_random = name not in {"defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast"} | {
        "pixelate",
        "jpeg_compression",
        "saturate",
    }
    assert (corrupt(image, name, 3, "b.jpg") != first).any() == is_random
    shown = corrupt(gray, name, 5, "a.jpg")
    assert (shown == shown[..., :1]).all()
    for shape in ((1, 1, 3), (2, 7, 3)):
        assert corrupt(np.full(shape, 128, dtype=np.uint8), name, 5, "a").shape == shape


@pytest.mark.parametrize("name", sorted({*NAMES} - {"saturate", "snow", "spatter", "fog", "frost", "glass_blur"}))
def test_a_higher_severity_is_farther_from_the_image(name):
    image = gray_image() if family_of(name) == "infrared" else plain_image(160, 80)
    keys = range(6)  # where the spot or the line is differs from image to image

    def distance(severity):
        return np.mean([np.abs(corrupt(image, name, severity, str(k)).astype(int) - image).mean() for k in keys])

    distances = [distance(severity) for severity in SEVERITIES]
    assert distances[4] > distances[2] > distances[0] > 0


def test_mistakes_are_told():
    image = plain_image()
    with pytest.raises(ValueError, match=r"no corruption 'frog'; there are .*fog"):
        corrupt(image, "frog", 1, "a")
    with pytest.raises(ValueError, match=r"severity must be one of .*found 6"):
        corrupt(image, "fog", 6, "a")
    with pytest.raises(ValueError, match=r"uint8, found .*float"):
        corrupt(image / 255, "fog", 1, "a")
    with pytest.raises(ValueError, match=r"found frog; did you mean .fog.*; corruptions are all, noise, "):
        choose_corruptions(["noise", "frog"])


def test_one_of_other_code_is_registered_by_its_name():
    def upside_down(image, severity, draws):
        return image[::-1]

    CORRUPTIONS.register_module(module=upside_down)
    try:
        assert (corrupt(plain_image(), "upside_down", 1, "a") == plain_image()[::-1]).all()
        assert choose_corruptions(["upside_down"]) == ["upside_down"]
    finally:
        CORRUPTIONS.module_dict.pop("upside_down")


def test_draws_have_their_distributions():
    draws = Draws("a", 1)
    uniform, normal = draws.uniform((200, 500)) / 65536, draws.normal((200, 500)) / NORMAL
    assert abs(uniform.mean() - 0.5) < 0.005 and abs(uniform.var() - 1 / 12) < 0.001
    assert abs(normal.mean()) < 0.02 and abs(normal.var() - 1) < 0.02 and abs((normal**4).mean() - 3) < 0.1
    between = [draws.between(-2, 2) for _ in range(500)]
    assert sorted(set(between)) == [-2, -1, 0, 1, 2]
    assert (Draws("a", 1).uniform((9,)) != Draws("a", 2).uniform((9,))).any()


def flat(value: int, size: int = 200) -> np.ndarray:
    return np.full((size, size, 3), value, dtype=np.uint8)


def test_noise_has_its_variance():
    assert corrupt(flat(128), "gaussian_noise", 1, "a").std() == pytest.approx(0.08 * 255, rel=0.02)
    assert corrupt(flat(60), "speckle_noise", 2, "a").std() == pytest.approx(0.2 * 60, rel=0.02)
    shot = corrupt(flat(100), "shot_noise", 1, "a")
    assert shot.mean() == pytest.approx(100, rel=0.01)
    assert shot.std() == pytest.approx(255 * (100 / 255 / 60) ** 0.5, rel=0.02)
    salted = corrupt(flat(128), "impulse_noise", 5, "a")
    assert (salted == 0).mean() == pytest.approx(0.135, abs=0.005)
    assert (salted == 255).mean() == pytest.approx(0.135, abs=0.005)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_and_saturation_are_those_of_the_colour_model(severity):
    image = plain_image(20, 10)
    more = (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    factor, offset = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))[severity - 1]
    bright, coloured = (corrupt(image, name, severity, "a") for name in ("brightness", "saturate"))
    for place in np.ndindex(image.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(image[place] / 255))
        assert np.abs(np.multiply(colorsys.hsv_to_rgb(h, s, min(1, v + more)), 255) - bright[place]).max() <= 0.51
        if s > 0:
            expected = np.multiply(colorsys.hsv_to_rgb(h, min(1, s * factor + offset), v), 255)
            assert np.abs(expected - coloured[place]).max() <= 0.51


def slow_filter(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """One place after the other, the border's pixels going on outside."""
    radius = kernel.shape[0] // 2
    padded = np.pad(image.astype(float), ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    out = np.empty(image.shape)
    for y, x in np.ndindex(image.shape[:2]):
        window = padded[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
        out[y, x] = (window * kernel[..., None]).sum(axis=(0, 1))
    return out


def test_blurs_are_their_kernels():
    image = plain_image(30, 20)
    offsets = np.arange(-8, 9)
    bell = np.exp(-0.5 * (offsets / 2.0) ** 2)
    kernel = np.outer(bell, bell) / bell.sum() ** 2
    assert np.abs(slow_filter(image, kernel) - corrupt(image, "gaussian_blur", 2, "a")).max() < 0.7
    disk = (offsets[:, None] ** 2 + offsets[None] ** 2 <= 16).astype(float)
    assert np.abs(slow_filter(image, disk / disk.sum()) - corrupt(image, "defocus_blur", 2, "a")).max() <= 0.51
    assert sum(gaussian_weights(3.3)) == WEIGHT


def test_an_even_image_has_nothing_to_blur():
    for name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur", "elastic_transform"):
        assert (corrupt(flat(77, 40), name, 5, "a") == 77).all()
    assert (corrupt(flat(77, 40), "contrast", 5, "a") == 77).all()


def test_contrast_keeps_the_mean_and_shrinks_the_rest():
    image = plain_image()
    out = corrupt(image, "contrast", 3, "a")
    assert np.abs(out.mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() < 0.5
    assert np.abs(out.std(axis=(0, 1)) / image.std(axis=(0, 1)) - 0.2).max() < 0.01


def test_the_sheet_shows_every_corruption(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    load_tool("analysis_tools/draw_corruptions").main([str(out), "--corruptions", "noise", "dead_pixels"])
    assert "5 corruptions" in capsys.readouterr().out
    picture = np.asarray(Image.open(out))
    person = load_tool("analysis_tools/draw_corruptions").synthetic_person()[1]
    strip = picture.shape[0] // 3
    dead = picture[2 * strip : 3 * strip, : picture.shape[1] // 2]  # the fifth of two a line
    wanted = corrupt(person, "dead_pixels", 5, "synthetic")
    assert any((dead[19:163, x : x + 72] == wanted).all() for x in range(dead.shape[1] - 72))
