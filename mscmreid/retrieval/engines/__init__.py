"""Engines: what finds the nearest rows of a gallery."""

from __future__ import annotations

from pathlib import Path

from mscmreid.retrieval.engines.base import Engine
from mscmreid.retrieval.engines.exact import ExactEngine

__all__ = ["ENGINES", "Engine", "ExactEngine", "make_engine"]

ENGINES = ("exact",)


def make_engine(name: str, gallery: Path) -> Engine:
    """An engine by its name.

    Raises:
        ValueError: an unknown one.
        ImportError: its package is missing; the extra is named.
    """
    if name == "exact":
        return ExactEngine()
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, found {name!r}")
