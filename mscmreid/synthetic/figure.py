"""A person in one frame: every garment, limb and carried thing as tubes on a ``Stage``."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

from mscmreid.synthetic.body import ALL, Layer, Part, Point3, Pose, Profile, Stage, even
from mscmreid.synthetic.patterns import Pattern
from mscmreid.synthetic.person import SLEEVES, Person

SHOULDER, NECK, HEAD = 0.815, 0.85, 0.925
LONG_UPPERS = ("coat", "dress")


@dataclass(frozen=True)
class Skeleton:
    """Sizes and joints that garments hang on, in body heights.

    Attributes:
        shoulder: half width at the shoulders.
        chest: half depth of the chest.
        waist: half width of the waist.
        hip: half width of the hips.
        hip_y: height of the hip joints.
        girth: thickness factor.
        head: size factor.
        legs: hip, knee, ankle of each leg.
        arms: shoulder, elbow, hand of each arm.
    """

    shoulder: float
    chest: float
    waist: float
    hip: float
    hip_y: float
    girth: float
    head: float
    legs: list[tuple[Point3, Point3, Point3]]
    arms: list[tuple[Point3, Point3, Point3]]


def make_skeleton(person: Person, pose: Pose) -> Skeleton:
    """Joints of ``person`` in ``pose``; the lower foot stands on the ground."""
    build = person.build
    girth = build.girth
    shoulder = 0.108 * build.shoulders * (0.82 + 0.18 * girth)
    hip_y = 0.5 * build.legs
    legs = []
    for side in (-1, 1):
        swing = pose.stride * sin(2 * pi * pose.phase) * side
        bend = pose.stride * max(0.0, sin(2 * pi * pose.phase + 0.9) * -side)
        hip: Point3 = (side * 0.047 * build.hips, hip_y, 0.0)
        knee = _move(hip, hip_y * 0.47, swing + 0.3 * bend)
        ankle = _move(knee, hip_y * 0.45, swing - 0.9 * bend)
        legs.append((hip, knee, ankle))
    drop = min(ankle[1] for _, _, ankle in legs) - 0.04
    legs = [tuple((x, y - drop, z) for x, y, z in leg) for leg in legs]  # type: ignore[misc]
    arms = []
    for side in (-1, 1):
        swing = -pose.swing * pose.stride * sin(2 * pi * pose.phase) * side
        spread, elbow = 0.1 + 0.06 * girth, pose.elbow
        if person.bag_side == side:
            swing, elbow, spread = {
                "suitcase": (-0.35, 0.05, 0.3),
                "handbag": (swing * 0.4, 0.1, 0.24),
                "umbrella": (0.15, 0.35, 0.3),
            }.get(person.bag, (swing, elbow, spread))
        joint: Point3 = (side * (shoulder - 0.012), SHOULDER - 0.03, 0.0)
        elbow_at = _move(joint, 0.165, swing, side * spread)
        arms.append((joint, elbow_at, _move(elbow_at, 0.155, swing + elbow, side * spread * 0.5)))
    return Skeleton(
        shoulder=shoulder,
        chest=0.068 * girth,
        waist=0.08 * girth,
        hip=0.086 * build.hips * (0.72 + 0.28 * girth),
        hip_y=hip_y - drop,
        girth=girth,
        head=build.head,
        legs=legs,
        arms=arms,
    )


def _move(point: Point3, length: float, swing: float, spread: float = 0.0) -> Point3:
    """End of a limb that hangs from ``point``, swung forward and spread sideways (radians)."""
    x, y, z = point
    return x + length * sin(spread), y - length * cos(swing) * cos(spread), z + length * sin(swing)


def build_figure(person: Person, pose: Pose) -> list[Part]:
    """The parts of ``person`` in ``pose``, in painting order, farthest first."""
    stage, bones = Stage(pose), make_skeleton(person, pose)
    _add_legs(stage, bones, person)
    _add_skirt(stage, bones, person)
    _add_torso(stage, bones, person)
    _add_arms(stage, bones, person)
    _add_head(stage, bones, person)
    _add_headwear(stage, bones, person)
    _add_scarf(stage, bones, person)
    _add_bag(stage, bones, person)
    return sorted(stage.parts, key=lambda part: part.depth)


def _add_legs(stage: Stage, bones: Skeleton, person: Person) -> None:
    kind, pattern = person.lower.kind, person.lower.pattern
    covered = kind in ("trousers", "wide trousers", "leggings") and person.upper.kind != "dress"
    extra = {"trousers": 0.008, "wide trousers": 0.014}.get(kind, 0.0)
    g = 0.75 + 0.25 * bones.girth
    thigh, knee_w, calf, ankle_w = 0.056 * g, 0.04 * g, 0.04 * g, 0.024 * g
    cloth = [Layer(ALL, "lower"), Layer(pattern, "lower2")] if covered else [Layer(ALL, "skin")]
    below = cloth
    if covered and pattern.kind == "two-tone":
        cloth, below = [Layer(ALL, "lower")], [Layer(ALL, "lower2")]
    for hip, knee, ankle in bones.legs:
        depth = stage.depth(hip)
        flare = 0.03 if kind == "wide trousers" and covered else 0.0
        upper_leg = even(thigh + extra, (thigh + knee_w) / 2 + extra + 0.004, knee_w + extra + flare * 0.4)
        lower_leg = even(knee_w + extra + flare * 0.4, calf + extra + flare * 0.6, ankle_w + extra + flare)
        stage.tube(hip, knee, upper_leg, depth, *cloth, round_end=True, crease=0.45)
        stage.tube(knee, ankle, lower_leg, depth + 0.001, *below, round_start=True)
        _add_shoe(stage, person, knee, ankle, depth + 0.002, ankle_w + extra + flare * 0.3)
        if kind == "shorts" and person.upper.kind != "dress":
            share = 0.75 + 0.3 * person.lower.length
            hem = tuple(h + share * (k - h) for h, k in zip(hip, knee, strict=True))
            shorts = even(thigh + 0.012, thigh + 0.012, thigh + 0.014)
            stage.tube(hip, hem, shorts, depth + 0.003, Layer(ALL, "lower"), Layer(pattern, "lower2"), crease=0.4)  # type: ignore[arg-type]


def _add_shoe(stage: Stage, person: Person, knee: Point3, ankle: Point3, depth: float, width: float) -> None:
    shoe = Layer(ALL, "shoes")
    x, y, z = ankle
    stage.tube((x, y - 0.012, z - 0.025), (x, y - 0.022, z + 0.085), even(0.026, 0.027, 0.02), depth + 0.002, shoe,
               round_start=True, round_end=True)  # fmt: skip
    if person.shoes == "boots":
        top = tuple(a + 0.62 * (k - a) for a, k in zip(ankle, knee, strict=True))
        stage.tube(top, ankle, even(0.044, 0.038, 0.034), depth + 0.001, shoe, round_end=True)  # type: ignore[arg-type]


def _add_skirt(stage: Stage, bones: Skeleton, person: Person) -> None:
    if person.upper.kind == "dress":
        return
    layers = (Layer(ALL, "lower"), Layer(person.lower.pattern, "lower2"))
    top = bones.hip_y + 0.1
    if person.lower.kind not in ("short skirt", "long skirt"):  # the seat of trousers and shorts
        seat = [(0.0, bones.waist, bones.chest * 0.9), (1.0, bones.hip, bones.chest * 1.05)]
        stage.tube((0, top, 0), (0, bones.hip_y - 0.02, 0), seat, 0.15, Layer(ALL, "lower"), round_end=True)
        return
    is_long = person.lower.kind == "long skirt"
    hem = (0.1 if is_long else 0.31) + 0.06 * person.lower.length
    wide = bones.hip + (0.065 if is_long else 0.05)
    cut: Profile = [
        (0.0, bones.waist, bones.chest * 0.9),
        (0.3, bones.hip + 0.012, bones.chest * 1.1),
        (1.0, wide, bones.chest + 0.06),
    ]
    stage.tube((0, top, 0), (0, hem, 0), cut, 0.2, *layers, crease=0.3)


def _torso_profile(bones: Skeleton, kind: str, hem: float) -> Profile:
    """Half widths of a garment from the neck down to ``hem`` (height over ground)."""
    loose = {"coat": 0.012, "jacket": 0.012, "hoodie": 0.012, "vest": 0.026, "top": -0.004, "t-shirt": 0.006}.get(
        kind, 0.003
    )
    shoulder, chest = bones.shoulder + loose * 0.5, bones.chest + loose
    if kind == "poncho":
        marks = [(NECK, 0.04, 0.04), (SHOULDER, shoulder, chest), (hem, 0.235, 0.15)]
    else:
        marks = [
            (NECK + 0.008, 0.036, 0.036),
            (SHOULDER + 0.018, shoulder * 0.72, chest * 0.62),
            (SHOULDER - 0.005, shoulder * 0.98, chest * 0.86),
            (SHOULDER - 0.05, shoulder, chest * 0.96),
            (0.72, shoulder * 0.93, chest),
            (bones.hip_y + 0.1, bones.waist + loose, bones.chest * 0.92 + loose),
            (bones.hip_y, bones.hip + loose, bones.chest + loose),
        ]
        flare = {"dress": 0.3, "coat": 0.11}.get(kind, 0.0)
        marks = [m for m in marks if m[0] > hem + 0.01]
        y, across, deep = marks[-1]
        marks.append((hem, across + flare * (y - hem), deep + flare * (y - hem)))
    top = marks[0][0]
    return [((top - y) / (top - hem), across, deep) for y, across, deep in marks]


def torso_layers(person: Person) -> list[Layer]:
    """Materials on the torso, from the cloth to the straps over it."""
    upper = person.upper
    layers = [Layer(ALL, "upper")]
    if not (upper.kind == "vest" and upper.pattern.kind == "plain"):
        layers.append(Layer(upper.pattern, "upper2"))
    if upper.is_open:
        layers.append(Layer(Pattern("front", period=0.42), "inner"))
    if upper.has_belt:
        layers.append(Layer(Pattern("band", period=0.035, start=0.255), "lower2"))
    if person.bag == "backpack":
        layers.append(Layer(Pattern("straps", start=0.3 if upper.kind in LONG_UPPERS else 0.62), "bag"))
    if person.bag == "shoulder bag":
        layers.append(Layer(Pattern("sash", period=0.17, phase=0.25 if person.bag_side > 0 else 0.75), "bag"))
    return layers


def _add_torso(stage: Stage, bones: Skeleton, person: Person) -> None:
    upper = person.upper
    lowest, highest = {
        "coat": (0.2, 0.38),
        "dress": (0.16, 0.36),
        "top": (bones.hip_y + 0.05, bones.hip_y + 0.1),
        "poncho": (0.44, 0.52),
    }.get(upper.kind, (bones.hip_y - 0.05, bones.hip_y + 0.02))
    hem = lowest + (highest - lowest) * upper.length
    stage.tube((0, 0.88, 0), (0, 0.83, 0), even(0.03), 0.25, Layer(ALL, "skin"), crease=0.5)
    if upper.kind == "top":
        stage.tube((0, 0.75, 0), (0, bones.hip_y + 0.05, 0),
                   [(0, bones.shoulder * 0.9, bones.chest), (1, bones.waist, bones.chest * 0.9)], 0.28,
                   Layer(ALL, "skin"))  # fmt: skip
    profile = _torso_profile(bones, upper.kind, hem)
    top = NECK if upper.kind == "poncho" else NECK + 0.008
    order = 0.62 if upper.kind == "poncho" else 0.3
    stage.tube((0, top, 0), (0, hem, 0), profile, order, *torso_layers(person), crease=0.3)
    if upper.kind in ("coat", "jacket", "shirt"):
        stage.tube((0, NECK + 0.022, 0), (0, NECK - 0.012, 0), even(0.045, 0.055), 0.46, Layer(ALL, "upper"))
    if upper.kind == "hoodie" and person.headwear != "hood":
        back: Point3 = (0, 0.845, -0.05)
        stage.ball(back, 0.075, 0.05, 0.042, stage.order(stage.depth(back), 0.52, 0.26), Layer(ALL, "upper"))


def sleeve_layers(person: Person) -> list[Layer]:
    """Materials on a sleeve: the torso's repeating patterns go on, prints do not."""
    upper = person.upper
    if upper.contrast_limbs:
        return [Layer(ALL, "upper2")]
    if upper.pattern.kind in ("stripes", "columns", "diagonal", "checks", "dots"):
        return [Layer(ALL, "upper"), Layer(upper.pattern, "upper2")]
    return [Layer(ALL, "upper")]


