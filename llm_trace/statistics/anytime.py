"""Bounds and tests that hold however often one looks, and at every moment at which one may stop.

Behind each stands a gambler who bets against the hypothesis. While it holds he cannot expect to win, so that
his wealth, the e-value, reaches 1 / alpha ever with probability alpha at most (Ville 1939).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.statistics.floats import Floats

_STAKES = np.array([0.2, 0.4, 0.6, 0.8, 0.98])
_PRIOR = _STAKES**4 / (_STAKES**4).sum()
"""Differences are small beside their range, where the boldest stake wins most."""
_HALVINGS = 40
_LARGEST_LOG = 600.0


def compute_wealth(x: Floats, mean: float) -> Floats:
    """Return the e-value against "the mean is at most `mean`" after each of k observations, (..., k).

    A gambler stakes a part of what he has on each x / mean; five stakes are played at once. For any
    distribution: only each mean, after what was seen before, counts.

    Args:
        x: (..., k), none negative.
        mean: above 0.

    Source: Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting.
    """
    gains = np.log1p(_STAKES[:, None] * (x[..., None, :] / mean - 1.0)).cumsum(axis=-1)  # (..., stakes, k)
    return np.asarray(np.einsum("s,...sk->...k", _PRIOR, np.exp(np.minimum(gains, _LARGEST_LOG))))


def bound_least_mean(x: Floats, confidence: float) -> float:
    """Return the lower bound of the mean of observations that are never negative; it holds at any time."""
    if not len(x) or not x.any():
        return 0.0
    low, high = 0.0, float(x.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        refuted = compute_wealth(x, middle)[-1] >= 1 / (1 - confidence)  # falls as the mean grows
        low, high = (middle, high) if refuted else (low, middle)
    return low


def compute_rate_evidence(
    errors: int | NDArray[np.int64], n: int | NDArray[np.int64], rate: float
) -> NDArray[np.float64]:
    """Return the e-value against "the rate of errors is at most `rate`", after n trials of which some erred.

    It is the mean likelihood of the rates above, drawn from Jeffreys' prior, over that of `rate`: no stake
    has to be chosen, and it grows about as fast as that of somebody who knew the rate. The trials need not be
    independent: only each rate, after what was seen before, counts. "At least `rate`" is tested by the
    successes: `compute_rate_evidence(n - errors, n, 1 - rate)`.

    Args:
        errors, n: counts after the same trials, numbers or arrays of one shape.
        rate: above 0 and below 1.

    Source: Robbins 1970, Statistical methods related to the law of the iterated logarithm, Annals of
        Mathematical Statistics 41, 1397-1409 (mixtures); one-sided here by cutting the prior.
    """
    from scipy import special

    s, f = np.asarray(errors, dtype=float), np.asarray(n, dtype=float) - np.asarray(errors, dtype=float)
    a, b = s + 0.5, f + 0.5
    with np.errstate(divide="ignore"):
        tail = np.log(special.betaincc(a, b, rate)) - np.log(special.betaincc(0.5, 0.5, rate))
    log_value = (
        special.betaln(a, b) - special.betaln(0.5, 0.5) + tail - s * np.log(rate) - f * np.log1p(-rate)
    )
    return np.asarray(np.exp(np.minimum(log_value, _LARGEST_LOG)))


def is_rate_above(errors: int, n: int, rate: float, confidence: float) -> bool:
    """Whether a rate is shown to be above another, at any time."""
    return bool(compute_rate_evidence(errors, n, rate) >= 1 / (1 - confidence))


def upper_bound_of_rate(errors: int, n: int, confidence: float = 0.95) -> float:
    """Return the upper bound of the rate of errors that holds after every number of trials at once, 1 after
    none.
    """
    if errors >= n:
        return 1.0
    low, high = errors / n, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        refuted = is_rate_above(n - errors, n, 1 - middle, confidence)
        low, high = (low, middle) if refuted else (middle, high)
    return high


def lower_bound_of_rate(errors: int, n: int, confidence: float = 0.95) -> float:
    """Return the lower bound of the rate of errors that holds after every number of trials at once, 0 after
    none.
    """
    return 1.0 - upper_bound_of_rate(n - errors, n, confidence)
