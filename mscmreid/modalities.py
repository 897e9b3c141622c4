"""The two kinds of images."""

from __future__ import annotations

MODALITIES = ("visible", "infrared")
"""Index of a modality in integer tensors: 0 visible, 1 infrared."""


def modality_index(name: str) -> int:
    """0 for 'visible', 1 for 'infrared'; anything else is a ValueError."""
    if name not in MODALITIES:
        raise ValueError(f"modality must be one of {MODALITIES}, found {name!r}")
    return MODALITIES.index(name)
