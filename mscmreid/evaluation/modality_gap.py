"""What stands between the modalities in a space of features: distances by pair of modalities, and the gap itself.

Everything here takes plain arrays and needs numpy alone. ``features`` (N, D) may have rows of any length; what counts
is their direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from mscmreid.evaluation.pair_distances import PairCounter, PairDistances
from mscmreid.evaluation.similarity import norms, similarities

MAX_ROWS = 2000
CHUNK = 256
FOLDS = 5
SHRINKAGE = 0.1


def even_rows(order: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of ``order``, at even steps, the first and the last among them."""
    if len(order) <= most:
        return order
    return order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)]


def modality_pairs(
    features: np.ndarray, pid: np.ndarray, modality: np.ndarray, max_rows: int = MAX_ROWS
) -> dict[tuple[str, str], PairDistances]:
    """Distances of images of one person and of two, for each pair of modalities.

    Args:
        features: (N, D).
        pid, modality: (N,) of the rows.
        max_rows: of more images of a modality, so many are taken, at even steps of the list sorted by person.

    Returns:
        (modality, modality) -> distances; no entry where there is no pair of one of the two kinds. An image is not
        compared with itself.
    """
    rows = {
        name: even_rows(own[np.argsort(pid[own], kind="stable")], max_rows)
        for name in np.unique(modality)
        for own in [np.flatnonzero(modality == name)]
    }
    found = {}
    for first, second in combinations_with_replacement(sorted(rows, reverse=True), 2):
        counter = PairCounter()
        for part, distance in _distances(features, rows[first], rows[second]):
            is_same = pid[part][:, None] == pid[rows[second]]
            counter.add(distance, is_same, part[:, None] != rows[second])
        pairs = counter.result(len(rows[first]), int((modality == first).sum()))
        if pairs is not None:
            found[str(first), str(second)] = pairs
    return found


def _distances(features: np.ndarray, first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(some of ``first``, their cosine distances from ``second``), a chunk at a time."""
    length = norms(features[second]).T
    for start in range(0, len(first), CHUNK):
        part = first[start : start + CHUNK]
        yield part, 1 - similarities(features, part, features, second) / (norms(features[part]) * length)


@dataclass(frozen=True)
class ModalityGap:
    """How far the modalities stand apart, in units of unit features (two opposite ones are 2 apart).

    Attributes:
        num_people: people with images of both modalities; everything is over these alone, so that no difference of
            people is taken for one of modality. A person's centre is the mean of their unit features.
        between_means: distance of the two modality means (means of the people's centres).
        between_own_centres: mean distance of a person's visible centre from their own infrared one.
        between_people: mean distance of the centres of two people of one modality: what the others are to be compared
            with.
        separability: balanced accuracy in percent of a linear classifier that tells the modality of images of people
            it has not seen (see :func:`linear_separability`); 50: it cannot. None with fewer than two people.
    """

    num_people: int
    between_means: float
    between_own_centres: float
    between_people: float
    separability: float | None


def modality_gap(features: np.ndarray, pid: np.ndarray, modality: np.ndarray) -> ModalityGap | None:
    """The gap between 'visible' and 'infrared' rows; None where nobody has images of both.

    Args:
        features: (N, D).
        pid, modality: (N,) of the rows.
    """
    people = np.intersect1d(pid[modality == "visible"], pid[modality == "infrared"])
    if not len(people):
        return None
    unit = np.asarray(features, dtype=np.float64) / norms(features)
    centres = {
        name: np.stack([unit[(pid == person) & (modality == name)].mean(axis=0) for person in people])
        for name in ("visible", "infrared")
    }
    visible, infrared = centres["visible"], centres["infrared"]
    theirs, separability = np.isin(pid, people), None
    if len(people) > 1:
        separability = linear_separability(unit[theirs], pid[theirs], modality[theirs] == "infrared")
    return ModalityGap(
        num_people=len(people),
        between_means=float(np.linalg.norm(visible.mean(axis=0) - infrared.mean(axis=0))),
        between_own_centres=float(np.linalg.norm(visible - infrared, axis=1).mean()),
        between_people=float(np.mean([_mean_distance(points) for points in centres.values()])),
        separability=separability,
    )


def _mean_distance(points: np.ndarray) -> float:
    """Mean Euclidean distance of two different rows; NaN of a single one."""
    if len(points) < 2:
        return float("nan")
    squares = (points**2).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
    np.fill_diagonal(distance, 0)
    return float(distance.sum() / (len(points) * (len(points) - 1)))


def linear_separability(
    features: np.ndarray, pid: np.ndarray, positive: np.ndarray, num_folds: int = FOLDS, max_rows: int = 2 * MAX_ROWS
) -> float:
    """Balanced accuracy in percent of a linear classifier on images of people that it has not seen.

    It is Fisher's discriminant with the within-class covariance shrunk to a tenth of the way to a multiple of the
    identity, and a threshold halfway between the two means. People are dealt out to the folds in turn; all images of
    one are in the same fold.

    Args:
        features: (N, D).
        pid: (N,).
        positive: (N,) bool, what is to be told.
        num_folds: at most as many as there are people.
        max_rows: of more rows, so many are taken, at even steps of the list sorted by person.

    Raises:
        ValueError: fewer than two people, or a fold has nothing to learn one of the classes from.
    """
    rows = even_rows(np.argsort(pid, kind="stable"), max_rows)
    x, who, truth = np.asarray(features[rows], dtype=np.float64), pid[rows], positive[rows]
    people, person = np.unique(who, return_inverse=True)
    if len(people) < 2:
        raise ValueError(f"people are kept apart: at least 2 are needed, found {len(people)}")
    fold = person % min(num_folds, len(people))
    said = np.empty(len(rows), dtype=bool)
    for number in np.unique(fold):
        learn, test = fold != number, fold == number
        if truth[learn].all() or not truth[learn].any():
            raise ValueError("every fold needs images of both classes to learn from; too few people have both")
        weights, threshold = _discriminant(x[learn], truth[learn])
        said[test] = x[test] @ weights > threshold
    return float(100 * np.mean([(said[truth == value] == value).mean() for value in (False, True)]))


def _discriminant(x: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, float]:
    """(D,) weights and threshold of Fisher's shrunk discriminant."""
    means = np.stack([x[~positive].mean(axis=0), x[positive].mean(axis=0)])
    centred = x - means[positive.astype(int)]
    variance = (centred**2).sum() / centred.size
    ridge = SHRINKAGE * variance + 1e-12
    direction = means[1] - means[0]
    if len(x) < x.shape[1]:  # (a I + X^T X)^-1 d by the smaller matrix X X^T
        scaled = centred * np.sqrt((1 - SHRINKAGE) / len(x))
        inner = np.linalg.solve(ridge * np.eye(len(x)) + scaled @ scaled.T, scaled @ direction)
        weights = (direction - scaled.T @ inner) / ridge
    else:
        covariance = (1 - SHRINKAGE) * centred.T @ centred / len(x) + ridge * np.eye(x.shape[1])
        weights = np.linalg.solve(covariance, direction)
    return weights, float(means.mean(axis=0) @ weights)
