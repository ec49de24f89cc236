"""Values that only one side has: what a failed call is worth, and bounds whatever the missing value is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.statistics.paired import Estimate, estimate
from llm_trace.statistics.scales import Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from llm_trace.comparison.facts import Fact
    from llm_trace.comparison.records import Better
    from llm_trace.statistics.floats import Floats


@dataclass(frozen=True)
class Failures:
    """Calls that failed before they had a score, and what they count as."""

    calls: tuple[int, int]
    """In a and in b."""
    value: float


def count_failures(
    values: Floats, calls: Sequence[Fact], group: NDArray[np.int64], scale: Scale, better: Better | None
) -> tuple[Floats, Failures]:
    """Return a score's values (calls,) with the worst of its scale for each call that failed, where its pair
    has the score at all.

    The worst is the least where higher is better or nothing is.
    """
    worst = scale.most if better == "lower" else scale.least
    failed = np.array([call.status == "error" for call in calls], dtype=bool) & np.isnan(values)
    failed &= np.isin(group // 2, group[~np.isnan(values)] // 2)
    counts = np.bincount(group[failed] % 2, minlength=2)
    return np.where(failed, worst, values), Failures((int(counts[0]), int(counts[1])), worst)


def allow_for_missing(
    measured: Estimate,
    values: Floats,
    scale: Scale,
    *,
    clusters: NDArray[np.int64] | None = None,
    unfinished: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return an estimate with bounds that hold whatever the missing values are.

    Args:
        found: of the pairs that have both values.
        values: (2, n) of pairs that have at least one, NaN where the other is missing.
        scale: between which values the missing ones lie.
        clusters: (n,) or `None`, as `estimate` takes them.
        unfinished: further pairs, without a value at all.
    """
    if not (np.isnan(values).any() or unfinished):
        return measured
    every = np.concatenate([values, np.full((2, unfinished), np.nan)], axis=1)
    if clusters is not None:
        clusters = np.concatenate([clusters, clusters.max() + 1 + np.arange(unfinished)])
    against = np.array([[scale.most], [scale.least]])
    bounds = [measured.low, measured.high]
    for fill in (against, against[::-1]):
        a, b = np.where(np.isnan(every), fill, every)
        could = estimate(a, b, clusters, scale=scale, confidence=confidence, seed=seed)
        bounds += [could.low, could.high]
    known = [bound for bound in bounds if bound is not None]
    return replace(measured, low=min(known, default=None), high=max(known, default=None))
