"""Student's t: the quantiles of bounds, and p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.statistics.floats import Floats


def compute_t_quantile(confidence: float, freedom: float) -> float:
    """Return the quantile of two-sided bounds, for at least one degree of freedom."""
    return float(special.stdtrit(freedom, 0.5 + confidence / 2))


def compute_t_p_value(t: float, freedom: float) -> float:
    """Return the two-sided p-value of a statistic, for at least one degree of freedom."""
    return float(2 * special.stdtr(freedom, -abs(t)))


def compute_t_p_values(scores: Floats, errors: Floats, freedom: float | NDArray[np.int64]) -> Floats:
    """Return the two-sided p-values (n,) of scores with their errors; what has no error is zero or is not."""
    small = errors <= 1e-12 * max(1.0, float(np.abs(scores).max()))
    t = np.abs(scores) / np.where(small, 1.0, errors)
    return np.where(small, np.abs(scores) < 1e-12, 2 * special.stdtr(freedom, -t)).astype(np.float64)
