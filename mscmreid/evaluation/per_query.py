"""Per-query values of a result: what intervals and paired tests are made of, and the file that keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.arrays import read_npz
from mscmreid.evaluation.ranking import RankingResult, Selection
from mscmreid.fileio import sha256_of, written_atomically
from mscmreid.gate import damage_named, read_json
from mscmreid.statistics import RESAMPLES, PeopleValues, intervals
from mscmreid.statistics.intervals import LEVEL

SUFFIX = ".queries.npz"


@dataclass(frozen=True)
class PerQuery:
    """Every query of one result in every gallery draw.

    Attributes:
        path: images of the queries, relative to the data root, sorted.
        pid: (Q,) their people.
        first_rank: (T, Q) int32, rank of the first match, 0 for a query without one (or not asked in that draw).
        ap, inp: (T, Q) float64 in percent, NaN there.
        galleries: a digest of each draw's gallery images in their order, 16 hexadecimal digits.
    """

    path: list[str]
    pid: np.ndarray
    first_rank: np.ndarray
    ap: np.ndarray
    inp: np.ndarray
    galleries: list[str]

    @classmethod
    def of_rankings(
        cls,
        rankings: Sequence[RankingResult],
        selections: Sequence[Selection],
        paths: Sequence[str],
        pids: np.ndarray,
    ) -> PerQuery:
        """Collect the rankings of all draws.

        Args:
            rankings: one a draw, of ``selections`` of a table.
            selections: their rows.
            paths, pids: of the table.
        """
        rows = np.array(sorted({int(row) for s in selections for row in s.query}, key=lambda row: paths[row]))
        place_of = np.zeros(len(paths), dtype=np.int64)
        place_of[rows] = np.arange(len(rows))
        shape = (len(rankings), len(rows))
        first_rank, ap, inp = np.zeros(shape, dtype=np.int32), np.full(shape, np.nan), np.full(shape, np.nan)
        for draw, (ranking, selection) in enumerate(zip(rankings, selections, strict=True)):
            places = place_of[selection.query[ranking.query_index]]
            first_rank[draw, places], ap[draw, places] = ranking.first_rank, ranking.ap
            inp[draw, places] = ranking.inp
        galleries = [_digest([paths[row] for row in selection.gallery]) for selection in selections]
        return cls([paths[row] for row in rows], np.asarray(pids)[rows], first_rank, ap, inp, galleries)

    @property
    def people(self) -> PeopleValues:
        """The same by person."""
        return PeopleValues.of_queries(self.pid, self.first_rank, self.ap, self.inp)

    @property
    def mean_ap(self) -> np.ndarray:
        """(Q,) AP of each query, mean over the draws in which it has a match; NaN where there is none."""
        used = self.first_rank > 0
        totals = np.where(used, self.ap, 0.0).sum(axis=0)
        return np.where(used.any(axis=0), totals / np.maximum(used.sum(axis=0), 1), np.nan)

    def difference_to(self, other: PerQuery) -> str | None:
        """What keeps two results from being compared query by query, in words; None if nothing does."""
        if self.path != other.path:
            odd = sorted(set(self.path) ^ set(other.path))
            where = f"{len(odd)} images query on one side only (first: {odd[0]})" if odd else "their order differs"
            return f"their queries differ: {len(self.path)} and {len(other.path)}, {where}"
        if not np.array_equal(self.pid, other.pid):
            row = int(np.flatnonzero(self.pid != other.pid)[0])
            return f"query {self.path[row]} is person {self.pid[row]} in one and {other.pid[row]} in the other"
        if self.galleries != other.galleries:
            pairs = enumerate(zip(self.galleries, other.galleries, strict=False))
            first = next((draw for draw, (one, two) in pairs if one != two), min(map(len, (self, other))))
            return f"their galleries differ, first in draw {first} (of {len(self)} and {len(other)})"
        if not np.array_equal(self.first_rank > 0, other.first_rank > 0):
            return "the same queries do not have matches in both: people or cameras of the gallery differ"
        return None

    def __len__(self) -> int:
        return len(self.galleries)


def interval_field(values: PeopleValues, level: float = LEVEL, seed: int = 0) -> dict[str, Any] | None:
    """The field ``interval`` of a result: its bounds over people, and what they are.

    Returns:
        ``dict(level, over, num_people, num_resamples, seed, bounds={measure: [low, high]})``; None for one person.
    """
    if values.num_people < 2:
        return None
    found = intervals(values, level=level, seed=seed)
    return dict(
        level=level,
        over="people",
        num_people=values.num_people,
        num_resamples=RESAMPLES,
        seed=seed,
        bounds={name: [interval.low, interval.high] for name, interval in found.items()},
    )


def save_per_query(per_query: Sequence[PerQuery], results_path: str | Path) -> dict[str, str]:
    """Write the values of a results file's rows beside it.

    Args:
        per_query: one for each of its results, in their order.
        results_path: the results file.

    Returns:
        The entry ``per_query`` of the results file: name and SHA-256 of what was written.
    """
    path = per_query_path(results_path)
    lists: dict[tuple[str, ...], int] = {}
    arrays: dict[str, np.ndarray] = {}
    for number, values in enumerate(per_query):
        place = lists.setdefault(tuple(values.path), len(lists))
        arrays.setdefault(f"path_{place}", np.array(values.path, dtype=str))
        arrays.setdefault(f"pid_{place}", values.pid.astype(np.int64))
        arrays[f"queries_{number}"] = np.array(place)
        arrays[f"galleries_{number}"] = np.array(values.galleries, dtype=str)
        for name in ("first_rank", "ap", "inp"):
            arrays[f"{name}_{number}"] = getattr(values, name)
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return dict(file=path.name, sha256=sha256_of(path))


def load_per_query(results_path: str | Path) -> list[PerQuery]:
    """Per-query values of a results file's rows, in their order. Nothing is unpickled.

    Raises:
        FileNotFoundError: the results file names a file that is not there.
        ValueError: the results file was written without per-query values, or with others than those beside it, or
            one of the two is damaged.
    """
    results_path = Path(results_path)
    content = read_json(results_path, "a results file")
    entry = content.get("per_query") if isinstance(content, dict) else None
    if not isinstance(entry, dict):
        raise ValueError(
            f"{results_path} has no per-query values (an older version wrote it, or it is a mean over splits): test "
            "again, or compare feature files"
        )
    path = per_query_path(results_path)
    if not path.is_file():
        raise FileNotFoundError(f"{results_path} keeps its per-query values in {path}, which is not there: copy both")
    if entry.get("sha256") != sha256_of(path):
        raise ValueError(f"{path} does not belong to {results_path}: their digests differ; test again")
    arrays = read_npz(path, "per-query values")
    with damage_named(path, f"the per-query values of {results_path}", "Test again, with --out-json"):
        return [_read(arrays, number) for number in range(len(content["results"]))]


def per_query_path(results_path: str | Path) -> Path:
    """Where the per-query values of a results file are: ``R.json`` has them in ``R.queries.npz``."""
    return Path(results_path).with_suffix(SUFFIX)


def _read(arrays: Mapping[str, np.ndarray], number: int) -> PerQuery:
    place = int(arrays[f"queries_{number}"])
    path, galleries = arrays[f"path_{place}"].tolist(), arrays[f"galleries_{number}"].tolist()
    pid = arrays[f"pid_{place}"]
    values = {name: arrays[f"{name}_{number}"] for name in ("first_rank", "ap", "inp")}
    shapes = {array.shape for array in values.values()} | {(len(galleries), len(path))}
    if len(shapes) != 1 or pid.shape != (len(path),):
        raise ValueError(f"arrays of result {number} have shapes that do not go together: {shapes}, {pid.shape}")
    kinds = [array.dtype.kind for array in (pid, *values.values())]
    if kinds != ["i", "i", "f", "f"]:
        raise ValueError(f"pid, first_rank, ap, inp of result {number} must be numbers i, i, f, f, found {kinds}")
    return PerQuery(path, pid, galleries=galleries, **values)


def _digest(paths: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(paths).encode("utf-8", "surrogateescape")).hexdigest()[:16]
