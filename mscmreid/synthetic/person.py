"""Who a synthetic person is: build, hair, clothes and carried things, drawn from (seed, pid) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mscmreid.synthetic.materials import Material, draw_hair, draw_material, draw_skin
from mscmreid.synthetic.patterns import Pattern

UPPERS = ("t-shirt", "top", "shirt", "jacket", "hoodie", "vest", "coat", "dress", "poncho")
LOWERS = ("trousers", "wide trousers", "leggings", "shorts", "short skirt", "long skirt")
HAIRS = ("bald", "short", "bob", "long", "ponytail", "bun", "afro")
HEADWEAR = ("none", "cap", "beanie", "hood", "hat")
BAGS = ("none", "backpack", "shoulder bag", "handbag", "suitcase", "umbrella")
SHOES = ("shoes", "boots")
UPPER_PATTERNS = (
    "plain", "stripes", "columns", "diagonal", "checks", "dots", "disc", "square", "chevron", "cross", "band",
    "two-tone", "half", "sides",
)  # fmt: skip
LOWER_PATTERNS = ("plain", "stripes", "checks", "sides", "two-tone", "dots")
SLEEVES = {"t-shirt": 0.55, "top": 0.0, "dress": 0.4, "poncho": 0.0}
"""Share of the upper arm under a short sleeve; garments that are not named have long sleeves."""


@dataclass(frozen=True)
class Build:
    """Proportions of a body, all as factors of the average (height: share of the tallest).

    Attributes:
        height: 0.84..1.
        girth: thickness of torso and limbs.
        shoulders: shoulder width.
        hips: hip width.
        legs: leg length against the torso's.
        head: head size.
    """

    height: float
    girth: float
    shoulders: float
    hips: float
    legs: float
    head: float


@dataclass(frozen=True)
class Garment:
    """Cut and texture of one piece of clothing.

    Attributes:
        kind: the cut, of ``UPPERS`` or ``LOWERS``.
        pattern: where its second material shows.
        length: hem, as a share of the way between its shortest and longest (0..1).
        contrast_limbs: whether sleeves (or trouser legs below the knee) are of the second material.
        is_open: whether it is open in front and shows what is worn under it.
        has_belt: whether a belt of the second material is worn with it.
    """

    kind: str
    pattern: Pattern
    length: float
    contrast_limbs: bool = False
    is_open: bool = False
    has_belt: bool = False


@dataclass(frozen=True)
class Person:
    """One synthetic identity.

    Attributes:
        pid: number of the person.
        build: proportions.
        hair: of ``HAIRS``.
        headwear: of ``HEADWEAR``.
        upper: garment on the torso.
        lower: garment on the legs (not drawn under a long dress).
        shoes: of ``SHOES``.
        bag: of ``BAGS``.
        bag_side: +1 or -1, the side it is carried on.
        has_scarf: whether a scarf is worn.
        materials: look of every part by name: skin, hair, upper, upper2, inner, lower, lower2, shoes, bag, bag2,
            headwear, scarf, eyes.
    """

    pid: int
    build: Build
    hair: str
    headwear: str
    upper: Garment
    lower: Garment
    shoes: str
    bag: str
    bag_side: int
    has_scarf: bool
    materials: dict[str, Material]

    def describe(self) -> str:
        """What a witness would say, e.g. 'jacket (stripes), trousers (plain), backpack, cap'."""
        words = [f"{self.upper.kind} ({self.upper.pattern.kind})"]
        if self.upper.kind != "dress":
            words.append(f"{self.lower.kind} ({self.lower.pattern.kind})")
        words += [w for w in (self.bag, self.headwear) if w != "none"]
        if self.has_scarf:
            words.append("scarf")
        if self.headwear == "none":
            words.append("bald" if self.hair == "bald" else f"{self.hair} hair")
        return ", ".join(words)


def draw_person(seed: int, pid: int) -> Person:
    """The person that ``seed`` gives to number ``pid``: always the same one, whoever else is drawn."""
    rng = np.random.default_rng([seed, 101, pid])
    build = Build(
        height=rng.uniform(0.84, 1.0),
        girth=rng.uniform(0.8, 1.35),
        shoulders=rng.uniform(0.86, 1.16),
        hips=rng.uniform(0.85, 1.2),
        legs=rng.uniform(0.93, 1.07),
        head=rng.uniform(0.94, 1.08),
    )
    upper = _draw_upper(rng)
    lower = _draw_lower(rng)
    headwear = str(rng.choice(HEADWEAR, p=[0.48, 0.15, 0.14, 0.08, 0.15]))
    if headwear == "hood" and upper.kind not in ("hoodie", "coat", "jacket"):
        headwear = "none"
    return Person(
        pid=pid,
        build=build,
        hair=str(rng.choice(HAIRS, p=[0.06, 0.26, 0.16, 0.22, 0.12, 0.08, 0.1])),
        headwear=headwear,
        upper=upper,
        lower=lower,
        shoes=str(rng.choice(SHOES, p=[0.65, 0.35])),
        bag=str(rng.choice(BAGS, p=[0.22, 0.22, 0.17, 0.15, 0.14, 0.1])),
        bag_side=1 if rng.random() < 0.5 else -1,
        has_scarf=bool(rng.random() < 0.2),
        materials=_draw_materials(rng),
    )


def _draw_upper(rng: np.random.Generator) -> Garment:
    kind = str(rng.choice(UPPERS, p=[0.17, 0.08, 0.14, 0.13, 0.1, 0.1, 0.13, 0.1, 0.05]))
    pattern = str(rng.choice(UPPER_PATTERNS, p=[0.16] + [0.84 / 13] * 13))
    return Garment(
        kind=kind,
        pattern=Pattern(
            pattern,
            period=_period(rng, pattern),
            phase=rng.random(),
            start=rng.uniform(0.4, 0.6) if pattern == "two-tone" else rng.uniform(0.12, 0.17),
        ),
        length=rng.random(),
        contrast_limbs=bool(rng.random() < (0.6 if kind == "vest" else 0.25)),
        is_open=bool(kind in ("jacket", "coat", "vest") and rng.random() < 0.6),
        has_belt=bool(kind in ("coat", "dress", "shirt") and rng.random() < 0.35),
    )


def _draw_lower(rng: np.random.Generator) -> Garment:
    pattern = str(rng.choice(LOWER_PATTERNS, p=[0.5, 0.1, 0.1, 0.12, 0.1, 0.08]))
    return Garment(
        kind=str(rng.choice(LOWERS, p=[0.3, 0.14, 0.12, 0.2, 0.12, 0.12])),
        pattern=Pattern(pattern, period=_period(rng, pattern), phase=rng.random(), start=rng.uniform(0.45, 0.6)),
        length=rng.random(),
    )


def _period(rng: np.random.Generator, kind: str) -> float:
    """Coarse enough to be seen in a picture 48 pixels wide, where a body height is about 85 pixels."""
    low, high = {
        "stripes": (0.085, 0.15),
        "columns": (0.075, 0.12),
        "diagonal": (0.1, 0.15),
        "checks": (0.11, 0.16),
        "dots": (0.085, 0.12),
        "disc": (0.07, 0.095),
        "square": (0.07, 0.1),
        "chevron": (0.09, 0.13),
        "cross": (0.09, 0.13),
        "band": (0.08, 0.12),
    }.get(kind, (0.1, 0.1))
    return float(rng.uniform(low, high))


def _draw_materials(rng: np.random.Generator) -> dict[str, Material]:
    """Materials by name, each told apart from what it lies beside (see ``draw_material``)."""
    skin = draw_skin(rng)
    hair = draw_hair(rng, skin)
    upper = draw_material(rng, [])
    upper2 = draw_material(rng, [upper], 0.35)
    inner = draw_material(rng, [upper], 0.3)
    lower = draw_material(rng, [upper], 0.22)
    lower2 = draw_material(rng, [lower], 0.35)
    bag = draw_material(rng, [upper], 0.3)
    return dict(
        skin=skin,
        hair=hair,
        upper=upper,
        upper2=upper2,
        inner=inner,
        lower=lower,
        lower2=lower2,
        shoes=draw_material(rng, [lower], 0.25),
        bag=bag,
        bag2=draw_material(rng, [bag], 0.3),
        headwear=draw_material(rng, [skin], 0.2),
        scarf=draw_material(rng, [upper, skin], 0.2),
        eyes=Material((0.1, 0.08, 0.08), 0.2, 0.95),
    )
