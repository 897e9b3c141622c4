"""The protocols of each benchmark by name, for tools that know a data set but no config."""

from __future__ import annotations

from collections.abc import Sequence

from mscmreid.evaluation.protocols import (
    DIRECTIONS,
    LLCMProtocol,
    MixedGalleryProtocol,
    Protocol,
    RegDBProtocol,
    SYSUProtocol,
)

MODALITIES = ("infrared", "visible")
DATASETS = {"sysu": "SYSU-MM01", "regdb": "RegDB", "llcm": "LLCM"}
"""Short name -> name in results."""


def protocols_of(dataset: str, names: Sequence[str] | None = None) -> list[Protocol]:
    """Protocols of a benchmark.

    Args:
        dataset: 'sysu', 'regdb' or 'llcm'.
        names: tags of protocols, such as 'all', 'indoor_multi_official' or 'infrared-to-mixed'; None for the published
            ones; 'every' for all there are.

    Raises:
        ValueError: an unknown data set or tag; lists those there are.
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, found {dataset!r}")
    published, others = _benchmark(dataset)
    if names is None:
        return published
    known = {protocol.tag: protocol for protocol in (*published, *others)}
    chosen = list(known) if "every" in names else list(names)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ValueError(f"{dataset} has the protocols {', '.join(known)} and 'every', found {', '.join(unknown)}")
    return [known[name] for name in chosen]


def _benchmark(dataset: str) -> tuple[list[Protocol], list[Protocol]]:
    """(published protocols, the others) of a benchmark."""
    if dataset == "sysu":
        every: list[Protocol] = [
            SYSUProtocol(mode, shots, lineage)
            for lineage in ("agw", "official")
            for shots in (1, 10)
            for mode in ("all", "indoor")
        ]
        one_room = ((3, 2), (2, 3))
        return every[:2], [*every[2:], *(MixedGalleryProtocol(query, camera_pairs=one_room) for query in MODALITIES)]
    if dataset == "regdb":
        mixed = [MixedGalleryProtocol(query, shots=None, identity_cmc=False) for query in MODALITIES]
        return [RegDBProtocol(direction) for direction in reversed(DIRECTIONS)], [*mixed]
    directions: list[Protocol] = [LLCMProtocol(direction) for direction in DIRECTIONS]
    mixed = [MixedGalleryProtocol(query) for query in MODALITIES]
    return directions, [LLCMProtocol("visible-to-infrared", convention="deen-repo"), *mixed]
