"""Paired yes/no outcomes: how many pairs turned to yes, how many to no, and what that says of the shares."""

from __future__ import annotations

from math import sqrt

from scipy import stats
from scipy.optimize import brentq

LOOSE = 1e-9


def bound_tango(gained: float, lost: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of the difference of two paired shares, also with few discordant pairs.

    Args:
        gained: pairs with no before and yes after.
        lost: pairs with yes before and no after.
        n: all pairs, at least 1; fewer than there are where pairs depend on each other.

    Source: Tango 1998, Statistics in Medicine 17, 891-908.
    """
    z = float(stats.norm.ppf((1 + confidence) / 2))
    here = (gained - lost) / n

    def score(delta: float) -> float:
        return _compute_statistic(gained, lost, n, delta)

    low = -1.0 if score(-1 + LOOSE) < z else brentq(lambda d: score(d) - z, -1 + LOOSE, here)
    high = 1.0 if score(1 - LOOSE) > -z else brentq(lambda d: score(d) + z, here, 1 - LOOSE)
    return float(low), float(high)


def _compute_statistic(gained: float, lost: float, n: float, delta: float) -> float:
    """Return the standardised distance of the difference from `delta`, the other share estimated under it."""
    linear = -gained - lost + (2 * n - gained + lost) * delta
    constant = -lost * delta * (1 - delta)
    falling = (sqrt(max(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
    variance = n * (2 * falling + delta * (1 - delta))
    distance = gained - lost - n * delta
    if variance <= 0:
        return 0.0 if abs(distance) < LOOSE else distance * float("inf")
    return float(distance / sqrt(variance))


def compute_mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p-value that gains and losses are equally likely."""
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue)


def compute_odds(gained: int, lost: int) -> float:
    """Return how many pairs turn to yes for each that turns to no, with half a pair added to both."""
    return (gained + 0.5) / (lost + 0.5)
