"""How far to trust a score: a threshold for a wished rate of false matches, and a probability, from labelled pairs.

A cosine means nothing by itself: how near two people are depends on the network, and in which modalities they were
seen. So a calibration is made for each pair of modalities, from pairs of images that are known to show the same person,
or two people, in the cameras that will be searched. Needs scikit-learn and SciPy (extra ``stats``) to be made; to be
used it needs neither.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.fileio import write_text
from mscmreid.modalities import MODALITIES

FILE = "calibration.json"
METHODS = ("isotonic", "platt")
REPLICATES = 1000
MOST_IMAGES = 2000
"""Images of a modality whose pairs are looked at; of more, people are drawn."""
MOST_FITTED = 500_000
"""Pairs of different people that the probability is fitted to."""
CURVE = 200
CONFIDENCE = 0.95
NOT_CALIBRATED = (
    "scores are cosines and mean nothing absolute: calibrate the gallery (tools/search.py calibrate) to know how near "
    "is near"
)
SAME, BELOW = "same person, likely", "below the threshold"


def kind_of(first: str, second: str) -> str:
    """Name of a pair of modalities, in either order.

    >>> kind_of("visible", "infrared")
    'infrared-visible'
    """
    return "-".join(sorted((first, second)))


@dataclass
class Pairs:
    """Scored pairs of one kind.

    Attributes:
        score: (N,) float32.
        same: (N,) bool, whether a pair shows one person.
        people: (N, 2) int, who is on either side; -1 where unknown.
        cameras: (N, 2) text, which camera saw them; '' where unknown.
    """

    score: np.ndarray
    same: np.ndarray
    people: np.ndarray
    cameras: np.ndarray

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True)
class Rate:
    """A share with its confidence interval.

    Attributes:
        value, low, high: from 0 to 1.
        num: pairs it is of.
    """

    value: float
    low: float
    high: float
    num: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class ScoreModel:
    """What the scores of one pair of modalities mean.

    Attributes:
        wished: rate of false matches that was asked for: the share of pairs of different people that reach the
            threshold.
        threshold: the smallest score at which the labelled pairs keep it.
        threshold_interval: where other people like these could have put it.
        false_matches, true_matches: shares of pairs of two people, and of one, that reach the threshold.
        intervals: how intervals were made.
        num_people: people in the pairs; 0 where unknown.
        scores, probabilities: probability by score, linear between these and constant outside.
        method: 'isotonic' or 'platt'.
        prior: how often a pair shows one person, which the probability takes for granted.
        curve: (threshold, false matches, true matches) from strict to lenient.
        cameras: for each pair of cameras, ``dict(cameras, false_matches, true_matches)``, rates of no pairs left out.
    """

    wished: float
    threshold: float
    threshold_interval: tuple[float, float]
    false_matches: Rate
    true_matches: Rate
    intervals: str
    num_people: int
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    method: str
    prior: float
    curve: tuple[tuple[float, float, float], ...] = ()
    cameras: tuple[dict[str, Any], ...] = ()

    def probability(self, score: float) -> float:
        """That a pair with this score shows one person, if a share ``prior`` of all pairs does."""
        return float(np.interp(score, self.scores, self.probabilities))

    def verdict(self, score: float) -> str:
        """Whether the score reaches the threshold."""
        return SAME if score >= self.threshold else BELOW

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ScoreModel:
        """Of JSON values."""
        values = dict(content)
        for name in ("false_matches", "true_matches"):
            values[name] = Rate(**values[name])
        for name in ("threshold_interval", "scores", "probabilities", "cameras"):
            values[name] = tuple(values[name])
        values["curve"] = tuple(tuple(point) for point in values["curve"])
        return cls(**values)


@dataclass
class Calibration:
    """What the scores of a gallery mean.

    Attributes:
        identity: of the encoder that made the features.
        source: which pairs it was made from, in words.
        kinds: by pair of modalities (:func:`kind_of`).
    """

    identity: dict[str, Any]
    source: str
    kinds: dict[str, ScoreModel] = field(default_factory=dict)

    def save(self, gallery: Path) -> None:
        """Keep it with a gallery."""
        write_text(json.dumps(asdict(self), indent=1), gallery / FILE)

    @classmethod
    def load(cls, gallery: Path) -> Calibration | None:
        """A gallery's; None if it has none.

        Raises:
            ValueError: something else is written there.
        """
        path = gallery / FILE
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            kinds = {kind: ScoreModel.from_dict(model) for kind, model in content["kinds"].items()}
            return cls(content["identity"], content["source"], kinds)
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is no calibration: {type(error).__name__}: {error}; delete it") from error


def calibrate(
    pairs: Mapping[str, Pairs],
    identity: Mapping[str, Any],
    source: str,
    false_matches: float = 1e-3,
    method: str = "isotonic",
    prior: float | None = None,
) -> Calibration:
    """A calibration from labelled pairs.

    Args:
        pairs: by kind.
        identity: of the encoder.
        source: where they are from.
        false_matches: wished share of pairs of different people that reach the threshold.
        method: 'isotonic' (any rising curve; wants many pairs) or 'platt' (a logistic curve).
        prior: how often a pair shows one person before its score is known; None: as often as the labelled ones.

    Raises:
        ValueError: an unknown method, a rate or prior outside of (0, 1), too few pairs for it, pairs of one sort only.
        ImportError: scikit-learn is missing.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, found {method!r}")
    if not 0 < false_matches < 1:
        raise ValueError(f"the wished rate of false matches must be between 0 and 1, found {false_matches}")
    if prior is not None and not 0 < prior < 1:
        raise ValueError(f"the prior must be between 0 and 1, found {prior}")
    if not pairs:
        raise ValueError("a calibration needs labelled pairs, found none")
    found = Calibration(dict(identity), source)
    for kind, some in sorted(pairs.items()):
        found.kinds[kind] = _model(kind, some, false_matches, method, prior)
    return found


