"""How far two raters of the same things agree.

Kappa is weighted by squared differences: of yes and no it is Cohen's kappa, of numbers Lin's concordance.
Its bounds join those of drawing the pairs anew with Student's t of the squared differences and, where few or
none were seen, with a bound of their share times their size (`benchmarks/evaluation.py` measures them).

Source: Cohen 1968, Psychological Bulletin 70, 213-220; Lin 1989, Biometrics 45, 255-268.
"""

from __future__ import annotations

import numpy as np

from llm_trace.statistics.correlation import bootstrap
from llm_trace.statistics.floats import Floats
from llm_trace.statistics.intervals import FEW
from llm_trace.statistics.student import compute_t_quantile
from llm_trace.statistics.yesno import bound_tango

ROUNDS = 1_000
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
    by_chance = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    if by_chance <= _TINY:
        return -1.0, 1.0
    low, high = bootstrap(compute_kappa, a, b, confidence=confidence, seed=seed, rounds=ROUNDS)
    apart, n = (a - b) ** 2, len(a)
    most = float(apart.mean()) + compute_t_quantile(confidence, n - 1) * float(apart.std(ddof=1)) / n**0.5
    wrong = int((apart > 0).sum())
    if wrong < FEW:
        share = bound_tango(wrong, 0, n, confidence)[1]
        # one that was not seen is taken to be as large as by chance
        size = max(float(apart.max()), by_chance) if wrong else largest**2
        most = max(most, share * size)
    return max(-1.0, min(low, 1 - most / by_chance)), high
