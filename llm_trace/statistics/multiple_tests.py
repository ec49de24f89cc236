"""Many tests at once: false discovery rates."""

from __future__ import annotations

import numpy as np

from llm_trace.statistics.floats import Floats


def correct_benjamini_hochberg(p_values: Floats) -> Floats:
    """Return q-values (n,): the smallest false discovery rate at which each test counts as a finding.

    Source: Benjamini & Hochberg 1995, JRSS B 57, 289-300.
    """
    from scipy import stats  # takes half a second to import, which `import llm_trace.attribution` need not

    return np.asarray(stats.false_discovery_control(p_values), dtype=np.float64)


def correct_tested(p_values: list[float | None]) -> list[float | None]:
    """Return the q-values of those that were tested, `None` for the others."""
    q_values = iter(correct_benjamini_hochberg(np.array([p for p in p_values if p is not None])))
    return [None if p is None else float(next(q_values)) for p in p_values]


def correct_holm(p_values: Floats) -> Floats:
    """Return p-values (n,) such that a level bounds the chance of any false finding among all tests.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    order, n = np.argsort(p_values), len(p_values)
    rising = np.maximum.accumulate(p_values[order] * (n - np.arange(n)))
    corrected = np.empty(n)
    corrected[order] = np.minimum(rising, 1.0)
    return corrected