def _model(kind: str, pairs: Pairs, wished: float, method: str, prior: float | None) -> ScoreModel:
    num_same, num_different = int(pairs.same.sum()), int((~pairs.same).sum())
    if not num_same or not num_different:
        raise ValueError(f"{kind}: pairs of one person and of two are needed, found {num_same:,} and {num_different:,}")
    allowed = int(wished * num_different)
    if not allowed:
        raise ValueError(
            f"{kind}: {num_different:,} pairs of different people cannot show a rate of {wished:g}: ask for "
            f"{1 / num_different:.1g} or more, or label more images"
        )
    different = np.sort(pairs.score[~pairs.same])[::-1]
    threshold = float(np.nextafter(different[allowed], np.float32(np.inf)))
    known = (pairs.people >= 0).all()
    if known:
        false, true, interval = _over_people(pairs, threshold, wished)
        how = f"{CONFIDENCE:.0%} percentiles of {REPLICATES} draws of the people"
    else:
        false, true, interval = _over_pairs(pairs, different, threshold, wished)
        how = f"{CONFIDENCE:.0%} Clopper-Pearson over pairs, which are taken to be independent"
    prior = num_same / len(pairs) if prior is None else prior
    scores, probabilities = _fit(pairs, method, prior)
    places = np.unique(np.r_[np.linspace(0, len(different) - 1, CURVE), np.geomspace(1, len(different), CURVE) - 1])
    steps = np.unique(different[places.astype(int)])[::-1]
    same = np.sort(pairs.score[pairs.same])
    curve = [
        (
            float(step),
            float(np.searchsorted(-different, -step, "right") / num_different),
            float(1 - np.searchsorted(same, step, "left") / num_same),
        )
        for step in steps
    ]
    return ScoreModel(
        wished,
        threshold,
        interval,
        false,
        true,
        how,
        len(np.unique(pairs.people)) if known else 0,
        tuple(scores),
        tuple(probabilities),
        method,
        prior,
        tuple(curve),
        tuple(_by_cameras(pairs, threshold)),
    )


def _fit(pairs: Pairs, method: str, prior: float) -> tuple[list[float], list[float]]:
    """Probability by score; pairs of one person weigh as much as the prior says, together."""
    try:
        from sklearn.isotonic import IsotonicRegression
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError("a calibration needs scikit-learn: pip install mscmreid[stats]", name="sklearn") from error
    different = np.flatnonzero(~pairs.same)
    if len(different) > MOST_FITTED:
        different = np.random.default_rng(0).choice(different, MOST_FITTED, replace=False)
    rows = np.concatenate([np.flatnonzero(pairs.same), different])
    score, same = pairs.score[rows].astype(np.float64), pairs.same[rows]
    weight = np.where(same, prior / same.sum(), (1 - prior) / (~same).sum()) * len(rows)
    if method == "isotonic":
        isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, same, sample_weight=weight)
        return isotonic.X_thresholds_.tolist(), isotonic.y_thresholds_.tolist()
    logistic = LogisticRegression(C=1e6).fit(score[:, None], same, sample_weight=weight)
    grid = np.linspace(-1, 1, 401)
    return grid.tolist(), logistic.predict_proba(grid[:, None])[:, 1].tolist()