def _add_arms(stage: Stage, bones: Skeleton, person: Person) -> None:
    kind = person.upper.kind
    g = 0.7 + 0.3 * bones.girth
    loose = {"coat": 0.009, "jacket": 0.009, "hoodie": 0.01, "shirt": 0.005, "vest": 0.004}.get(kind, 0.0)
    skin, sleeve = [Layer(ALL, "skin")], sleeve_layers(person)
    cover = SLEEVES.get(kind, 1.0)
    bare = cover < 1.0
    for joint, elbow, hand in bones.arms:
        order = stage.order(stage.depth(joint), 0.6, -0.2, -0.045)
        cloth = skin if bare else sleeve
        stage.tube(joint, elbow, even(0.037 * g + loose, 0.032 * g + loose), order, *cloth, round_start=True,
                   round_end=True)  # fmt: skip
        stage.ball((hand[0], hand[1] - 0.012, hand[2]), 0.024, 0.024, 0.03, order, *skin)
        stage.tube(elbow, hand, even(0.031 * g + loose, 0.022 * g + loose), order + 0.001, *cloth, round_start=True)
        if bare and cover > 0:
            end = tuple(a + cover * (b - a) for a, b in zip(joint, elbow, strict=True))
            stage.tube(joint, end, even(0.042 * g + 0.006, 0.042 * g + 0.01), order + 0.002, *sleeve, round_start=True)  # type: ignore[arg-type]


