"""How far pixels alone get across modalities: the floor under every trained number on a synthetic set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from mscmreid.synthetic.plan import SYSU_TRIALS, Frame, Plan

COMPARISONS = (
    ("gray pixels, cosine, image mean removed", False, "image"),
    ("gray pixels, cosine, modality mean removed", False, "modality"),
    ("colour pixels, cosine, image mean removed", True, "image"),
    ("colour pixels, cosine, modality mean removed", True, "modality"),
)
"""Ways to compare raw pixels: name, whether in colour, which mean is taken off (see :func:`unit_rows`)."""

FLAT = 1e-2  # length of a row of gray values 0..255 that is flat but for rounding


@dataclass(frozen=True)
class Baseline:
    """Rank-1 in percent, mean over gallery draws, of one way to compare images without learning."""

    name: str
    rank1: float


@dataclass(frozen=True)
class BaselineReport:
    """What ``pixel_baselines`` measured.

    Attributes:
        protocol: what was searched for in what.
        num_ids: people in the test split.
        num_queries: query images.
        rows: chance first, then the comparisons.
    """

    protocol: str
    num_ids: int
    num_queries: int
    rows: list[Baseline]

    def table(self) -> str:
        """The report as lines of text."""
        head = f"{self.protocol}; {self.num_ids} held-out people, {self.num_queries} queries; Rank-1 in percent"
        return "\n".join([head, *(f"  {row.name:<42} {row.rank1:6.2f}" for row in self.rows)])


def pixel_baselines(root: Path, plan: Plan, size: tuple[int, int] = (96, 48)) -> BaselineReport:
    """Rank-1 of raw pixels on the test split of the data set that ``plan`` wrote into ``root``.

    Infrared images search visible ones, with the rules of the layout's protocol (SYSU-MM01: all-search, single-shot,
    ten draws; LLCM: ten draws; RegDB: split 1, everything).

    Args:
        root: folder of the data set.
        plan: its plan (``read_plan``).
        size: (height, width) that images are resized to before they are compared.
    """
    test = set(plan.split["test"])
    frames = sorted((f for f in plan.frames if f.pid in test), key=lambda f: (f.pid, f.cam_id, f.path))
    queries = [f for f in frames if f.modality == "infrared"]
    pool = [f for f in frames if f.modality == "visible"]
    draws = _gallery_draws(plan.options.layout, pool)
    allowed = [_allowed(plan.options.layout, queries, [pool[k] for k in draw]) for draw in draws]
    same = [np.array([[q.pid == pool[k].pid for k in draw] for q in queries]) for draw in draws]

    chance = float(np.mean([100 * _mean_share(s & a, a) for s, a in zip(same, allowed, strict=True)]))
    rows = [Baseline("chance", chance)]
    for name, colour, centre in COMPARISONS:
        q = unit_rows(pixel_rows(root, [f.path for f in queries], size, colour), centre)
        g = unit_rows(pixel_rows(root, [f.path for f in pool], size, colour), centre)
        similarity = q @ g.T
        scores = [rank1(similarity[:, d], s, a) for d, s, a in zip(draws, same, allowed, strict=True)]
        rows.append(Baseline(name, float(np.mean(scores))))
    where = {
        "sysu": "infrared to visible, all-search, single-shot, mean of 10 gallery draws",
        "llcm": "infrared to visible, one image per person and camera, mean of 10 gallery draws",
        "regdb": "infrared to visible, split 1",
    }
    return BaselineReport(where[plan.options.layout], len(test), len(queries), rows)


def rank1(similarity: np.ndarray, same: np.ndarray, allowed: np.ndarray) -> float:
    """Share in percent of queries whose most similar allowed gallery image shows the same person.

    Args:
        similarity: (queries, gallery).
        same: bool (queries, gallery), whether both show one person.
        allowed: bool (queries, gallery), whether the protocol lets the query look there.

    Queries without an allowed match are left out; if none is left, it is a ValueError.
    """
    used = (same & allowed).any(1)
    if not used.any():
        raise ValueError("no query has a match in the gallery: the set is too small for its protocol")
    best = np.where(allowed, similarity, -np.inf)[used].argmax(1)
    return float(100 * same[used, :][np.arange(int(used.sum())), best].mean())


def _mean_share(part: np.ndarray, whole: np.ndarray) -> float:
    used = part.any(1)
    return float((part[used].sum(1) / whole[used].sum(1)).mean())


def _gallery_draws(layout: str, pool: Sequence[Frame]) -> list[list[int]]:
    """Positions of the gallery images in ``pool`` for every draw."""
    if layout == "regdb":
        return [list(range(len(pool)))]
    groups: dict[tuple[int, int], list[int]] = {}
    for k, frame in enumerate(pool):
        groups.setdefault((frame.pid, frame.cam_id), []).append(k)
    draws = []
    for trial in range(SYSU_TRIALS):
        random = Random(trial)
        draws.append([random.choice(groups[key]) for key in sorted(groups)])
    return draws


def _allowed(layout: str, queries: Sequence[Frame], gallery: Sequence[Frame]) -> np.ndarray:
    rules: dict[str, Callable[[Frame, Frame], bool]] = {
        "sysu": lambda q, g: not (q.cam_id == 3 and g.cam_id == 2),
        "llcm": lambda q, g: not (q.pid == g.pid and q.cam_id == g.cam_id),
        "regdb": lambda q, g: True,
    }
    return np.array([[rules[layout](q, g) for g in gallery] for q in queries])


def pixel_rows(root: Path, paths: Sequence[str], size: tuple[int, int], colour: bool) -> np.ndarray:
    """(N, D) float32: each image's gray or RGB values, resized to ``size`` (height, width)."""
    mode, shape = ("RGB" if colour else "L"), (size[1], size[0])
    rows = []
    for path in paths:
        with Image.open(Path(root) / path) as image:
            rows.append(np.asarray(image.convert(mode).resize(shape, Image.Resampling.BILINEAR), np.float32).ravel())
    return np.stack(rows)


def unit_rows(pixels: np.ndarray, centre: str) -> np.ndarray:
    """Rows of unit length, after the mean of each ('image') or the mean row of all ('modality') is taken off.

    A row that has nothing left, such as a flat image, becomes a constant one.
    """
    axis = 1 if centre == "image" else 0
    centred = pixels - pixels.mean(axis, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    centred[length[:, 0] < FLAT] = 1
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), FLAT)
