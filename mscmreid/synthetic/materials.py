"""What things look like to each kind of camera: colour, near-infrared reflectance, warmth."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray value (ITU-R BT.601, as Pillow's mode 'L')."""


@dataclass(frozen=True)
class Material:
    """One dye on one cloth (or hair, skin, leather), seen by three kinds of camera.

    Attributes:
        rgb: visible colour, each channel 0..1.
        reflectance: share of near-infrared light that comes back, 0..1. Drawn without looking at ``rgb``: dyes
            that look black in visible light may shine in infrared and the other way round.
        warmth: brightness in a thermal camera, 0..1, drawn without looking at the other two.
    """

    rgb: tuple[float, float, float]
    reflectance: float
    warmth: float

    @property
    def gray(self) -> float:
        """Gray value of the visible colour, 0..1."""
        return float(np.dot(LUMA, self.rgb))


def draw_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """A clothes colour: one in three close to neutral, the others coloured, from dark to light."""
    hue = rng.random()
    if rng.random() < 0.33:
        saturation, value = 0.15 * rng.random(), rng.uniform(0.06, 0.97)
    else:
        saturation, value = rng.uniform(0.45, 0.95), rng.uniform(0.25, 0.97)
    return colorsys.hsv_to_rgb(hue, saturation, value)


def draw_reflectance(rng: np.random.Generator) -> float:
    """A near-infrared reflectance of a garment."""
    return float(rng.uniform(0.05, 0.97))


def draw_warmth(rng: np.random.Generator) -> float:
    """Warmth of clothes in thermal infrared: between the cold background and skin."""
    return float(rng.uniform(0.22, 0.74))


def _apart(draw: Callable[[], float], others: list[float], least: float) -> float:
    """A draw that is ``least`` away from all ``others``; the farthest of 24 draws where none is."""
    draws = [draw() for _ in range(24)]
    gaps = [min((abs(d - o) for o in others), default=1.0) for d in draws]
    return next((d for d, gap in zip(draws, gaps, strict=True) if gap >= least), draws[int(np.argmax(gaps))])


def draw_material(rng: np.random.Generator, beside: list[Material], contrast: float = 0.3) -> Material:
    """A cloth that can be told from the materials it lies beside, in every kind of light.

    The contrast is asked of each kind of light on its own, so that what is lighter and what is darker in one of
    them says nothing about the other. Every material takes the same number of draws.

    Args:
        rng: source of randomness.
        beside: materials that it touches on the person.
        contrast: least difference, of gray values in visible light and of reflectances in infrared.
    """
    colours = [draw_colour(rng) for _ in range(24)]
    grays = [float(np.dot(LUMA, c)) for c in colours]
    at = iter(range(24))
    gray = _apart(lambda: grays[next(at)], [m.gray for m in beside], contrast)
    reflectance = _apart(lambda: draw_reflectance(rng), [m.reflectance for m in beside], contrast)
    warmth = _apart(lambda: draw_warmth(rng), [m.warmth for m in beside], contrast / 2)
    return Material(colours[grays.index(gray)], reflectance, warmth)


def draw_skin(rng: np.random.Generator) -> Material:
    """Skin: tones differ in visible light, hardly in near infrared (melanin is transparent there), and it is warm."""
    tone = rng.random()
    light, dark = np.array([0.95, 0.78, 0.66]), np.array([0.36, 0.23, 0.16])
    r, g, b = (light * (1 - tone) + dark * tone).tolist()
    return Material((r, g, b), float(rng.uniform(0.58, 0.72)), float(rng.uniform(0.9, 1.0)))


def draw_hair(rng: np.random.Generator, skin: Material) -> Material:
    """Hair: black to blond, gray or dyed; its infrared reflectance keeps away from that of skin."""
    kind = rng.choice(5, p=[0.4, 0.25, 0.15, 0.1, 0.1])
    low, high = [
        ((0.04, 0.03, 0.03), (0.14, 0.11, 0.1)),
        ((0.22, 0.13, 0.08), (0.4, 0.25, 0.14)),
        ((0.72, 0.55, 0.3), (0.92, 0.78, 0.5)),
        ((0.55, 0.55, 0.56), (0.82, 0.82, 0.84)),
        ((0.55, 0.12, 0.05), (0.78, 0.3, 0.12)),
    ][kind]
    share = rng.random()
    r, g, b = (a + (c - a) * share for a, c in zip(low, high, strict=True))
    reflectance = _apart(lambda: float(rng.uniform(0.08, 0.95)), [skin.reflectance], 0.2)
    return Material((r, g, b), reflectance, float(rng.uniform(0.5, 0.7)))