def _add_head(stage: Stage, bones: Skeleton, person: Person) -> None:
    head, hair = bones.head, Layer(ALL, "hair")
    centre: Point3 = (0, HEAD, 0.012)
    fringe, sides = {
        "bald": (-1.0, -1.0),
        "short": (0.3, 0.62),
        "bob": (0.3, 1.0),
        "long": (0.26, 1.0),
        "ponytail": (0.26, 0.6),
        "bun": (0.26, 0.6),
        "afro": (0.3, 0.75),
    }[person.hair]
    face = (Layer(Pattern("eyes"), "eyes"), Layer(Pattern("hair", period=sides, start=fringe), "hair"))
    stage.ball(centre, 0.054 * head, 0.062 * head, 0.07 * head, 0.5, Layer(ALL, "skin"), *face)
    if person.hair in ("bob", "long"):
        low = 0.83 if person.hair == "bob" else 0.7
        fall: Profile = [
            (0, 0.02, 0.02),
            (0.12, 0.058, 0.05),
            (0.35, 0.072, 0.055),
            (0.8, 0.078, 0.045),
            (1, 0.07, 0.04),
        ]
        start: Point3 = (0, HEAD + 0.076 * head, -0.035)
        stage.tube(start, (0, low, -0.06), fall, stage.order(stage.depth(start), 0.7, 0.27), hair, round_end=True)
    elif person.hair == "ponytail":
        start = (0, 0.96, -0.06)
        order = stage.order(stage.depth(start), 0.7, 0.27)
        stage.tube(start, (0, 0.77, -0.115), even(0.02, 0.036, 0.03, 0.008), order, hair, round_start=True)
    elif person.hair == "bun" and person.headwear == "none":
        stage.ball((0, HEAD + 0.085 * head, -0.025), 0.036, 0.036, 0.032, 0.49, hair)
    elif person.hair == "afro" and person.headwear in ("none", "cap"):
        order = stage.order(-stage.pose.pitch - stage.depth(centre), 0.51, 0.48)
        stage.ball((0, HEAD + 0.028, -0.02), 0.1, 0.095, 0.09, order, hair)