def _over_people(pairs: Pairs, threshold: float, wished: float) -> tuple[Rate, Rate, tuple[float, float]]:
    """Rates at a threshold, and the threshold of the wished rate, when other people are drawn.

    A draw gives each person a weight, how often it came; a pair weighs as much as its two people together (their
    product), or its one person.
    """
    _, numbers = np.unique(pairs.people, return_inverse=True)
    people = numbers.reshape(-1, 2)
    num = int(people.max()) + 1
    rng = np.random.default_rng(0)
    weights = rng.multinomial(num, np.full(num, 1 / num), REPLICATES).astype(np.float64)
    reached = pairs.score >= threshold
    first, second = people[~pairs.same].T
    all_pairs, above = np.zeros((num, num)), np.zeros((num, num))
    np.add.at(all_pairs, (first, second), 1)
    np.add.at(above, (first, second), reached[~pairs.same])
    totals = np.einsum("bi,ij,bj->b", weights, all_pairs, weights, optimize=True)
    false = np.einsum("bi,ij,bj->b", weights, above, weights, optimize=True) / np.maximum(totals, 1)
    one = people[pairs.same][:, 0]
    of_same = np.bincount(one, minlength=num).astype(np.float64)
    above_same = np.bincount(one, reached[pairs.same], minlength=num)
    true = (weights @ above_same) / np.maximum(weights @ of_same, 1)

    order = np.argsort(-pairs.score[~pairs.same], kind="stable")
    scores = pairs.score[~pairs.same][order]
    thresholds = np.empty(REPLICATES)
    for draw, (weight, total) in enumerate(zip(weights, totals, strict=True)):
        size = min(len(order), max(1000, int(20 * wished * len(order))))
        while True:
            some = order[:size]
            passed = np.cumsum(weight[first[some]] * weight[second[some]])
            place = int(np.searchsorted(passed, wished * total, "right"))
            if place < size or size == len(order):
                break
            size = min(len(order), 4 * size)
        thresholds[draw] = scores[min(place, len(scores) - 1)]
    low, high = _percentiles(thresholds)
    num_different = len(order)
    rates = (
        Rate(float(reached[~pairs.same].mean()), *_percentiles(false), num_different),
        Rate(float(reached[pairs.same].mean()), *_percentiles(true), len(one)),
    )
    return (*rates, (low, high))


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _over_pairs(
    pairs: Pairs, different: np.ndarray, threshold: float, wished: float
) -> tuple[Rate, Rate, tuple[float, float]]:
    """Intervals of counts, where nobody knows whose pairs these are."""
    from scipy.stats import binom

    reached = pairs.score >= threshold
    tail = (1 - CONFIDENCE) / 2
    most, least = (int(binom.ppf(q, len(different), wished)) for q in (1 - tail, tail))
    interval = (float(different[min(most, len(different) - 1)]), float(different[least]))
    return binomial(reached[~pairs.same]), binomial(reached[pairs.same]), interval


def binomial(reached: np.ndarray) -> Rate:
    """The share of a (N,) bool array with its Clopper-Pearson interval."""
    from scipy.stats import binomtest

    count, num = int(reached.sum()), len(reached)
    if not num:
        return Rate(0.0, 0.0, 1.0, 0)
    interval = binomtest(count, num).proportion_ci(CONFIDENCE, method="exact")
    return Rate(count / num, float(interval.low), float(interval.high), num)


def _by_cameras(pairs: Pairs, threshold: float) -> list[dict[str, Any]]:
    """Rates of each pair of cameras, in either order, Clopper-Pearson intervals."""
    both = np.sort(pairs.cameras, axis=1)
    names, numbers = np.unique(both, axis=0, return_inverse=True)
    found = []
    for number, cameras in enumerate(names.tolist()):
        if "" in cameras:
            continue
        here = numbers.reshape(-1) == number
        reached = pairs.score[here] >= threshold
        same = pairs.same[here]
        rates = dict(false_matches=binomial(reached[~same]), true_matches=binomial(reached[same]))
        found.append(dict(cameras=cameras, **{name: asdict(rate) for name, rate in rates.items() if rate.num}))
    return found


