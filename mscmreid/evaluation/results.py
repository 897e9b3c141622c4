"""A number with everything that says what it is: the record, its JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from mscmreid.evaluation.per_query import PerQuery, save_per_query
from mscmreid.evaluation.ranking import RankingResult
from mscmreid.fileio import written_atomically
from mscmreid.gate import damage_named, damaged, read_json

SCHEMA_VERSION = 1
UNKNOWN = "unknown"
"""Data set or split of features that do not say."""
MEASURES = ("R1", "R5", "R10", "R20", "mAP", "mINP")

PROTOCOL_FIELDS = (
    "dataset",
    "split",
    "protocol",
    "mode",
    "shots",
    "lineage",
    "direction",
    "convention",
    "exclusion",
    "cmc_kind",
    "trials",
    "splits",
    "condition",
    "not_standard",
)
"""What two results must share before their numbers may be compared."""


@dataclass
class Result:
    """One row of a results table. Measures are percentages; fields that mean nothing to a protocol are None.

    Attributes:
        dataset, split: data set and its part ('test', or the number of RegDB's split).
        splits: numbers of the splits, in a result over splits: ``values``, ``cmc`` and the counts then have one entry a
            split, not one a trial (see :func:`mscmreid.evaluation.over_splits`); None in all others.
        protocol: name of the protocol; ``mode``, ``shots``, ``lineage``, ``direction``, ``convention``: its variant.
        exclusion: which gallery rows a query ignores, in words.
        cmc_kind: 'identity' or 'plain'.
        condition: None for images as they are; else ``corruption``, ``family``, ``severity`` and ``modality`` (whose
            images: 'visible', 'infrared' or 'both').
        not_standard: in which ways this is not the test set of the published numbers ('600 of 3,803 queries'), see
            :func:`mscmreid.evaluation.standard.departures`; None: in none that is known, or nothing is published.
        feature: 'feat_bn', 'feat_pool', 'sum', 'blend=0.1', ...
        flip: features of image and mirrored image joined, as ``inference`` says (added, where it does not).
        rerank: k-reciprocal re-ranking.
        normalized: the features came in other lengths and were scaled to unit length.
        inference: the model's outputs that are features, how branches and (with ``flip``) mirrored images are combined.
        trials: numbers of the gallery draws.
        values: measure -> its value in every trial.
        cmc: per trial the CMC at ranks 1..20.
        num_queries, num_left_out, num_gallery: per trial; left out are queries without a match.
        camera_pairs: measures of each pair of cameras, means over the trials, see
            :func:`mscmreid.evaluation.camera_pairs`; None where they were not asked for.
        interval: how far the measures can be trusted, see :func:`mscmreid.evaluation.per_query.interval_field`; None
            where it was not asked for.
        checkpoint, checkpoint_sha256, initial_weights, config_hash, stage, resize, intake, versions, date: where the
            features came from, as far as known; ``initial_weights`` what training started from, ``stage`` of a training
            in stages, ``resize`` the filter that the images were resized with, ``intake`` how they were read
            (:class:`mscmreid.intake.Intake`) where not as published.
    """

    dataset: str
    split: str
    protocol: str
    feature: str
    exclusion: str
    cmc_kind: str
    trials: list[int]
    values: dict[str, list[float]]
    cmc: list[list[float]]
    num_queries: list[int]
    num_left_out: list[int]
    num_gallery: list[int]
    mode: str | None = None
    shots: int | None = None
    lineage: str | None = None
    direction: str | None = None
    convention: str | None = None
    splits: list[int] | None = None
    condition: dict[str, Any] | None = None
    not_standard: str | None = None
    flip: bool = False
    rerank: bool = False
    normalized: bool = False
    inference: dict[str, Any] | None = None
    camera_pairs: list[dict[str, float]] | None = None
    interval: dict[str, Any] | None = None
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    initial_weights: str | None = None
    config_hash: str | None = None
    stage: str | None = None
    resize: str | None = None
    intake: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    date: str = ""

    @property
    def num_trials(self) -> int:
        """Number of gallery draws."""
        return len(self.trials)

    @property
    def mean(self) -> dict[str, float]:
        """Measure -> mean over the trials (or splits)."""
        return {name: float(np.mean(values)) for name, values in self.values.items()}

    @property
    def std(self) -> dict[str, float] | None:
        """Measure -> standard deviation over the trials or splits (divisor n - 1); None for one of them."""
        if len(self.splits or self.trials) < 2:
            return None
        return {name: float(np.std(values, ddof=1)) for name, values in self.values.items()}

    @property
    def protocol_key(self) -> dict[str, Any]:
        """The fields that must be equal where numbers are compared."""
        return {name: getattr(self, name) for name in PROTOCOL_FIELDS}

    @property
    def setting(self) -> str:
        """The protocol's variant in a few words: 'all-search single-shot agw', 'visible-to-infrared paper'."""
        shots = {None: None, 1: "single-shot"}.get(self.shots, f"multi-shot {self.shots}")
        parts = [self.mode or self.direction, shots, self.lineage, self.convention]
        if self.condition is not None:
            parts.append("with {corruption} {severity} on {modality}".format(**self.condition))
        return " ".join(part for part in parts if part)

    @property
    def feature_label(self) -> str:
        """The feature with what was done to it: 'feat_bn flip re-ranked'."""
        return self.feature + (" flip" if self.flip else "") + (" re-ranked" if self.rerank else "")

    def to_json(self) -> dict[str, Any]:
        """JSON values; ``num_trials``, ``mean`` and ``std`` are written out for readers without this class."""
        return {**asdict(self), "num_trials": self.num_trials, "mean": self.mean, "std": self.std}

    @classmethod
    def from_json(cls, content: Any) -> Result:
        """The inverse of :meth:`to_json`; a ValueError over anything that is not of its form."""
        if not isinstance(content, dict):
            raise ValueError(f"a result must be an object, found {content!r:.80}")
        hints = get_type_hints(cls)
        unknown = sorted(set(content) - set(hints) - {"num_trials", "mean", "std"})
        if unknown:
            raise ValueError(f"a result has unknown fields {unknown}")
        wrong = [name for name in hints if name in content and not conforms(content[name], hints[name])]
        if wrong:
            kinds = {field.name: field.type for field in fields(cls)}
            raise ValueError(f"{wrong[0]} must be {kinds[wrong[0]]}, found {content[wrong[0]]!r:.80}")
        try:
            result = cls(**{name: value for name, value in content.items() if name in hints})
        except TypeError as error:
            raise ValueError(f"a result lacks fields: {error}") from error
        result.check_counts()
        return result

    def check_counts(self) -> None:
        """Raise a ValueError unless there is one entry for each trial (or split), and every measure."""
        number = len(self.splits or self.trials)
        columns: dict[str, Any] = {**self.values, "cmc": self.cmc}
        columns |= {name: getattr(self, name) for name in ("num_queries", "num_left_out", "num_gallery")}
        wrong = [name for name, column in columns.items() if len(column) != number]
        wrong += [name for name in MEASURES if name not in self.values]
        if wrong or not self.trials or self.splits == []:
            raise ValueError(f"a result has one entry for each of its {number} trials or splits: not so {wrong}")
        keys = ("corruption", "severity", "modality")
        if self.condition is not None and not all(key in self.condition for key in keys):
            raise ValueError(f"condition must have {', '.join(keys)}, found {self.condition}")
        if self.interval is not None:
            bounds: Any = self.interval.get("bounds")
            if not conforms(bounds, dict[str, list[float]]) or any(len(bounds.get(name, [])) != 2 for name in MEASURES):
                raise ValueError(f"interval must have bounds, two for each measure, found {bounds!r:.80}")
            kinds = dict(level=float, over=str, num_people=int)
            if not all(conforms(self.interval.get(name), kind) for name, kind in kinds.items()):
                raise ValueError(f"interval must have {', '.join(kinds)}, found {self.interval!r:.80}")
        for pair in self.camera_pairs or []:
            if not {"query_cam", "gallery_cam", "R1"} <= set(pair):
                raise ValueError(f"camera_pairs must have query_cam, gallery_cam and R1, found {pair}")

    @classmethod
    def from_rankings(
        cls,
        rankings: Sequence[RankingResult],
        trials: Sequence[int],
        protocol_fields: dict[str, Any],
        meta: dict[str, Any],
        **labels: Any,
    ) -> Result:
        """Collect the rankings of all trials.

        Args:
            rankings: one a trial.
            trials: their numbers.
            protocol_fields: mode, shots, ... of the protocol.
            meta: of the feature table; what it lacks stays empty.
            labels: ``protocol, feature, exclusion, cmc_kind, flip, rerank``.
        """
        every = [ranking.values() for ranking in rankings]
        return cls(
            dataset=str(meta.get("dataset_name") or UNKNOWN),
            split=str(meta.get("split") or UNKNOWN),
            trials=list(trials),
            values={name: [values[name] for values in every] for name in MEASURES},
            cmc=[ranking.cmc.tolist() for ranking in rankings],
            num_queries=[ranking.num_queries for ranking in rankings],
            num_left_out=[ranking.num_left_out for ranking in rankings],
            num_gallery=[ranking.num_gallery for ranking in rankings],
            condition=meta.get("condition"),
            normalized=bool(meta.get("normalized")),
            inference=meta.get("inference"),
            checkpoint=meta.get("checkpoint"),
            checkpoint_sha256=meta.get("checkpoint_sha256"),
            initial_weights=meta.get("initial_weights"),
            config_hash=meta.get("config_hash"),
            stage=meta.get("stage"),
            resize=meta.get("resize"),
            intake=meta.get("intake"),
            versions=dict(meta.get("versions") or {}),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **protocol_fields,
            **labels,
        )


def save_results(results: Sequence[Result], path: str | Path, per_query: Sequence[PerQuery] | None = None) -> None:
    """Write results as JSON (``schema_version`` and ``results``), moved into place when complete.

    Args:
        results: the rows.
        path: ``R.json``.
        per_query: of each result, for ``R.queries.npz`` beside it (entry ``per_query``); None: not kept.
    """
    content: dict[str, Any] = dict(schema_version=SCHEMA_VERSION, results=[result.to_json() for result in results])
    if per_query is not None:
        content["per_query"] = save_per_query(per_query, path)
    with written_atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def load_results(path: str | Path) -> list[Result]:
    """Read a JSON file of :func:`save_results`.

    Raises:
        FileNotFoundError: no such file.
        DamagedFileError: not such a file, damaged, or of another schema version.
    """
    path = Path(path)
    content = read_json(path, "a results file")
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise damaged(path, f"expected a results file of schema version {SCHEMA_VERSION}, found version {version!r}")
    with damage_named(path, f"results of schema version {SCHEMA_VERSION}", "Test again, with --out-json"):
        if not isinstance(content["results"], list):
            raise ValueError("'results' must be a list")
        return [Result.from_json(entry) for entry in content["results"]]


def conforms(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of a type such as ``dict[str, list[float]] | None``; numbers must be finite."""
    arguments = get_args(hint)
    match get_origin(hint) or hint:
        case kind if kind in (Union, UnionType):
            return any(conforms(value, one) for one in arguments)
        case kind if kind is list:
            return isinstance(value, list) and all(conforms(entry, arguments[0]) for entry in value)
        case kind if kind is dict:
            keys = isinstance(value, dict) and all(isinstance(key, str) for key in value)
            return keys and all(conforms(entry, arguments[1]) for entry in value.values())
        case kind if kind is float:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        case kind if kind is int:
            return isinstance(value, int) and not isinstance(value, bool)
        case kind:
            return kind is Any or isinstance(value, kind)
