"""Means of one sample and of two independent ones, with bounds; repeats of one thing are one cluster.

Bounds: where each cluster is a yes or a no, Wilson's; else those of `intervals`. Of a difference, the
distances from each mean to its own bounds are joined, so that bounds that are not symmetric stay so.
Equivalence is decided by two one-sided tests: the bounds at twice the level.

Source: Wilson 1927, JASA 22, 209-212; Zou & Donner 2008, Statistics in Medicine 27, 1693-1702; Schuirmann
    1987, Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from llm_trace.statistics.clusters import compute_pseudovalues
from llm_trace.statistics.floats import Floats
from llm_trace.statistics.intervals import bound_mean
from llm_trace.statistics.scales import is_yes_or_no

LEAST_P = 1e-6
"""Below which a p-value is not told apart."""


@dataclass(frozen=True)
class ClusteredSample:
    """Values (n,), n at least 1, and which depend on each other."""

    values: Floats
    clusters: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Clusters: how many independent things were looked at."""
        return len(np.unique(self.clusters))


@dataclass(frozen=True)
class Mean:
    """A mean with bounds; `None` where a single cluster cannot give any."""

    value: float
    low: float | None
    high: float | None


def bound_sample(sample: ClusteredSample, confidence: float, *, share: bool = True) -> Mean:
    """Return the mean of a sample with bounds.

    What each cluster adds to the mean is one value: clusters that are all alike were seen that often only.

    Args:
        sample: what was seen.
        confidence: of the bounds.
        share: the values lie between 0 and 1 by their nature: so do the bounds.
    """
    value = float(sample.values.mean())
    if sample.count < 2:
        return Mean(value, None, None)
    units = compute_pseudovalues(sample.values, sample.clusters)
    if share and is_yes_or_no(units):
        wilson = stats.binomtest(int(units.sum()), len(units)).proportion_ci(confidence, method="wilson")
        return Mean(value, float(wilson.low), float(wilson.high))
    bounds = bound_mean(units, confidence=confidence, largest=1.0 if share else 0.0)
    low, high = bounds.low, bounds.high
    return Mean(value, max(low, 0.0), min(high, 1.0)) if share else Mean(value, low, high)


def bound_difference(
    a: ClusteredSample, b: ClusteredSample, confidence: float, *, share: bool = True
) -> Mean:
    """Return the mean of a less that of b, with bounds at a confidence; `share` as for `bound_sample`."""
    one, other = (bound_sample(sample, confidence, share=share) for sample in (a, b))
    value = one.value - other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Mean(value, None, None)
    low = value - hypot(one.value - one.low, other.high - other.value)
    return Mean(value, low, value + hypot(one.high - one.value, other.value - other.low))


def compare_means(a: ClusteredSample, b: ClusteredSample) -> float | None:
    """Return the two-sided p-value that two shares are equal: 1 less the confidence at which the bounds of
    their difference reach 0, at least 1e-6; `None` where there are no bounds.
    """
    least, most = 0.0, 1 - LEAST_P
    if bound_difference(a, b, 0.5).low is None:
        return None
    if not _excludes_zero(a, b, most):
        for _ in range(22):
            middle = (least + most) / 2
            least, most = (middle, most) if _excludes_zero(a, b, middle) else (least, middle)
    return round(1 - most, 6)


def _excludes_zero(a: ClusteredSample, b: ClusteredSample, confidence: float) -> bool:
    bounds = bound_difference(a, b, confidence)
    return bounds.low is not None and bounds.high is not None and (bounds.low > 0 or bounds.high < 0)