def _add_headwear(stage: Stage, bones: Skeleton, person: Person) -> None:
    cloth, head = Layer(ALL, "headwear"), bones.head
    top, brow = HEAD + 0.078 * head, HEAD + 0.018 * head
    dome: Profile = [(v, 0.062 * head * w, 0.068 * head * w) for v, w in ((0, 0.2), (0.15, 0.62), (0.4, 0.9), (1, 1))]
    if person.headwear == "cap":
        peak: Point3 = (0, brow, 0.085)
        stage.ball(peak, 0.055, 0.05, 0.013, stage.order(stage.depth(peak), 0.56, 0.47), cloth)
        stage.tube((0, top, 0), (0, brow, 0), dome, 0.55, cloth)
    elif person.headwear == "beanie":
        stage.tube((0, top + 0.012, 0), (0, brow - 0.005, 0), dome, 0.55, cloth,
                   Layer(Pattern("two-tone", start=0.65), "scarf"))  # fmt: skip
        stage.ball((0, top + 0.03, 0), 0.026, 0.026, 0.024, 0.54, Layer(ALL, "scarf"))
    elif person.headwear == "hat":
        stage.tube(
            (0, top + 0.025, 0), (0, brow, 0), [(0, 0.048, 0.048), (0.1, 0.058, 0.06), (1, 0.062, 0.068)], 0.55, cloth
        )
        stage.ball((0, brow + 0.006, 0), 0.118, 0.118, 0.016, 0.56, cloth)
    elif person.headwear == "hood":
        opening = (Layer(Pattern("face"), "skin"), Layer(Pattern("eyes"), "eyes"))
        hood: Profile = [
            (0, 0.025, 0.03),
            (0.12, 0.055, 0.06),
            (0.4, 0.075, 0.082),
            (0.75, 0.075, 0.08),
            (1, 0.066, 0.07),
        ]
        stage.tube((0, HEAD + 0.088, 0), (0, 0.84, 0), hood, 0.55, Layer(ALL, "upper"), *opening)


