"""Is the proxy good enough? Bounds on the mean of paired differences that hold however often one looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from llm_trace.statistics.anytime import bound_least_mean, compute_wealth
from llm_trace.statistics.student import compute_t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Test = Literal["betting", "t"]
"""`betting` holds when looked at after every instance; `t` is the published test, which does not."""
LEAST_T = 5
"""Instances before the t-test looks."""


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
    return bound_least_mean(d + tau, confidence) - tau, 1.0 - bound_least_mean(1.0 - d, confidence)


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


def count_fewest_instances(best: float, tau: float, confidence: float) -> int:
    """Return how many instances it takes to accept a proxy whose every difference is the best possible."""
    won = compute_wealth(np.full(1000, best + tau), tau) >= 1 / (1 - confidence)
    return int(won.argmax()) + 1 if won.any() else 1000


def _test_student(d: NDArray[np.float64], tau: float, confidence: float) -> tuple[float, float]:
    if len(d) < LEAST_T:
        return -tau, 1.0
    half = compute_t_quantile(2 * confidence - 1, len(d) - 1) * float(d.std(ddof=1)) / len(d) ** 0.5
    return float(d.mean()) - half, float(d.mean()) + half
