"""The body as tubes in space, posed, turned and projected: what a person's outline and surfaces are in one frame.

Space has X to the person's left-right, Y up from the ground and Z to where the person faces; lengths are in body
heights. On the picture x runs right and y down, with the ground under the person at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, pi, sin

import numpy as np

from mscmreid.synthetic.patterns import Pattern

Point3 = tuple[float, float, float]
Profile = list[tuple[float, float, float]]
"""Half widths along a tube: (place 0..1, across the body, front to back)."""

NUM_WIDTHS = 24
"""Samples of a tube's half width along its axis."""
ALL = Pattern("all")


@dataclass(frozen=True)
class Pose:
    """How a person stands and is turned in one frame.

    Attributes:
        yaw: turn about the vertical, radians: 0 looks at the camera, pi away from it.
        pitch: how far the camera looks down, radians.
        stride: largest swing of the legs, radians.
        phase: place in the gait, 0..1.
        swing: swing of the arms as a share of the legs'.
        elbow: bend of the elbows, radians.
    """

    yaw: float
    pitch: float
    stride: float
    phase: float
    swing: float
    elbow: float


@dataclass(frozen=True)
class Layer:
    """A material by name, and the pattern of surface points that it covers."""

    pattern: Pattern
    material: str


@dataclass(frozen=True)
class Part:
    """One tube on the picture, lengths in body heights.

    Attributes:
        outline: polygon of its silhouette, (x, y) pairs.
        start: upper end of its axis.
        end: lower end of its axis.
        widths: half widths on the picture along the axis, (NUM_WIDTHS,).
        radius: radius in space, by which angles become lengths on the cloth.
        yaw: turn of its front against the camera, radians.
        depth: painting order; larger is nearer.
        layers: materials, the later over the earlier; the first covers everything.
        crease: how dark the upper end is (0..1) where another part throws its shadow on it.
    """

    outline: list[tuple[float, float]]
    start: tuple[float, float]
    end: tuple[float, float]
    widths: np.ndarray
    radius: float
    yaw: float
    depth: float
    layers: tuple[Layer, ...]
    crease: float


class Stage:
    """Collects the tubes of one figure and projects them.

    Args:
        pose: turn and camera pitch.
    """

    def __init__(self, pose: Pose) -> None:
        self.pose = pose
        self.parts: list[Part] = []
        self._cos, self._sin = cos(pose.yaw), sin(pose.yaw)
        self._up, self._tilt = cos(pose.pitch), sin(pose.pitch)

    def depth(self, point: Point3) -> float:
        """How near a point is to the camera, against the body's axis."""
        return point[2] * self._cos - point[0] * self._sin

    def project(self, point: Point3) -> tuple[float, float]:
        """Place of a point on the picture."""
        x = point[0] * self._cos + point[2] * self._sin
        return x, -point[1] * self._up + self.depth(point) * self._tilt

    def width(self, across: float, deep: float) -> float:
        """Half width on the picture of an elliptic section with these half axes."""
        return hypot(across * self._cos, deep * self._sin)

    def order(self, depth: float, near: float, far: float, least: float = 0.0) -> float:
        """Painting order of something that is before the body (``near``) or behind it (``far``)."""
        return (near if depth > least else far) + 0.01 * depth

    def tube(
        self,
        start: Point3,
        end: Point3,
        profile: Profile,
        order: float,
        *layers: Layer,
        round_start: bool = False,
        round_end: bool = False,
        crease: float = 0.0,
    ) -> None:
        """Adds a tube from ``start`` to ``end``; see ``Part`` for the rest."""
        (x0, y0), (x1, y1) = self.project(start), self.project(end)
        length = hypot(x1 - x0, y1 - y0)
        if length < 1e-3:  # seen end on
            y1, length = y0 + 1e-3, 1e-3
        ax, ay = (x1 - x0) / length, (y1 - y0) / length
        places = [v for v, _, _ in profile]
        halves = [self.width(across, deep) for _, across, deep in profile]
        right = [
            (x0 + v * (x1 - x0) + w * ay, y0 + v * (y1 - y0) - w * ax) for v, w in zip(places, halves, strict=True)
        ]
        left = [(x0 + v * (x1 - x0) - w * ay, y0 + v * (y1 - y0) + w * ax) for v, w in zip(places, halves, strict=True)]
        cap_end = _cap(x1, y1, ax, ay, halves[-1]) if round_end else []
        cap_start = _cap(x0, y0, -ax, -ay, halves[0]) if round_start else []
        self.parts.append(
            Part(
                outline=[*right, *cap_end, *left[::-1], *cap_start],
                start=(x0, y0),
                end=(x1, y1),
                widths=np.interp(np.linspace(0, 1, NUM_WIDTHS), places, halves).astype(np.float32),
                radius=sum(across + deep for _, across, deep in profile) / (2 * len(profile)),
                yaw=self.pose.yaw,
                depth=order,
                layers=layers,
                crease=crease,
            )
        )

    def ball(self, centre: Point3, across: float, deep: float, high: float, order: float, *layers: Layer) -> None:
        """Adds an ellipsoid with these half axes."""
        x, y, z = centre
        v = [(1 - cos(pi * k / 12)) / 2 for k in range(13)]
        profile = [(p, across * ellipse_width(p), deep * ellipse_width(p)) for p in v]
        self.tube((x, y + high, z), (x, y - high, z), profile, order, *layers)


def ellipse_width(place: float) -> float:
    """Half width of a unit ellipse at ``place`` 0..1 along its axis."""
    return (max(0.0, 1 - (2 * place - 1) ** 2)) ** 0.5


def _cap(x: float, y: float, ax: float, ay: float, radius: float) -> list[tuple[float, float]]:
    """Half circle over an end of a tube whose axis leaves it along (ax, ay), from its right side to its left."""
    angles = [pi * k / 6 for k in range(1, 6)]
    return [
        (x + radius * (cos(t) * ay + sin(t) * ax), y + radius * (-cos(t) * ax + sin(t) * ay)) for t in angles
    ]  # fmt: skip


def even(first: float, *others: float) -> Profile:
    """Profile of a round tube with half widths at even places."""
    values = [first, *others] if others else [first, first]
    return [(k / (len(values) - 1), w, w) for k, w in enumerate(values)]
