"""Systems to compare, from files: feature files, results files, folders of runs."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mscmreid.evaluation import Evaluation, FeatureTable, Protocol, evaluate, load_per_query, load_results
from mscmreid.evaluation.compare import System, Tested

Read = Callable[[str], tuple[FeatureTable, list[Protocol]]]
"""Reads a feature file: its table, and the protocols to test it under."""


@dataclass(frozen=True)
class Source:
    """A system with what its pictures need.

    Attributes:
        system: names and values.
        evaluations, table: of its first training, where it came from a feature file; else none.
    """

    system: System
    evaluations: Sequence[Evaluation] = ()
    table: FeatureTable | None = None


def split_name(entry: str) -> tuple[str | None, str]:
    """``NAME=PATTERN`` as (name, pattern); a text without '=', or that is a path as it stands, has no name."""
    name, equals, pattern = entry.partition("=")
    return (name, pattern) if equals and not Path(entry).exists() else (None, entry)


def system_name(path: str) -> str:
    """What to call a system by its file: 'mscm' for runs/mscm.npz, 'runs/a' for runs/a/results_last.json."""
    found = Path(path)
    if found.is_dir() or not found.stem.startswith(("results_", "test_", "features")):
        return found.stem
    return found.parent.name or found.stem


def read_system(
    name: str, patterns: Sequence[str], read: Read, feature: str | None = None, flip: bool | None = None
) -> Source:
    """One system.

    Args:
        name: in tables.
        patterns: files, folders, or patterns ('runs/a_*.npz') of them; each file is a training. A feature file (.npz,
            .csv) is ranked; a results file (.json) has per-query values beside it; a folder has one results file, or
            folders ``seed_N`` that each have one.
        read: of a feature file.
        feature: feature option; None: feat_bn or the first one of a feature file, the first row's of results.
        flip: of feature files; None: if mirrored features are there.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder with several results files, no such feature, per-query values that are missing.
    """
    paths = [path for pattern in patterns for found in _matches(pattern) for path in _files(found)]
    runs, first = [], Source(System(name, []))
    for path in paths:
        if path.suffix == ".json":
            runs.append(read_results(path, feature))
            continue
        table, protocols = read(str(path))
        default = "feat_bn" if "feat_bn" in table.features else next(iter(table.features))
        evaluations = evaluate(table, protocols, [feature or default], flip=flip)
        wanted = [e for e in evaluations if e.result.feature == (feature or default)]
        if not runs:
            first = Source(first.system, wanted, table)
        runs.append([Tested(evaluation.result, [evaluation.per_query(table)]) for evaluation in wanted])
    return Source(System(name, runs), first.evaluations, first.table)


def read_results(path: str | Path, feature: str | None = None) -> list[Tested]:
    """The rows of a results file with one feature, not re-ranked, as they are compared.

    Args:
        path: its per-query values are beside it.
        feature: None: that of the first row.

    Raises:
        ValueError: no row has the feature; no per-query values.
    """
    results, queries = load_results(path), load_per_query(path)
    rows = [(r, q) for r, q in zip(results, queries, strict=True) if not r.rerank]
    if not rows:
        raise ValueError(f"{path} has no result that is not re-ranked")
    wanted = feature or rows[0][0].feature
    found = [Tested(result, [values]) for result, values in rows if result.feature == wanted]
    if not found:
        raise ValueError(f"{path} was not tested with {wanted!r}: {sorted({r.feature for r, _ in rows})}")
    return found


def _matches(pattern: str) -> list[Path]:
    if Path(pattern).exists():
        return [Path(pattern)]
    found = sorted(Path(path) for path in glob.glob(pattern))
    if not found:
        raise FileNotFoundError(f"expected a feature file, a results file or a folder of runs, nothing is at {pattern}")
    return found


def _files(path: Path) -> list[Path]:
    """The path itself, or the results files of a folder: its own, or one of each ``seed_N``."""
    if not path.is_dir():
        return [path]
    seeds = sorted((p for p in path.glob("seed_*") if p.is_dir()), key=lambda p: (len(p.name), p.name))
    found = []
    for folder in seeds or [path]:
        own = sorted([*folder.glob("results_*.json"), *folder.glob("test_*.json")])
        if len(own) != 1:
            names = ", ".join(p.name for p in own) or "none"
            raise ValueError(f"expected one results file (results_*.json, test_*.json) in {folder}, found {names}")
        found += own
    return found
