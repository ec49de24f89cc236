"""Is the proxy good enough? Bounds on the mean of paired differences that hold however often one looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from llm_trace.statistics.student import compute_t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Test = Literal["betting", "t"]
"""`betting` holds when looked at after every instance; `t` is the published test, which does not."""
_STAKES = np.array([0.2, 0.4, 0.6, 0.8, 0.98])
_PRIOR = _STAKES**4 / (_STAKES**4).sum()
"""Differences are small beside their range, where the boldest stake wins most."""
LEAST_T = 5
"""Instances before the t-test looks."""
_HALVINGS = 40


def compute_wealth(x: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Return the e-value against "the mean is at most `mean`" after each of k observations, (..., k).

    A gambler who stakes a part of what he has on each x / mean cannot expect to win while that holds, so that
    he reaches 1 / alpha ever with probability alpha at most: for any distribution, at any time (Ville). Five
    stakes are played at once.

    Args:
        x: (..., k), none negative.
        mean: above 0.

    Source: Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting.
    """
    gains = np.log1p(_STAKES[:, None] * (x[..., None, :] / mean - 1.0)).cumsum(axis=-1)  # (..., stakes, k)
    return np.asarray(np.einsum("s,...sk->...k", _PRIOR, np.exp(np.minimum(gains, 600.0))))


def compute_bounds(
    differences: Sequence[float], tau: float, confidence: float, test: Test = "betting"
) -> tuple[float, float]:
    """Return lower and upper bound of the mean difference, each of which is right with this confidence.

    Args:
        differences: quality of the proxy less tau times that of the oracle, -tau to 1.
        tau: 0 to 1.
        confidence: of each bound alone.
        test: how.
    """
    d = np.array(differences, dtype=float)
    if test == "t":
        return _test_student(d, tau, confidence)
    return _find_least_mean(d + tau, confidence) - tau, 1.0 - _find_least_mean(1.0 - d, confidence)


def find_decision(differences: Sequence[float], tau: float, confidence: float, test: Test = "betting") -> int:
    """Return after how many instances the mean was first shown to be above zero, minus that number where
    it was below, 0 where neither.
    """
    d = np.array(differences, dtype=float)
    if test == "t":
        ends = [_test_student(d[:k], tau, confidence) for k in range(1, len(d) + 1)]
        above, below = np.array([low > 0 for low, _ in ends]), np.array([high < 0 for _, high in ends])
    else:
        above, below = (
            e >= 1 / (1 - confidence) for e in (compute_wealth(d + tau, tau), compute_wealth(1.0 - d, 1.0))
        )
    looks = np.flatnonzero(above | below)
    return 0 if not len(looks) else int(looks[0] + 1) * (1 if above[looks[0]] else -1)


def is_overturned(differences: Sequence[float], tau: float) -> bool:
    """Whether nothing is left of the evidence that the mean is above zero: its e-value is below 1."""
    return bool(compute_wealth(np.array(differences, dtype=float) + tau, tau)[-1] < 1)


def exceeds(hits: int, of: int, share: float, confidence: float) -> bool:
    """Whether a probability is shown to be above a share, at any time."""
    return bool(compute_wealth(np.repeat([1.0, 0.0], [hits, of - hits]), share)[-1] >= 1 / (1 - confidence))


def bound_share(hits: int, of: int, confidence: float) -> float:
    """Return the upper bound of a probability that holds at any time."""
    return 1.0 - _find_least_mean(np.repeat([0.0, 1.0], [hits, of - hits]), confidence)


def count_fewest_instances(best: float, tau: float, confidence: float) -> int:
    """Return how many instances it takes to accept a proxy whose every difference is the best possible."""
    won = compute_wealth(np.full(1000, best + tau), tau) >= 1 / (1 - confidence)
    return int(won.argmax()) + 1 if won.any() else 1000


def _find_least_mean(x: NDArray[np.float64], confidence: float) -> float:
    """Return the smallest mean that observations do not refute; the e-value falls as the mean grows."""
    if not len(x) or not x.any():
        return 0.0
    low, high = 0.0, float(x.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        refuted = compute_wealth(x, middle)[-1] >= 1 / (1 - confidence)
        low, high = (middle, high) if refuted else (low, middle)
    return low


def _test_student(d: NDArray[np.float64], tau: float, confidence: float) -> tuple[float, float]:
    if len(d) < LEAST_T:
        return -tau, 1.0
    half = compute_t_quantile(2 * confidence - 1, len(d) - 1) * float(d.std(ddof=1)) / len(d) ** 0.5
    return float(d.mean()) - half, float(d.mean()) + half
