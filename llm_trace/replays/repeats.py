"""A measure taken several times: its mean with bounds, to be asserted instead of one lucky value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_trace.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Repeated:
    """What several runs of a measure gave."""

    values: tuple[float, ...]
    mean: float
    low: float
    """Lower bound of the mean that further runs would have."""
    high: float
    confidence: float

    def __str__(self) -> str:
        return (
            f"{self.mean:.4g} ({self.low:.4g} to {self.high:.4g} at {self.confidence:.0%}) "
            f"over {len(self.values)} runs: {', '.join(f'{value:.4g}' for value in self.values)}"
        )


def repeat(measure: Callable[[], float], times: int = 10, *, confidence: float = 0.95) -> Repeated:
    """Take a measure several times; return its mean with bounds: Wilson's for yes/no, else for skewness.

    Args:
        measure: a score of one run; `True` and `False` count as 1 and 0.
        times: how often, at least 2.

    Raises:
        MissingExtraError: numpy and scipy are not installed.
    """
    try:
        import numpy as np
        from scipy.stats import binomtest

        from llm_trace.statistics.intervals import bound_mean
    except ModuleNotFoundError as exc:
        raise MissingExtraError("bounds need numpy and scipy: pip install 'llm-trace[statistics]'") from exc
    if times < 2:
        raise ValueError(f"times {times} is too few for bounds: at least 2")
    values = tuple(float(measure()) for _ in range(times))
    if set(values) <= {0.0, 1.0}:
        bounds = binomtest(round(sum(values)), times).proportion_ci(confidence, method="wilson")
        low, high = bounds.low, bounds.high
    else:
        interval = bound_mean(np.asarray(values), confidence=confidence)
        low, high = interval.low, interval.high
    return Repeated(values, float(np.mean(values)), float(low), float(high), confidence)
