"""How closely two samples agree: Pearson's, Spearman's and R², with bounds by the bootstrap or by Fisher.

scipy.stats is imported where it is needed: it takes half a second, and many attributions do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from llm_trace.statistics.floats import Floats

if TYPE_CHECKING:
    from collections.abc import Callable

_TINY = 1e-300


def correlate(a: Floats, b: Floats) -> float:
    """Return Pearson's correlation, 0 where one of the two does not vary."""
    return float(_correlate_rows(a, b))


def rank_correlate(a: Floats, b: Floats) -> float:
    """Return Spearman's rank correlation, 0 where one of the two does not vary."""
    return float(rank_correlate_rows(a, b))


def rank_correlate_rows(a: Floats, b: Floats) -> Floats:
    """Return Spearman's rank correlation along the last axis of two arrays (..., n), shape (...)."""
    from scipy import stats

    return _correlate_rows(stats.rankdata(a, axis=-1), stats.rankdata(b, axis=-1))


def _correlate_rows(a: Floats, b: Floats) -> Floats:
    """Return Pearson's correlation along the last axis; scipy's warns and gives NaN where nothing varies."""
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    size = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    return np.asarray(np.where(size > _TINY, (a * b).sum(axis=-1) / np.maximum(size, _TINY), 0.0))


def compute_r_squared(values: Floats, predicted: Floats) -> Floats:
    """Return R² along the last axis of two arrays (..., n), shape (...), without a lower limit.

    It is 1 where the prediction is perfect, 0 where the mean does as well or the values do not vary.
    """
    total = ((values - values.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    rest = ((values - predicted) ** 2).sum(axis=-1)
    return np.asarray(np.where(total > _TINY, 1.0 - rest / np.maximum(total, _TINY), 0.0))


def bootstrap(
    statistic: Callable[[Floats, Floats], Floats],
    a: Floats,
    b: Floats,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    rounds: int = 400,
) -> tuple[float, float]:
    """Return percentile bounds of a statistic of paired samples (n,), by drawing the pairs anew.

    Args:
        statistic: works along the last axis, such as `rank_correlate_rows`.
        a, b: at least two values each.
        confidence: of the bounds.
        seed: of the draws.
        rounds: draws.
    """
    from scipy import stats

    bounds = stats.bootstrap(
        (a, b),
        lambda x, y, axis: statistic(x, y),  # noqa: ARG005  # scipy draws along the last axis
        paired=True,
        vectorized=True,
        n_resamples=rounds,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(bounds.low), float(bounds.high)


def bound_correlation(r: float, n: int, confidence: float) -> tuple[float, float]:
    """Return bounds of a correlation of n pairs by Fisher's transformation, -1 to 1 where n is below 4."""
    if n < 4 or abs(r) >= 1:
        return (-1.0, 1.0) if n < 4 else (r, r)
    half = float(special.ndtri(0.5 + confidence / 2)) / (n - 3) ** 0.5
    return float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half))
