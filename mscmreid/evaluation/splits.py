"""A result over the splits of a data set: each split is a training of its own, a published number their mean."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

from mscmreid.evaluation.results import MEASURES, PROTOCOL_FIELDS, Result
from mscmreid.tables import aligned_lines


def over_splits(results: Sequence[Sequence[Result]], checkpoint: str, config_hash: str | None = None) -> list[Result]:
    """Put the results of several splits together; values, mean and standard deviation are then over the splits.

    Args:
        results: for each split what its test gave, in any order; the same protocols and features, one trial each.
        checkpoint: what to call their checkpoints, such as ``runs/split_{split}/best.pth``.
        config_hash: of the config that they share.

    Returns:
        One result for each row of a split's table, in its order. ``splits`` has the numbers in ascending order,
        ``split`` the same in short ('1-10'); ``checkpoint_sha256`` is the SHA-256 of the checkpoints' SHA-256 digests
        (as text), one behind another.

    Raises:
        ValueError: no split, a split twice, several trials, or splits with other protocols or features.
    """
    if not results or not all(results):
        raise ValueError("a result over splits needs at least one split, and results of each of them")
    numbered = {}
    for rows in results:
        names = {row.split for row in rows}
        if len(names) != 1 or not (name := names.pop()).isdigit():
            raise ValueError(f"results of one numbered split were expected, found {sorted({r.split for r in rows})}")
        if int(name) in numbered:
            raise ValueError(f"split {name} was given twice")
        numbered[int(name)] = list(rows)
    numbers = sorted(numbered)
    tables = [numbered[number] for number in numbers]
    for number, rows in zip(numbers, tables, strict=True):
        if [_kind(row) for row in rows] != [_kind(row) for row in tables[0]]:
            raise ValueError(
                f"split {number} was not tested as split {numbers[0]}: its rows are "
                f"{[_name(row) for row in rows]}, the other's {[_name(row) for row in tables[0]]}; protocols, "
                "features, flip and re-ranking must be the same"
            )
        if any(row.num_trials != 1 for row in rows):
            raise ValueError(f"split {number} has results with several trials; a mean over splits needs one each")
    return [_together(rows, numbers, checkpoint, config_hash) for rows in zip(*tables, strict=True)]


def split_table(result: Result) -> str:
    """Every split's values of a result over splits, then mean and standard deviation, as text."""
    if result.splits is None:
        raise ValueError(f"{_name(result)} is not a result over splits")
    rows = [["split", *MEASURES]]
    for i, number in enumerate(result.splits):
        rows.append([str(number), *(f"{result.values[name][i]:.2f}" for name in MEASURES)])
    for title, values in (("mean", result.mean), ("std", result.std)):
        if values is not None:
            rows.append([title, *(f"{values[name]:.2f}" for name in MEASURES)])
    return "\n".join([_name(result), *aligned_lines(rows)])


def _together(rows: Sequence[Result], numbers: list[int], checkpoint: str, config_hash: str | None) -> Result:
    first = rows[0]
    digests = [row.checkpoint_sha256 for row in rows]
    digest = None if None in digests else hashlib.sha256("".join(map(str, digests)).encode()).hexdigest()
    return replace(
        first,
        split=_short(numbers),
        splits=numbers,
        not_standard="; ".join(dict.fromkeys(row.not_standard for row in rows if row.not_standard)) or None,
        values={name: [row.values[name][0] for row in rows] for name in first.values},
        cmc=[row.cmc[0] for row in rows],
        num_queries=[row.num_queries[0] for row in rows],
        num_left_out=[row.num_left_out[0] for row in rows],
        num_gallery=[row.num_gallery[0] for row in rows],
        camera_pairs=None,
        interval=None,
        checkpoint=checkpoint,
        checkpoint_sha256=digest,
        initial_weights=" and ".join(sorted({row.initial_weights for row in rows if row.initial_weights})) or None,
        config_hash=config_hash,
        versions={name: " and ".join(sorted({row.versions.get(name, "?") for row in rows})) for name in first.versions},
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _kind(result: Result) -> tuple:
    """What the rows of two splits must share to be averaged."""
    protocol = [str(getattr(result, name)) for name in PROTOCOL_FIELDS if name not in ("split", "not_standard")]
    return (*protocol, result.feature, result.flip, result.rerank)


def _name(result: Result) -> str:
    return f"{result.setting} {result.feature_label}"


def _short(numbers: Sequence[int]) -> str:
    """'1-10' for neighbours, else '1,3,7'."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
