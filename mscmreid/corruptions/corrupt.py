"""A corruption by its name, with the chance of one image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mscmreid.corruptions.draws import Draws
from mscmreid.corruptions.pixels import to_uint8
from mscmreid.near_names import did_you_mean
from mscmreid.registry import CORRUPTIONS

SEVERITIES = (1, 2, 3, 4, 5)
INFRARED = "infrared"
"""The family of corruptions that infrared cameras alone have."""
FAMILIES = ("noise", "blur", "weather", "digital", INFRARED)
"""In the order of tables and charts; families of other code come behind them."""
LUMA = np.array([299, 587, 114])  # thousandths, ITU-R BT.601

Corruption = Callable[[np.ndarray, int, Draws], np.ndarray]
"""``f(image, severity, draws)``: (H, W, 3) uint8 -> (H, W, 3) numbers, which are rounded and clipped to 0 .. 255."""


def corrupt(image: np.ndarray, name: str, severity: int, key: str) -> np.ndarray:
    """An image under a bad condition; what is random comes from (key, name, severity) alone.

    Args:
        image: (H, W, 3) uint8. One whose channels are equal (infrared) stays so.
        name: a registered corruption.
        severity: 1 .. 5.
        key: what tells the image from others: its path relative to the data root, with '/'.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        ValueError: an unknown corruption or severity, an array that is no such image.
    """
    function = _function(name)
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {SEVERITIES}, found {severity!r}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"an image must be (H, W, 3) uint8, found {image.shape} {image.dtype}")
    is_gray = bool((image == image[..., :1]).all())
    out = to_uint8(function(image, severity, Draws(key, name, severity, planes=1 if is_gray else 3)))
    if is_gray and not (out == out[..., :1]).all():
        out = np.repeat((out * LUMA).sum(axis=2, keepdims=True) // 1000, 3, axis=2).astype(np.uint8)
    return out


def family_of(name: str) -> str:
    """'noise', 'blur', 'weather', 'digital' or 'infrared': the name of the module that the corruption is in."""
    return _function(name).__module__.rpartition(".")[2]


def choose_corruptions(words: Sequence[str] = ("all",)) -> list[str]:
    """Names of corruptions, by family.

    Args:
        words: names, families, or 'all', which is every one but the infrared family's.

    Raises:
        ValueError: a word that is neither; lists those there are.
    """
    families: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for name in _registered():
        families.setdefault(family_of(name), []).append(name)
    known = {"all": [name for family, names in families.items() if family != INFRARED for name in names]}
    known |= families | {name: [name] for names in families.values() for name in names}
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise ValueError(f"found {', '.join(unknown) or 'none'}{hint}; corruptions are {', '.join(known)}")
    chosen = {name for word in words for name in known[word]}
    return [name for names in families.values() for name in names if name in chosen]


def _function(name: str) -> Corruption:
    function = CORRUPTIONS.get(name)
    if function is None:
        raise ValueError(f"no corruption {name!r}; there are {', '.join(_registered())}")
    return function


def _registered() -> list[str]:
    CORRUPTIONS.import_from_location()
    return list(CORRUPTIONS.module_dict)
