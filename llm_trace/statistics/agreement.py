"""How far two raters of the same things agree.

Kappa is weighted by squared differences: of yes and no it is Cohen's kappa, of numbers Lin's concordance.
Disagreements of which none or few were seen have no variance to draw from: a bound of their share steps in.

Source: Cohen 1968, Psychological Bulletin 70, 213-220; Lin 1989, Biometrics 45, 255-268; Clopper & Pearson
    1934, Biometrika 26, 404-413.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from llm_trace.statistics.correlation import bootstrap
from llm_trace.statistics.floats import Floats
from llm_trace.statistics.intervals import FEW

ROUNDS = 2_000
_TINY = 1e-300


def compute_kappa(a: Floats, b: Floats) -> Floats:
    """Return kappa with squared weights along the last axis of two arrays (..., n), shape (...).

    It is 1 where both always say the same, 0 where they agree as by chance.
    """
    apart = ((a - b) ** 2).mean(axis=-1)
    by_chance = a.var(axis=-1) + b.var(axis=-1) + (a.mean(axis=-1) - b.mean(axis=-1)) ** 2
    return np.asarray(np.where(by_chance > _TINY, 1.0 - apart / np.maximum(by_chance, _TINY), 1.0))


def bound_kappa(
    a: Floats, b: Floats, *, confidence: float, largest: float, seed: int = 0
) -> tuple[float, float]:
    """Return bounds of kappa for n >= 2 pairs, by drawing the pairs anew.

    Args:
        a, b: (n,) ratings of the same things.
        confidence: of the bounds.
        largest: by how much two ratings can differ.
        seed: of the draws.
    """
    low, high = bootstrap(compute_kappa, a, b, confidence=confidence, seed=seed, rounds=ROUNDS)
    apart = (a - b) ** 2
    wrong, n = int((apart > 0).sum()), len(a)
    by_chance = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    if wrong >= FEW:
        return low, high
    if by_chance <= _TINY:
        return -1.0, 1.0
    size = float(apart[apart > 0].mean()) if wrong else largest**2
    share = float(stats.binomtest(wrong, n).proportion_ci(confidence, method="exact").high)
    return max(-1.0, min(low, 1 - share * size / by_chance)), high