def pairs_of_images(
    features: np.ndarray, people: Sequence[str | None], modalities: Sequence[str], cameras: Sequence[str | None]
) -> dict[str, Pairs]:
    """All pairs of labelled images, by kind.

    Two images of one person by one camera are left out: they were often taken one after the other, and tell nothing of
    how the person looks to another camera. Images without a person are left out, too. Of more than MOST_IMAGES a
    modality, people are drawn until there are so many.

    Args:
        features: (N, D) unit rows.
        people, modalities, cameras: of each.
    """
    rng = np.random.default_rng(0)
    named = [person is not None for person in people]
    numbers = np.unique([person or "" for person in people], return_inverse=True)[1]
    seen = np.array([camera or "" for camera in cameras])
    sides: dict[str, np.ndarray] = {}
    drawn = rng.permutation(int(numbers.max(initial=0)) + 1)
    for modality in MODALITIES:
        rows = np.flatnonzero(np.array(named) & (np.array(modalities) == modality))
        rows = rows[np.argsort(drawn[numbers[rows]], kind="stable")][:MOST_IMAGES]
        if len(rows):
            sides[modality] = rows
    found = {}
    for first, second in (("infrared", "infrared"), ("infrared", "visible"), ("visible", "visible")):
        if first not in sides or second not in sides:
            continue
        a, b = np.meshgrid(sides[first], sides[second], indexing="ij")
        scores = features[sides[first]].astype(np.float32) @ features[sides[second]].astype(np.float32).T
        same = numbers[a] == numbers[b]
        kept = ~(same & (seen[a] == seen[b]) & (seen[a] != ""))
        if first == second:
            kept &= np.triu(np.ones_like(kept), 1)
        pairs = Pairs(
            scores[kept],
            same[kept],
            np.stack([numbers[a[kept]], numbers[b[kept]]], axis=1),
            np.stack([seen[a[kept]], seen[b[kept]]], axis=1),
        )
        if pairs.same.any() and not pairs.same.all():
            found[kind_of(first, second)] = pairs
    return found


def read_pairs(path: Path) -> list[tuple[str, str, str, str, bool]]:
    """Labelled pairs of a CSV: (image, modality, image, modality, whether they show the same person).

    Args:
        path: columns ``image_a, modality_a, image_b, modality_b, same`` (0 or 1); images relative to the CSV's folder.

    Raises:
        FileNotFoundError, ValueError: no such file; other columns, or a line that is not like that.
    """
    wanted = ["image_a", "modality_a", "image_b", "modality_b", "same"]
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if sorted(reader.fieldnames or []) != sorted(wanted):
            raise ValueError(f"{path}, line 1: expected the columns {', '.join(wanted)}, found {reader.fieldnames}")
        found = []
        for row in reader:
            if row["same"] not in ("0", "1") or not {row["modality_a"], row["modality_b"]} <= set(MODALITIES):
                raise ValueError(
                    f"{path}, line {reader.line_num}: same is 0 or 1, a modality one of {', '.join(MODALITIES)}; found "
                    f"{row['same']!r}, {row['modality_a']!r}, {row['modality_b']!r}"
                )
            images = (str(path.parent / (row[name] or "")) for name in ("image_a", "image_b"))
            one, other = images
            found.append((one, str(row["modality_a"]), other, str(row["modality_b"]), row["same"] == "1"))
    if not found:
        raise ValueError(f"{path} has no pair")
    return found


def scored_pairs(
    listed: Sequence[tuple[str, str, str, str, bool]], features: Mapping[tuple[str, str], np.ndarray]
) -> dict[str, Pairs]:
    """Pairs of a list by kind, with their scores.

    Args:
        listed: of :func:`read_pairs`.
        features: (image, modality) -> (D,) unit feature.
    """
    by_kind: dict[str, list[tuple[float, bool]]] = {}
    for one, first, other, second, same in listed:
        similarity = float(features[one, first] @ features[other, second])
        by_kind.setdefault(kind_of(first, second), []).append((similarity, same))
    found = {}
    for kind, rows in by_kind.items():
        score, labels = (np.array(column) for column in zip(*rows, strict=True))
        unknown = np.full((len(rows), 2), -1)
        found[kind] = Pairs(score.astype(np.float32), labels, unknown, np.full((len(rows), 2), ""))
    return found
