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
