"""How often something happens, with exact bounds."""

from __future__ import annotations

from llm_trace.record import Record


class BoundedRate(Record):
    """A share of things that were counted one by one."""

    count: int
    of: int
    value: float | None
    """`None` where there was nothing to count."""
    low: float
    high: float


def bound_rate(count: int, of: int, confidence: float = 0.95) -> BoundedRate:
    """Return a share with the bounds of Clopper and Pearson; of nothing they are 0 and 1.

    Args:
        count: how often it happened.
        of: how often it could have.
        confidence: of the bounds.

    Source: Clopper & Pearson 1934, Biometrika 26, 404-413.
    """
    if of == 0:
        return BoundedRate(count=0, of=0, value=None, low=0.0, high=1.0)
    from scipy import stats

    bounds = stats.binomtest(count, of).proportion_ci(confidence, method="exact")
    return BoundedRate(count=count, of=of, value=count / of, low=float(bounds.low), high=float(bounds.high))
