"""How close together all features lie, beside which bfloat16's rounding may be large."""

from __future__ import annotations

import numpy as np

BFLOAT16_ROUNDING = 2.0**-9
"""Largest relative error of a number that is rounded to bfloat16."""
CLOSE = 0.04
"""Share of the rounding in the spread from which a warning is due: beside 1 % no metric was seen to move by more than
0.1 points, beside 9 % they moved by 0.2 to 0.8 (docs/performance.md, half precision)."""


def spread(features: np.ndarray) -> float:
    """Mean distance of unit rows (N, D) from their centre: near 0 where all point the same way, near 1 at most."""
    centred = features - features.mean(axis=0, dtype=np.float64)
    return float(np.linalg.norm(centred, axis=1).mean())


def bfloat16_warning(name: str, features: np.ndarray) -> str | None:
    """What to say of features (N, D) that were made in bfloat16, None where its rounding is small beside their spread.

    >>> bfloat16_warning("feat_pool", np.eye(4)) is None
    True
    """
    lies = spread(features)
    share = BFLOAT16_ROUNDING / max(lies, BFLOAT16_ROUNDING)
    if share < CLOSE:
        return None
    return (
        f"{name} in bfloat16: unit features lie {lies:.3f} from their centre on average, and bfloat16 rounds to "
        f"{BFLOAT16_ROUNDING:.3f} of a number, {share:.0%} of that. Where it was 9% (MSCMNet from scratch), metrics "
        "moved by up to 0.5 points: use --precision mixed (there 0.1), or float32 for numbers to publish"
    )
