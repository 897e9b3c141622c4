"""What every evaluation protocol is: a choice of rows, a rule, a way to count, and a name for each of them."""

from __future__ import annotations

import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.evaluation.ranking import Selection
from mscmreid.evaluation.rules import ExclusionRule

DIRECTIONS = ("infrared-to-visible", "visible-to-infrared")
"""Query modality first."""

MAX_TRIALS = 100_000

Columns = Mapping[str, Any]
"""``dict(path, pid, cam_id, modality)`` and possibly ``role``: one entry a row each."""


class Protocol(ABC):
    """A benchmark's facts as an object over rows' metadata: who queries, what the gallery is, what is ignored.

    Attributes:
        name: the protocol's name in results.
        rule: gallery rows that a query ignores.
        identity_cmc: identity CMC instead of plain CMC.
        trials: numbers of the gallery draws.
        draws: whether the gallery is drawn, so that there can be several trials.
        extra_features: features that this benchmark's published rows use, always reported beside the asked ones.
    """

    name: str = ""
    rule: ExclusionRule = ExclusionRule()
    identity_cmc: bool = False
    draws: bool = True
    extra_features: tuple[str, ...] = ()

    def __init__(self, trials: int | Sequence[int]) -> None:
        self.trials = trial_numbers(trials)

    @property
    @abstractmethod
    def tag(self) -> str:
        """Short name that tells protocols of one data set apart; part of the metric keys of a run."""

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """Name parts of a result: ``mode, shots, lineage, direction, convention``, those that mean something here."""

    def published(self) -> tuple[int, int] | None:
        """(queries, gallery images of a draw) of the test set that published numbers are about; None: nothing is."""
        return None

    def to_config(self) -> dict[str, Any]:
        """``dict(type=..., ...)`` that makes this protocol again, of JSON values; files that it reads are not named.

        The constructor's arguments are read from attributes of the same names; those without one are left out.
        """
        arguments = inspect.signature(type(self)).parameters
        names = [name for name in arguments if hasattr(self, name) and not name.endswith("_file")]
        return dict(type=type(self).__name__, **{name: _plain(getattr(self, name)) for name in names})

    @abstractmethod
    def selections(self, columns: Columns, data_root: str | Path | None = None) -> list[Selection]:
        """One :class:`Selection` a trial, over the rows of ``columns``.

        Args:
            columns: metadata of all rows that may take part.
            data_root: folder of the data set, for protocols that read a file of it.

        Raises:
            ValueError: no query or no gallery row fits the protocol.
        """

    def rows_needed(self, columns: Columns, data_root: str | Path | None = None) -> np.ndarray:
        """Rows that some trial uses, ascending: all that features are needed of."""
        return np.unique(np.concatenate([np.r_[s.query, s.gallery] for s in self.selections(columns, data_root)]))

    def _select(self, trial: int, query: np.ndarray, gallery: np.ndarray) -> Selection:
        return Selection(query, gallery, self.rule, self.identity_cmc, trial)


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def trial_numbers(trials: int | Sequence[int]) -> tuple[int, ...]:
    """``3`` means trials 0, 1, 2; a sequence names them."""
    if isinstance(trials, int) and not 0 < trials <= MAX_TRIALS:
        raise ValueError(f"trials must be a positive number (at most {MAX_TRIALS:,}), found {trials!r}")
    numbers = tuple(range(trials)) if isinstance(trials, int) else tuple(int(t) for t in trials)
    if not numbers or min(numbers) < 0 or len(set(numbers)) != len(numbers):
        raise ValueError(f"trials must be a positive number or a list of different trial numbers, found {trials!r}")
    return numbers


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """``value`` if it is one of ``choices``, else a ValueError."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, found {value!r}")
    return value


def pick(columns: Columns, what: str, mask: np.ndarray, order: Sequence[str] = ("pid", "cam_id", "path")) -> np.ndarray:
    """Row numbers where ``mask`` holds, sorted by the named columns.

    Raises:
        ValueError: no row; says which modalities and cameras there are.
    """
    rows = np.flatnonzero(mask)
    if not len(rows):
        modality, cam = np.asarray(columns["modality"]), np.asarray(columns["cam_id"])
        present = "; ".join(f"{m}: cameras {sorted(set(cam[modality == m].tolist()))}" for m in sorted(set(modality)))
        raise ValueError(f"no row fits {what}; the {len(modality)} rows have {present or 'nothing'}")
    return rows[np.lexsort([np.asarray(columns[name])[rows] for name in reversed(order)])]


def folders(columns: Columns, rows: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """``rows`` by (pid, cam_id): keys ascending, rows of each sorted by path."""
    found: dict[tuple[int, int], list[int]] = {}
    pids, cams = np.asarray(columns["pid"]), np.asarray(columns["cam_id"])
    for row in rows:
        found.setdefault((int(pids[row]), int(cams[row])), []).append(int(row))
    paths = columns["path"]
    return {key: sorted(found[key], key=lambda row: paths[row]) for key in sorted(found)}


def draw_by_random(groups: Mapping[tuple[int, int], Sequence[int]], trial: int, shots: int) -> np.ndarray:
    """Gallery of one trial: ``shots`` rows of each (pid, camera), drawn with Python's ``random.Random(trial)``.

    The order of draws is that of AGW's released code: ids ascending, then cameras ascending; a camera without the id
    takes no draw. One shot is ``choice``; more (not in that code) are ``sample`` of as many as there are.
    """
    generator = random.Random(trial)
    rows: list[int] = []
    for key in sorted(groups):
        files = groups[key]
        rows += [generator.choice(files)] if shots == 1 else generator.sample(files, min(shots, len(files)))
    return np.array(rows, dtype=np.int64)
