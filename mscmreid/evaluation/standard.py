"""Whether rows are the test set that a protocol's published numbers are about: its counts, its cameras, its draws."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mscmreid.evaluation.protocols import Columns, Protocol
from mscmreid.evaluation.ranking import Selection

NOT_TESTED = ("train", "val", "trainval")
"""Splits whose name says already that they are not the test set."""


@dataclass(frozen=True)
class Layout:
    """What every row of a data set looks like.

    Attributes:
        cameras: modality -> its cameras; a number instead: how many cameras.
        path: of a test image, with the groups ``pid`` and ``cam``; None where nothing is drawn.
        example: of such a path.
    """

    cameras: Mapping[str, Collection[int] | int]
    path: re.Pattern[str] | None = None
    example: str = ""


LAYOUTS = {
    "SYSU-MM01": Layout(
        dict(visible=(1, 2, 4, 5), infrared=(3, 6)),
        re.compile(r"(?:^|/)cam(?P<cam>\d+)/(?P<pid>\d+)/\d{4}\.\w+$"),
        "cam1/0006/0001.jpg",
    ),
    "RegDB": Layout(dict(visible=1, infrared=1)),
    "LLCM": Layout(
        dict(visible=range(1, 10), infrared=(1, 2, 4, 5, 6, 7, 8, 9)),
        re.compile(r"(?:^|/)(?P<pid>\d+)_c(?P<cam>\d+)_[^/]+$"),
        "test_vis/cam5/0891/0891_c05_s181957_f20790_vis.jpg",
    ),
}
"""By the data set's name in results."""


def departures(
    protocol: Protocol, columns: Columns, selections: Sequence[Selection], dataset: str, split: str
) -> str | None:
    """In which ways this is not the test set of the published numbers, in words; None: in none that is known.

    Args:
        protocol: whose ``published()`` counts are compared.
        columns: metadata of all rows that may take part.
        selections: of the protocol, one a trial.
        dataset: name in results; data sets of other names have nothing published.
        split: its part; the training people's parts are not compared.
    """
    counts = protocol.published()
    if counts is None or dataset != protocol.name or split in NOT_TESTED:
        return None
    found = [
        _differing({len(s.query) for s in selections}, counts[0], "queries"),
        _differing({len(s.gallery) for s in selections}, counts[1], "gallery images"),
        _other_draws(protocol, columns) if protocol.draws else None,
    ]
    return ", ".join(text for text in found if text) or None


def check_layout(columns: Columns, dataset: str) -> None:
    """Raise a ValueError where the rows cannot be those of a published data set, by their cameras."""
    misfit = _misfit(columns, dataset)
    if misfit is not None:
        others = [name for name in LAYOUTS if _misfit(columns, name) is None]
        fits = f"; they could be those of {' or '.join(others)}" if others else ""
        raise ValueError(
            f"these cannot be the rows of {dataset}: {misfit}{fits}. Name the right data set (--dataset), or give "
            "--query and --gallery for data of your own"
        )


def _misfit(columns: Columns, dataset: str) -> str | None:
    modality, cams = np.asarray(columns["modality"]), np.asarray(columns["cam_id"])
    for name, allowed in LAYOUTS[dataset].cameras.items():
        present = sorted(set(cams[modality == name].tolist()))
        if isinstance(allowed, int):
            if len(present) > allowed:
                return f"its {name} images are of {allowed} camera, here of {present}"
        elif not set(present) <= set(allowed):
            return f"its {name} images are of cameras {sorted(allowed)}, here of {present}"
    return None


def _differing(found: Collection[int], published: int, what: str) -> str | None:
    if set(found) == {published}:
        return None
    low, high = min(found), max(found)
    number = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{number} {'of' if high <= published else 'instead of'} {published:,} {what}"


def _other_draws(protocol: Protocol, columns: Columns) -> str | None:
    """The published draws go over the sorted files of each (person, camera): paths of another layout sort otherwise."""
    layout = LAYOUTS[protocol.name]
    if layout.path is None:
        return None
    for path, pid, cam in zip(columns["path"], columns["pid"], columns["cam_id"], strict=True):
        match = layout.path.search(path)
        if match is None or (int(match["pid"]), int(match["cam"])) != (int(pid), int(cam)):
            return f"other gallery draws than published (paths such as {path}, not {layout.example})"
    return None
