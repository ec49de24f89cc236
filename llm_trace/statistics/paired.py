"""One metric over pairs: difference, bounds, p-value, effect, and how many more pairs would settle it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from llm_trace.statistics.clusters import sum_by_cluster
from llm_trace.statistics.floats import Floats
from llm_trace.statistics.intervals import bound_mean, compute_spread
from llm_trace.statistics.scales import Scale, find_scale, is_yes_or_no
from llm_trace.statistics.signflip import sign_flip
from llm_trace.statistics.yesno import bound_tango, compute_mcnemar, compute_odds

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
    error: float
    """Standard error of the difference, 0 where the pairs do not say it."""
    moved: int
    """Pairs that differ; of dependent pairs the clusters that do."""

    def further(self, level: float) -> int | None:
        """Return how many pairs beyond these tell a difference such as this from 0 in four of five studies.

        Args:
            level: the p-value that decides, after any correction.

        Returns:
            At least 1, or `None` where the pairs have no difference or do not say how much it varies.
        """
        if self.difference == 0 or self.p_value is None or self.moved == 0:
            return None
        quantile = float(stats.norm.isf(level / 2) + stats.norm.ppf(POWER))
        by_size = self.n * (quantile * self.error / self.difference) ** 2
        # `k` flips of signs have no p-value below 2 / 2^k.
        by_count = self.n * (1 + log2(1 / level)) / self.moved
        return max(1, ceil(max(by_size, by_count) - 1e-9) - self.n)


def estimate(
    a: Floats,
    b: Floats,
    clusters: NDArray[np.int64] | None = None,
    *,
    scale: Scale | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return what paired values say.

    Args:
        a, b: (n,) values, n at least 1, none missing.
        clusters: (n,) which pairs depend on each other; `None` where none do.
        scale: between which values the metric lies; by default what `find_scale` makes of the values.
        confidence: of the bounds.
        seed: of the sign flips.
    """
    if clusters is None and is_yes_or_no(np.stack([a, b])):
        return _estimate_yes_or_no(a, b, confidence)
    scale = scale or find_scale(np.stack([a, b]))
    change = b - a
    sums = change if clusters is None else sum_by_cluster(change, clusters)
    low, high, error, p_value = None, None, 0.0, None
    if len(sums) > 1:
        largest = scale.largest_change(np.stack([a, b]))
        interval = bound_mean(change, clusters, confidence=confidence, largest=largest)
        (low, high), error = scale.cut(interval.low, interval.high), interval.error
        p_value = max(sign_flip(sums, seed=seed), interval.p_value) if np.any(sums) else None
    effect, moved = compute_cohens_d(change), int(np.count_nonzero(sums))
    return Estimate("number", len(a), *_compute_means(a, b), low, high, p_value, effect, error, moved)


def _estimate_yes_or_no(a: Floats, b: Floats, confidence: float) -> Estimate:
    gained, lost, n = int((b > a).sum()), int((b < a).sum()), len(a)
    low, high = bound_tango(gained, lost, n, confidence)
    error = float((b - a).std(ddof=1)) / n**0.5 if n > 1 else 0.0
    moved = gained + lost
    p_value, effect = (compute_mcnemar(gained, lost), compute_odds(gained, lost)) if moved else (None, None)
    return Estimate("yesno", n, *_compute_means(a, b), low, high, p_value, effect, error, moved)


def _compute_means(a: Floats, b: Floats) -> tuple[float, float, float]:
    return float(a.mean()), float(b.mean()), float(b.mean() - a.mean())


def compute_cohens_d(change: Floats) -> float | None:
    """Return the mean difference in standard deviations of the differences; `None` where they do not vary."""
    spread = compute_spread(change)
    return float(change.mean()) / spread if spread > 0 else None
