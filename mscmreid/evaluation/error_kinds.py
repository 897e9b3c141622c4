"""Kinds of errors: what the wrong first places of a ranking have in common.

Each kind has a definition that can be checked from what a feature file has (and, for clothes, from the pixels), and
nearly each has a share that would come of chance alone. An error can be of several kinds, or of none. They describe;
they prove no cause. Plain arrays, numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mscmreid.evaluation.ranking import Selection
from mscmreid.evaluation.similarity import similarities

RARE = 5.0  # percent: what "alike" and "far" mean
CHUNK = 256
FEWEST_RIGHT = 20


@dataclass(frozen=True)
class FirstPlaces:
    """What stands first for each query that has a match.

    Attributes:
        query, first: (n,) rows of the table.
        similarity: (n,) float32 of the two.
        right: (n,) bool, whether the first is the query's person.
        own_camera: (n,) share (0..1) of the images of other people that the query may see which are of its own camera.
        sees: (n, C) of the same images, share of each camera of ``cameras``.
        cameras: (C,) cameras of the gallery.
    """

    query: np.ndarray
    first: np.ndarray
    similarity: np.ndarray
    right: np.ndarray
    own_camera: np.ndarray
    sees: np.ndarray
    cameras: np.ndarray


@dataclass(frozen=True)
class ErrorKind:
    """One kind of errors.

    Attributes:
        name: a few words.
        meaning: the definition, in a sentence.
        num: errors of this kind; ``num_known`` of the errors can be judged (of the others something is missing).
        chance: share in percent that would come of chance, None where nobody can say.
    """

    name: str
    meaning: str
    num: int
    num_known: int
    chance: float | None

    @property
    def share(self) -> float:
        """In percent of the errors that can be judged."""
        return 100 * self.num / self.num_known


@dataclass(frozen=True)
class Errors:
    """The wrong first places of one ranking.

    Attributes:
        num_queries: queries with a match; ``num_wrong`` of them have somebody else first.
        kinds: the kinds that can be judged.
        num_none: errors of none of them.
        crowded: (camera, share in percent of the wrong first places, share in percent of the images of others that the
            same queries could see) of the gallery camera with the largest excess; None with one camera.
    """

    num_queries: int
    num_wrong: int
    kinds: list[ErrorKind]
    num_none: int
    crowded: tuple[int, float, float] | None


def first_places(features: np.ndarray, pid: np.ndarray, cam_id: np.ndarray, selection: Selection) -> FirstPlaces:
    """The nearest gallery image of each query that the selection's rule lets it see; ties keep the gallery's order.

    Args:
        features: (N, D); nearness is the inner product.
        pid, cam_id: (N,) of the rows.
        selection: one trial of a protocol.
    """
    gallery, rule = selection.gallery, selection.rule
    g_pid, g_cam = pid[gallery], cam_id[gallery]
    cameras = np.unique(g_cam)
    found: list[tuple] = []
    for start in range(0, len(selection.query), CHUNK):
        part = selection.query[start : start + CHUNK]
        for row, scores in zip(part, similarities(features, part, features, gallery), strict=True):
            allowed = ~rule.ignored(int(pid[row]), int(cam_id[row]), g_pid, g_cam)
            if not (allowed & (g_pid == pid[row])).any():
                continue
            first = int(np.argmax(np.where(allowed, scores, -np.inf)))
            others = g_cam[allowed & (g_pid != pid[row])]
            shares = (others[:, None] == cameras).mean(axis=0) if len(others) else np.zeros(len(cameras))
            own = float(shares[cameras == cam_id[row]].sum())
            found.append((row, gallery[first], scores[first], g_pid[first] == pid[row], own, shares))
    query, first_rows, similarity, right, own_camera, sees = map(np.array, zip(*found, strict=True))
    return FirstPlaces(query, first_rows, similarity, right, own_camera, sees, cameras)


def error_kinds(places: FirstPlaces, pid: np.ndarray, cam_id: np.ndarray, colours: np.ndarray | None = None) -> Errors:
    """Sorts the wrong first places of a ranking.

    - *the same other person*: for more than half of the query person's queries (two at least) this very person comes
      first. Such an error is about how the two look, not about one bad picture.
    - *clothes of like colours* (with ``colours``): of all other people, the wrong one is among the 5 % (one at
      least) whose visible pictures are nearest in colour to those of the query's person. By chance: as many.
    - *own camera*: the wrong image is of the query's own camera, where the rule lets the query see it. By chance: the
      share of that camera among the images of others that these queries may see.
    - *nobody close*: the first image is less similar than the first of 95 % of the rightly answered queries are (20 at
      least). Of the right answers 5 % are like that.

    Args:
        places: of :func:`first_places`.
        pid, cam_id: (N,) of the rows.
        colours: (N, K) of every visible image that was looked at, NaN rows for the others, such that the Euclidean
            distance says how alike two images are; see :func:`mscmreid.visualization.clothes.clothes_colours`.
    """
    wrong = ~places.right
    query, first = places.query[wrong], places.first[wrong]
    kinds: list[tuple[ErrorKind, np.ndarray]] = []

    def add(name: str, meaning: str, is_kind: np.ndarray, known: np.ndarray, chance: float | None) -> None:
        if known.any():
            kind = ErrorKind(name, meaning, int((is_kind & known).sum()), int(known.sum()), chance)
            kinds.append((kind, is_kind & known))

    add(
        "the same other person",
        "this person comes first for more than half of the queries of the one who was asked for",
        *_persistent(places, pid),
        None,
    )
    if colours is not None:
        alike, known, num_alike, num_people = _alike(pid[query], pid[first], pid, colours)
        meaning = (
            f"among the {num_alike} of {num_people:,} others whose visible pictures are nearest in colour to those of "
            "the one who was asked for, upper and lower body together"
        )
        add("clothes of like colours", meaning, alike, known, 100 * num_alike / max(1, num_people))
    may_be_own = places.own_camera[wrong] > 0
    chance = float(100 * places.own_camera[wrong][may_be_own].mean()) if may_be_own.any() else None
    add("own camera", "the image is of the query's own camera", cam_id[query] == cam_id[first], may_be_own, chance)
    if places.right.sum() >= FEWEST_RIGHT:
        limit = np.percentile(places.similarity[places.right], RARE)
        meaning = f"similarity below {limit:.2f}: only 5 % of the right first places are that far away"
        add("nobody close", meaning, places.similarity[wrong] < limit, np.ones(len(query), dtype=bool), RARE)
    none = ~np.any([members for _, members in kinds], axis=0) if kinds else np.ones(len(query), dtype=bool)
    kinds_only = [kind for kind, _ in kinds]
    return Errors(len(wrong), int(wrong.sum()), kinds_only, int(none.sum()), _crowded(places, cam_id))


def _persistent(places: FirstPlaces, pid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whether the same wrong person comes first for most queries of the person, whether there are two) of errors."""
    pairs = np.stack([pid[places.query], pid[places.first]], axis=1)
    _, pair, times = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    _, person, asked = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
    wrong = ~places.right
    asked_for = asked[person.reshape(-1)][wrong]
    return 2 * times[pair.reshape(-1)][wrong] > asked_for, asked_for > 1


