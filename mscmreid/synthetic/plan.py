"""Which files a synthetic data set has: the folder layouts of SYSU-MM01, RegDB and LLCM, and their list files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import pi

import numpy as np

LAYOUTS = ("sysu", "regdb", "llcm")
Counts = dict[int, dict[int, int]]
"""Frames by camera and person: ``counts[cam_id][pid]``."""

SYSU_VISIBLE, SYSU_INFRARED, SYSU_INDOOR = (1, 2, 4, 5), (3, 6), (1, 2, 3)
SYSU_TRIALS = 10
REGDB_SPLITS = 10
LLCM_INFRARED, LLCM_INDOOR = (1, 2, 4, 5, 6, 7, 8, 9), (3, 6, 9)  # visible: all nine
MIN_IDS = 4


@dataclass(frozen=True)
class Options:
    """Everything that a synthetic data set follows from.

    Attributes:
        layout: of ``LAYOUTS``.
        num_ids: number of people (with ``counts``: taken from there).
        seed: seed of every draw.
        images_per_camera: frames of a person in a camera (RegDB: in a modality).
        size: (height, width) of the images.
        absent: chance that a person is missing in one of the visible cameras (layout sysu).
        distinct: at most this many drawings of a person in a camera, further frames repeat them; 0 for no limit.
        counts: frames by camera and person instead of ``num_ids`` and ``images_per_camera`` (layout sysu).
        split: people by 'train', 'val', 'test' instead of ``split_people``'s (layouts sysu and llcm).
    """

    layout: str
    num_ids: int = 200
    seed: int = 0
    images_per_camera: int = 6
    size: tuple[int, int] = (128, 64)
    absent: float = 0.3
    distinct: int = 0
    counts: Counts | None = None
    split: dict[str, list[int]] | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {LAYOUTS}, found {self.layout!r}")
        if self.num_ids < MIN_IDS and self.counts is None:
            raise ValueError(
                f"a data set with a test split needs at least {MIN_IDS} people, found num_ids={self.num_ids}"
            )
        if self.images_per_camera < 1 or self.distinct < 0 or self.seed < 0:
            raise ValueError(
                "images_per_camera must be at least 1, distinct and seed at least 0, found "
                f"{self.images_per_camera}, {self.distinct} and {self.seed}"
            )
        if min(self.size) < 16:
            raise ValueError(f"an image needs at least 16 x 16 pixels to show a person, found size={self.size}")
        if not 0 <= self.absent <= 1:
            raise ValueError(f"absent is a chance between 0 and 1, found {self.absent}")
        if self.counts is not None and self.layout != "sysu":
            raise ValueError(f"frame counts go with layout 'sysu' only, found layout {self.layout!r}")
        if self.split is not None and self.layout == "regdb":
            raise ValueError("the ten splits of layout 'regdb' are drawn; leave the lists of people out")

    def to_json(self) -> dict:
        """The options as plain JSON values; ``from_json`` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping) -> Options:
        """Options from what ``to_json`` gave, after a way through a JSON file (which makes keys text)."""
        values = dict(values)
        values["size"] = tuple(values["size"])
        if values["counts"] is not None:
            values["counts"] = {int(c): {int(p): n for p, n in ids.items()} for c, ids in values["counts"].items()}
        return cls(**values)


@dataclass(frozen=True)
class Frame:
    """One image file.

    Attributes:
        path: relative to the data set's root, with forward slashes.
        pid: person.
        cam_id: camera as the layout numbers it.
        modality: 'visible' or 'infrared'.
        drawing: number of the drawing of this person in this camera; two frames with one number look the same.
        heading: yaw (radians) that the file's name promises; None where it promises nothing.
    """

    path: str
    pid: int
    cam_id: int
    modality: str
    drawing: int
    heading: float | None = None


