"""One metric over pairs: difference, bounds, p-value, effect, and how many more pairs would settle it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from llm_trace.comparison.statistics.intervals import Floats, Interval, mean_interval, spread_of
from llm_trace.comparison.statistics.signflip import sign_flip
from llm_trace.comparison.statistics.yesno import mcnemar, odds, tango

if TYPE_CHECKING:
    from numpy.typing import NDArray

POWER = 0.8
"""Chance of settling that the further pairs are reckoned for."""


@dataclass(frozen=True)
class Estimate:
    """What the pairs say; fields that one pair alone cannot give are `None`."""

    kind: Literal["yesno", "number"]
    n: int
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    """`None` where no pair differs: there is nothing to test."""
    effect: float | None
    """Odds of a gain against a loss for yes/no, else Cohen's d of the paired differences."""
    further: int | None
    """Pairs to add for an even chance of four to one that a difference such as this is told from 0; `None` where there is none."""


def estimate(
    a: Floats,
    b: Floats,
    clusters: NDArray[np.int64] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return what paired values say.

    Args:
        a, b: (n,) values, n at least 1, none missing.
        clusters: (n,) which pairs depend on each other; `None` where none do.
        confidence: of the bounds.
        seed: of the sign flips.
    """
    if clusters is None and _yes_or_no(a) and _yes_or_no(b):
        return _yesno(a, b, confidence)
    change = b - a
    sums, spread = (change, change) if clusters is None else _by_cluster(change, clusters)
    bounds: Interval | None = None
    p_value: float | None = None
    if len(sums) > 1:
        largest = float(np.ptp(np.concatenate([a, b])))
        bounds = mean_interval(spread, confidence=confidence, largest=largest)
        p_value = max(sign_flip(sums, seed=seed), bounds.p_value) if np.any(sums) else None
    told = (bounds.low, bounds.high, bounds.error) if bounds else None
    return _estimate("number", a, b, told, p_value, cohens_d(change), confidence)


def _yesno(a: Floats, b: Floats, confidence: float) -> Estimate:
    gained, lost, n = int((b > a).sum()), int((b < a).sum()), len(a)
    low, high = tango(gained, lost, n, confidence)
    error = float((b - a).std(ddof=1)) / n**0.5 if n > 1 else 0.0
    effect = odds(gained, lost) if gained + lost else None
    p_value = mcnemar(gained, lost) if gained + lost else None
    return _estimate("yesno", a, b, (low, high, error), p_value, effect, confidence)


def _estimate(
    kind: Literal["yesno", "number"],
    a: Floats,
    b: Floats,
    bounds: tuple[float, float, float] | None,
    p_value: float | None,
    effect: float | None,
    confidence: float,
) -> Estimate:
    difference = float(b.mean() - a.mean())
    low, high, error = bounds or (None, None, 0.0)
    further = further_pairs(len(a), difference, error, confidence)
    return Estimate(
        kind, len(a), float(a.mean()), float(b.mean()), difference, low, high, p_value, effect, further
    )


def _yes_or_no(values: Floats) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _by_cluster(change: Floats, clusters: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return each cluster's sum, and values with the spread of the mean over pairs when whole clusters are drawn."""
    _, inverse = np.unique(clusters, return_inverse=True)
    sums: Floats = np.bincount(inverse, change).astype(np.float64)
    sizes = np.bincount(inverse)
    mean, share = float(change.mean()), len(sums) / len(change)
    return sums, mean + (sums - mean * sizes) * share


def cohens_d(change: Floats) -> float | None:
    """Return the mean difference in standard deviations of the differences; `None` where they do not vary."""
    spread = spread_of(change)
    return float(change.mean()) / spread if spread > 0 else None


def further_pairs(n: int, difference: float, error: float, confidence: float) -> int | None:
    """Return how many pairs beyond n tell a difference such as this from 0 in four of five studies."""
    if difference == 0 or error == 0:
        return None
    quantile = float(stats.norm.ppf((1 + confidence) / 2) + stats.norm.ppf(POWER))
    return max(0, ceil(n * (quantile * error / difference) ** 2) - n)


def with_false_discovery_control(p_values: list[float | None]) -> list[float | None]:
    """Return q-values of those that were tested (Benjamini & Hochberg 1995)."""
    tested = [p for p in p_values if p is not None]
    if not tested:
        return list(p_values)
    adjusted = iter(stats.false_discovery_control(tested))
    return [None if p is None else float(next(adjusted)) for p in p_values]
