"""Ranks, rank correlation with bootstrap bounds, t tests and false discovery rates: what numpy lacks and
scipy is not needed for.
"""

from __future__ import annotations

from math import exp, lgamma, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def compute_ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse.reshape(-1)])


def correlate(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Pearson's correlation, 0 where one of the two does not vary."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-300 else 0.0


def rank_correlate(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation, 0 where one of the two does not vary."""
    return correlate(compute_ranks(a), compute_ranks(b))


def compute_r_squared(values: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return R²: 1 where the prediction is perfect, 0 where the mean does as well, without a lower limit."""
    total = float(((values - values.mean()) ** 2).sum())
    return 1.0 - float(((values - predicted) ** 2).sum()) / total if total > 1e-300 else 0.0


def bootstrap(
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    rounds: int = 400,
) -> tuple[float, float]:
    """Return percentile bounds of a statistic of paired samples, by drawing the pairs anew."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(a), (rounds, len(a)))
    found = np.array([statistic(a[rows], b[rows]) for rows in drawn])
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def compute_t_p_value(t: float, freedom: float) -> float:
    """Return the two-sided p-value of Student's t: the incomplete beta function at freedom / (freedom +
    t²).
    """
    if not np.isfinite(t):
        return 0.0
    return _compute_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _compute_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function by Lentz's continued fraction (Numerical Recipes
    6.4).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x))
    if x > (a + 1) / (a + b + 2):
        return 1.0 - front * _compute_fraction(b, a, 1 - x) / b
    return front * _compute_fraction(a, b, x) / a


def _compute_fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1.0 / max(1 - (a + b) * x / (a + 1), tiny)
    found = d
    for m in range(1, 300):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / ((1 + step * d) or tiny)
            c = (1 + step / c) or tiny
            found *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return found


def correct_benjamini_hochberg(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return q-values: the smallest false discovery rate at which each test counts as a finding (Benjamini
    & Hochberg 1995).
    """
    order = np.argsort(-p_values)
    count = len(p_values)
    scaled = p_values[order] * count / np.arange(count, 0, -1)
    out = np.empty(count)
    out[order] = np.minimum.accumulate(scaled).clip(0, 1)
    return out