@dataclass(frozen=True)
class Plan:
    """All files of a data set.

    Attributes:
        options: what it follows from.
        frames: every image.
        texts: content of every list file, by relative path.
        split: people by 'train', 'val', 'test' (RegDB: of split 1).
        indoor: cameras that are inside.
        infrared: kind of infrared camera, 'infrared' (near) or 'thermal'.
    """

    options: Options
    frames: list[Frame]
    texts: dict[str, str]
    split: dict[str, list[int]]
    indoor: tuple[int, ...] = ()
    infrared: str = "infrared"

    @cached_property
    def by_pid(self) -> dict[int, list[Frame]]:
        """The frames of every person."""
        people: dict[int, list[Frame]] = {}
        for frame in self.frames:
            people.setdefault(frame.pid, []).append(frame)
        return people


def split_people(pids: Sequence[int]) -> dict[str, list[int]]:
    """The standing split: of the sorted people every fourth is for testing, every fifth of the others for validation.

    It does not depend on a seed. Of 200 people 120 are 'train', 30 'val' and 50 'test'.
    """
    ordered = sorted(pids)
    test = ordered[3::4]
    rest = [p for p in ordered if p not in set(test)]
    val = rest[4::5]
    return dict(train=[p for p in rest if p not in set(val)], val=val, test=test)


def make_plan(options: Options) -> Plan:
    """The files that ``options`` ask for."""
    makers: dict[str, Callable[[Options], Plan]] = dict(sysu=_plan_sysu, regdb=_plan_regdb, llcm=_plan_llcm)
    return makers[options.layout](options)


def _rng(options: Options, *key: int) -> np.random.Generator:
    return np.random.default_rng([options.seed, 404, *key])


def _id_line(pids: Sequence[int], form: str = "d") -> str:
    return ",".join(format(p, form) for p in sorted(pids))


def sysu_counts(options: Options) -> Counts:
    """Frames by camera and person of layout sysu: the given ones, or the same number for everybody but the absent."""
    if options.counts is not None:
        return options.counts
    counts: Counts = {cam: {} for cam in range(1, 7)}
    for pid in range(1, options.num_ids + 1):
        rng = _rng(options, 1, pid)
        away = int(rng.choice(SYSU_VISIBLE)) if rng.random() < options.absent else 0
        for cam in counts:
            if cam != away:
                counts[cam][pid] = options.images_per_camera
    return counts


def _plan_sysu(options: Options) -> Plan:
    counts = sysu_counts(options)
    present = sorted({pid for ids in counts.values() for pid in ids})
    split = options.split or split_people(present)
    lacking = sorted({p for ids in split.values() for p in ids} - set(present))
    if lacking:
        raise ValueError(f"the lists of people name ids that have no frame in the counts: {lacking[:10]}")
    frames = [
        Frame(f"cam{cam}/{pid:04d}/{number:04d}.jpg", pid, cam, "infrared" if cam in SYSU_INFRARED else "visible",
              (number - 1) % options.distinct if options.distinct else number - 1)
        for cam, ids in sorted(counts.items())
        for pid, num in sorted(ids.items())
        for number in range(1, num + 1)
    ]  # fmt: skip
    texts = {f"exp/{name}_id.txt": _id_line(split[name]) + "\n" for name in ("train", "val", "test")}
    texts["exp/available_id.txt"] = _id_line([p for ids in split.values() for p in ids]) + "\n"
    return Plan(options, frames, texts, split, SYSU_INDOOR)


def sysu_permutations(plan: Plan) -> np.ndarray:
    """The gallery draws of SYSU-MM01's own evaluation code, in the shape of its ``rand_perm_cam.mat``.

    A (6, 1) object array, camera by camera, of object arrays (largest pid, 1), of integer arrays (10, frames): row t
    is a permutation of the frames 1..n for trial t. People that a camera does not know have shape (10, 0).
    """
    counts = sysu_counts(plan.options)
    largest = max(max(ids, default=1) for ids in counts.values())
    cameras = np.empty((6, 1), object)
    for cam in range(1, 7):
        people = np.empty((largest, 1), object)
        for pid in range(1, largest + 1):
            num = counts.get(cam, {}).get(pid, 0)
            rng = _rng(plan.options, 2, cam, pid)
            dtype = np.uint8 if num < 256 else np.uint16
            rows = [rng.permutation(num) + 1 for _ in range(SYSU_TRIALS)]
            people[pid - 1, 0] = np.array(rows, dtype).reshape(SYSU_TRIALS, num)
        cameras[cam - 1, 0] = people
    return cameras


