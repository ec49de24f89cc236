"""Bounds of a mean difference that hold on small and on skewed samples.

Three intervals are joined. Student's t is right for symmetric differences, Hall's transformation of it for skewed ones: it agrees with the
studentised bootstrap to second order and, measured (`benchmarks/comparison.py`), in coverage, without drawing. Where few pairs differ at all,
both are too narrow, since what was not seen has no variance: Tango's interval for the share that rose less the share that fell steps in,
times the largest difference.

Source: Hall 1992, On the removal of skewness by transformation, JRSS B 54, 221-228.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from llm_trace.comparison.statistics.yesno import tango

Floats = NDArray[np.float64]
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


def mean_interval(values: Floats, *, confidence: float = 0.95, largest: float = 0.0) -> Interval:
    """Return bounds of the mean that independent values were drawn with.

    Args:
        values: (n,) differences, n at least 2.
        confidence: of the bounds.
        largest: a size of difference that must be thought possible although no pair shows it.
    """
    n, mean = len(values), float(values.mean())
    error = spread_of(values) / n**0.5
    quantile = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    found = [(mean - quantile * error, mean + quantile * error), _hall(values, quantile)]
    if np.count_nonzero(values) < FEW:
        found.append(_few(values, confidence, largest))
    bounds = min(low for low, _ in found), max(high for _, high in found)
    return Interval(*bounds, error, _p_value(values))


def spread_of(values: Floats) -> float:
    """Return the standard deviation, 0 where the values differ by no more than rounding."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return spread if spread > 1e-9 * float(np.abs(values).max()) else 0.0


def _hall(values: Floats, quantile: float) -> tuple[float, float]:
    """Return bounds by the cubic transformation that takes the skewness out of Student's t."""
    n, mean, spread = len(values), float(values.mean()), spread_of(values)
    if spread == 0:
        return mean, mean
    skew = float(stats.skew(values))

    def back(t: float) -> float:
        z = t / n**0.5 - skew / (6 * n)
        return z if abs(skew) < 1e-8 else (float(np.cbrt(1 + skew * z)) - 1) * 3 / skew

    return mean - spread * back(quantile), mean - spread * back(-quantile)


def _p_value(values: Floats) -> float:
    n, spread = len(values), spread_of(values)
    if spread == 0:
        return 1.0 if not values.any() else 0.0
    z, skew = float(values.mean()) / spread, float(stats.skew(values))
    straight = z + skew * z**2 / 3 + skew**2 * z**3 / 27 + skew / (6 * n)
    return float(2 * stats.t.sf(abs(straight) * n**0.5, n - 1))


def _few(values: Floats, confidence: float, largest: float) -> tuple[float, float]:
    rose, fell = int((values > 0).sum()), int((values < 0).sum())
    low, high = tango(rose, fell, len(values), confidence)
    size = max(float(np.abs(values).max()), largest if rose + fell == 0 else 0.0)
    return low * size, high * size
