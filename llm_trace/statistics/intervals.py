"""Bounds of a mean difference that hold on small and on skewed samples.

Three intervals are joined. Student's t is right for symmetric differences, Hall's transformation of it for
skewed ones: it agrees with the studentised bootstrap to second order and, measured
(`benchmarks/comparison.py`), in coverage, without drawing. Where few pairs differ at all, both are too
narrow, since what was not seen has no variance: Tango's interval for the share that rose less the share that
fell steps in, times the largest difference. With clusters the first two are of what each cluster adds to the
mean, and Tango's of as many pairs as independent ones would tell as much.

Source: Hall 1992, On the removal of skewness by transformation, JRSS B 54, 221-228.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from llm_trace.statistics.clusters import (
    compute_pseudovalues,
    count_effective_clusters,
    measure_dependence,
)
from llm_trace.statistics.floats import Floats
from llm_trace.statistics.yesno import bound_tango

FEW = 10
"""Pairs that differ, below which their number is uncertain enough to matter."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a mean and its standard error."""

    low: float
    high: float
    error: float
    p_value: float
    """Two-sided, that the mean is 0: Student's t corrected for skewness, 1 where the values do not vary."""


def bound_mean(
    values: Floats,
    clusters: NDArray[np.int64] | None = None,
    *,
    confidence: float = 0.95,
    largest: float = 0.0,
) -> Interval:
    """Return bounds of the mean that values were drawn with.

    Args:
        values: (n,) differences, n at least 2.
        clusters: (n,) which values depend on each other, at least two clusters; `None` where none do.
        confidence: of the bounds.
        largest: a size of difference that must be thought possible although no pair shows it.
    """
    units, freedom = values, len(values) - 1.0
    if clusters is not None:
        units, freedom = (
            compute_pseudovalues(values, clusters),
            max(1.0, count_effective_clusters(clusters) - 1),
        )
    mean, error = float(values.mean()), compute_spread(units) / len(units) ** 0.5
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    intervals = [(mean - quantile * error, mean + quantile * error), _bound_hall(units, quantile)]
    intervals += _bound_few(values, clusters, confidence, largest)
    bounds = min(low for low, _ in intervals), max(high for _, high in intervals)
    return Interval(*bounds, error, _compute_p_value(units, freedom))


def compute_spread(values: Floats) -> float:
    """Return the standard deviation, 0 where the values differ by no more than rounding."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return spread if spread > 1e-9 * float(np.abs(values).max()) else 0.0


def _bound_hall(values: Floats, quantile: float) -> tuple[float, float]:
    """Return bounds by the cubic transformation that takes the skewness out of Student's t."""
    n, mean, spread = len(values), float(values.mean()), compute_spread(values)
    if spread == 0:
        return mean, mean
    skew = float(stats.skew(values))

    def back(t: float) -> float:
        z = t / n**0.5 - skew / (6 * n)
        return z if abs(skew) < 1e-8 else (float(np.cbrt(1 + skew * z)) - 1) * 3 / skew

    return mean - spread * back(quantile), mean - spread * back(-quantile)


def _compute_p_value(values: Floats, freedom: float) -> float:
    n, spread = len(values), compute_spread(values)
    if spread == 0:
        return 1.0 if not values.any() else 0.0
    z, skew = float(values.mean()) / spread, float(stats.skew(values))
    straight = z + skew * z**2 / 3 + skew**2 * z**3 / 27 + skew / (6 * n)
    return float(2 * stats.t.sf(abs(straight) * n**0.5, freedom))


def _bound_few(
    values: Floats, clusters: NDArray[np.int64] | None, confidence: float, largest: float
) -> list[tuple[float, float]]:
    """Return bounds for values of which few differ from 0, or from what most are; none where many do."""
    common = float(np.median(values)) if len(values) >= FEW else 0.0
    intervals = []
    for centre in {0.0, common}:
        rest = values - centre
        rest[np.abs(rest) <= 1e-9 * np.abs(values).max()] = 0
        moved = rest != 0
        if len(np.unique(clusters[moved]) if clusters is not None else rest[moved]) < FEW:
            size = float(np.abs(rest).max()) or largest
            worth = 1.0 if clusters is None else measure_dependence(rest / (size or 1.0), clusters)
            low, high = bound_tango(
                int((rest > 0).sum()) / worth, int((rest < 0).sum()) / worth, len(rest) / worth, confidence
            )
            intervals.append((centre + low * size, centre + high * size))
    return intervals


def bound_score_mean(
    n: int, mean: float, spread: float, least: float, most: float, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return bounds of the mean that scores were drawn with, of what is known of them in sum.

    Scores from 0 to 1 have Wilson's interval, which is exact in kind for yes and no and wide for what lies
    between; others Student's t, `None` for one or for equal ones.

    Args:
        n: how many.
        mean: their mean.
        spread: their standard deviation.
        least: the smallest.
        most: the largest.
        confidence: of the bounds.
    """
    if least >= 0 and most <= 1:
        z = float(stats.norm.ppf((1 + confidence) / 2))
        middle, weight = mean + z * z / (2 * n), 1 + z * z / n
        half = z * (max(mean * (1 - mean), 0.0) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, (middle - half) / weight), min(1.0, (middle + half) / weight)
    if n < 2 or spread <= 0:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * spread / n**0.5
    return mean - half, mean + half