def _plan_regdb(options: Options) -> Plan:
    pids = list(range(1, options.num_ids + 1))
    paths: dict[tuple[str, int], list[str]] = {}
    frames = []
    for pid in pids:
        rng = _rng(options, 3, pid)
        word, is_front = ("female", "male")[rng.integers(2)], bool(rng.random() < 0.4)
        view, step = "front" if is_front else "back", 2 + int(rng.integers(3))
        for modality, folder, mark in (("visible", "Visible", "v"), ("infrared", "Thermal", "t")):
            for k in range(options.images_per_camera):
                number = pid * 100 + k * step
                path = f"{folder}/{pid}/{word}_{view}_{mark}_{number:05d}_{pid}.bmp"
                drawing = k % options.distinct if options.distinct else k
                frames.append(
                    Frame(path, pid, 1 if modality == "visible" else 2, modality, drawing, 0.0 if is_front else pi)
                )
                paths.setdefault((modality, pid), []).append(path)
    texts, first = {}, {}
    for number in range(1, REGDB_SPLITS + 1):
        order = _rng(options, 4, number).permutation(pids).tolist()
        half = len(order) // 2
        parts = dict(train=order[:half], test=order[half:])
        if number == 1:
            first = dict(train=sorted(parts["train"]), val=[], test=sorted(parts["test"]))
        for name, ids in parts.items():
            for modality, word in (("visible", "visible"), ("infrared", "thermal")):
                lines = [f"{p} {label}" for label, pid in enumerate(ids) for p in paths[modality, pid]]
                texts[f"idx/{name}_{word}_{number}.txt"] = "".join(line + "\r\n" for line in lines)
    return Plan(options, frames, texts, first, infrared="thermal")


def _plan_llcm(options: Options) -> Plan:
    pids = list(range(1, options.num_ids + 1))
    split = options.split or split_people(pids)
    lacking = sorted({p for ids in split.values() for p in ids} - set(pids))
    if lacking:
        raise ValueError(f"the lists of people name ids beyond num_ids={options.num_ids}: {lacking[:10]}")
    test = set(split["test"])
    frames = []
    lines: dict[str, list[str]] = {f"{part}_{kind}": [] for part in ("train", "test") for kind in ("vis", "nir")}
    order = {
        "train": _rng(options, 5).permutation(sorted({*split["train"], *split["val"]})).tolist(),
        "test": _rng(options, 6).permutation(sorted(test)).tolist(),
    }
    for part, ids in order.items():
        for label, pid in enumerate(ids):
            rng = _rng(options, 7, pid)
            num_cams = int(rng.integers(2, 4))
            cams = sorted(int(c) for c in rng.choice(LLCM_INFRARED, num_cams, replace=False))
            extra = [3] if rng.random() < 0.4 else []  # camera 3 has no infrared
            for kind, modality, seen in (("vis", "visible", sorted(cams + extra)), ("nir", "infrared", cams)):
                for cam in seen:
                    clock = f"{rng.integers(17, 23)}{rng.integers(60):02d}{rng.integers(60):02d}"
                    start = 15 * int(rng.integers(6, 2000))
                    for k in range(options.images_per_camera):
                        name = f"{pid:04d}_c{cam:02d}_s{clock}_f{start + 15 * k}_{kind}.jpg"
                        folder = f"test_{kind}/cam{cam}" if part == "test" else kind
                        drawing = k % options.distinct if options.distinct else k
                        frames.append(Frame(f"{folder}/{pid:04d}/{name}", pid, cam, modality, drawing))
                        lines[f"{part}_{kind}"].append(f"{kind}/{pid:04d}/{name} {label}\n")
    texts = {f"idx/{name}.txt": "".join(rows) for name, rows in lines.items()}
    texts["idx/test_id.txt"] = ",".join(f"{p:04d}" for p in order["test"])
    return Plan(options, frames, texts, split, LLCM_INDOOR)
