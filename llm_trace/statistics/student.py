"""Student's t: the quantiles of bounds, and p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.statistics.floats import Floats


def compute_t_quantile(confidence: float, freedom: int) -> float:
    """Return the two-sided Student quantile, within 2 % of the exact one for 3 and more degrees of
    freedom.
    """
    from statistics import NormalDist

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    if freedom < 1:
        return float("inf")
    if freedom <= 2:  # closed forms
        p = 0.5 + confidence / 2
        return (
            float(np.tan(np.pi * (p - 0.5)))
            if freedom == 1
            else float((2 * p - 1) * np.sqrt(2 / (4 * p * (1 - p))))
        )
    g1 = (z**3 + z) / 4  # Cornish-Fisher expansion (Abramowitz & Stegun 26.7.5)
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / freedom + g2 / freedom**2 + g3 / freedom**3 + g4 / freedom**4


def compute_t_p_value(t: float, freedom: float) -> float:
    """Return the two-sided p-value of a statistic, for at least one degree of freedom."""
    return float(2 * special.stdtr(freedom, -abs(t)))


def compute_t_p_values(scores: Floats, errors: Floats, freedom: float | NDArray[np.int64]) -> Floats:
    """Return the two-sided p-values (n,) of scores with their errors; what has no error is zero or is not."""
    small = errors <= 1e-12 * max(1.0, float(np.abs(scores).max()))
    t = np.abs(scores) / np.where(small, 1.0, errors)
    return np.where(small, np.abs(scores) < 1e-12, 2 * special.stdtr(freedom, -t)).astype(np.float64)