def _alike(
    query_pid: np.ndarray, first_pid: np.ndarray, pid: np.ndarray, colours: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(whether the colours of two people are alike, whether both have any) of errors, and how many of all are alike."""
    seen = np.isfinite(colours).all(axis=1)
    people = np.unique(pid[seen])
    known = np.isin(query_pid, people) & np.isin(first_pid, people)
    if len(people) < 3:
        return np.zeros_like(known), np.zeros_like(known), 0, 0
    typical = np.stack([np.median(colours[seen & (pid == person)], axis=0) for person in people])
    distance = np.linalg.norm(typical[:, None] - typical, axis=2)
    np.fill_diagonal(distance, np.inf)
    place = distance.argsort(axis=1, kind="stable").argsort(axis=1)  # 0: the nearest of the others
    asked, found = (np.searchsorted(people, who).clip(max=len(people) - 1) for who in (query_pid, first_pid))
    num_alike = max(1, int(RARE / 100 * (len(people) - 1)))
    return place[asked, found] < num_alike, known, num_alike, len(people) - 1


def _crowded(places: FirstPlaces, cam_id: np.ndarray) -> tuple[int, float, float] | None:
    """The camera that has the most wrong first places beyond its share of the images, see :class:`Errors`."""
    wrong = ~places.right
    if len(places.cameras) < 2 or not wrong.any():
        return None
    found = (cam_id[places.first[wrong]][:, None] == places.cameras).mean(axis=0)
    seen = places.sees[wrong].mean(axis=0)
    worst = int(np.argmax(found - seen))
    return int(places.cameras[worst]), float(100 * found[worst]), float(100 * seen[worst])
