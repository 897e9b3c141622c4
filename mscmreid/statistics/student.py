"""Student's t: its tail as an incomplete beta function (a continued fraction), its quantile by halving."""

from __future__ import annotations

import functools
import math

TINY = 1e-300


def student_tail(t: float, df: float) -> float:
    """Share of Student's t with ``df`` > 0 degrees of freedom above ``t`` >= 0."""
    return 0.5 * beta_share(df / 2, 0.5, df / (df + t * t))


@functools.lru_cache(maxsize=256)
def student_quantile(prob: float, df: float) -> float:
    """The t below which a share of 0.5 <= ``prob`` < 1 lies."""
    low, high = 0.0, 1.0
    while student_tail(high, df) > 1 - prob:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, df) > 1 - prob else (low, middle)
    return high


def beta_share(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), 0 <= x <= 1 (NIST DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - beta_share(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    value, c, d = 1.0, 1.0, 0.0
    for step in range(500):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + term * d or TINY)
        c = 1 + term / c or TINY
        value *= c * d
        if step and abs(c * d - 1) < 1e-14:
            break
    return math.exp(log_front) * (value - 1) / a