def _add_scarf(stage: Stage, bones: Skeleton, person: Person) -> None:
    if not person.has_scarf:
        return
    cloth = Layer(ALL, "scarf")
    stage.ball((0, 0.848, 0), 0.072, 0.068, 0.032, 0.71, cloth)
    for side, z in ((-1, 1), (1, -1)):
        start: Point3 = (side * 0.035, 0.845, z * (bones.chest + 0.012))
        end: Point3 = (side * 0.045, 0.62, z * (bones.chest + 0.02))
        stage.tube(start, end, even(0.026, 0.03), stage.order(stage.depth(start), 0.705, 0.1), cloth)


def _add_bag(stage: Stage, bones: Skeleton, person: Person) -> None:
    cloth, trim, side = Layer(ALL, "bag"), Layer(Pattern("band", period=0.085, start=0.13), "bag2"), person.bag_side
    hand = bones.arms[0 if side < 0 else 1][2]
    if person.bag == "backpack":
        back: Point3 = (0, SHOULDER + 0.035, -bones.chest - 0.05)
        box: Profile = [(0, 0.06, 0.04), (0.08, 0.1, 0.055), (0.5, 0.108, 0.066), (0.95, 0.105, 0.07), (1, 0.09, 0.06)]
        order = stage.order(stage.depth(back), 0.72, -0.3)
        stage.tube(back, (0, bones.hip_y + 0.05, back[2] - 0.01), box, order, cloth, trim)
    elif person.bag == "shoulder bag":
        at: Point3 = (side * (bones.hip + 0.05), bones.hip_y + 0.07, 0.02)
        case: Profile = [(0, 0.05, 0.085), (0.5, 0.054, 0.09), (1, 0.05, 0.085)]
        order = stage.order(stage.depth(at), 0.73, -0.15, -0.05)
        stage.tube(at, (at[0], at[1] - 0.14, at[2]), case, order, cloth, Layer(Pattern("two-tone", start=0.5), "bag2"))
    elif person.bag == "handbag":
        x, y, z = hand
        order = stage.order(stage.depth(hand), 0.66, -0.25, -0.045)
        stage.tube((x, y, z), (x, y - 0.07, z), even(0.012, 0.03), order, cloth)
        stage.tube((x, y - 0.06, z), (x, y - 0.19, z), [(0, 0.055, 0.07), (1, 0.068, 0.095)], order + 0.001, cloth,
                   Layer(Pattern("band", period=0.04, start=0.045), "bag2"))  # fmt: skip
    elif person.bag == "suitcase":
        x, z = hand[0] + side * 0.01, hand[2] - 0.06
        order = stage.order(stage.depth((x, 0.2, z)), 0.74, -0.4, -0.02)
        stage.tube(hand, (x, 0.27, z), even(0.009), order - 0.001, Layer(ALL, "bag2"))
        case = [(0, 0.07, 0.05), (0.05, 0.078, 0.056), (1, 0.078, 0.056)]
        stripes = Layer(Pattern("stripes", period=0.11, phase=0.2), "bag2")
        stage.tube((x, 0.29, z), (x, 0.025, z), case, order, cloth, stripes)
    elif person.bag == "umbrella":
        x, y, z = hand
        order = stage.order(stage.depth(hand), 0.67, -0.25, -0.045)
        tip: Point3 = (x + side * 0.05, max(0.02, y - 0.42), z + 0.06)
        stage.tube((x, y + 0.05, z), tip, even(0.01, 0.012, 0.026, 0.03, 0.026, 0.018, 0.006), order, cloth,
                   Layer(Pattern("stripes", period=0.16), "bag2"), round_start=True)  # fmt: skip
