"""Between which values a metric can lie, as far as that is known: what a failure is worth, and how large a
difference that nobody saw may be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scale:
    """The least and the largest value that a metric can have."""

    least: float
    most: float
    fixed: bool = False
    """Whether it is known rather than taken from what was seen."""

    def largest_change(self, values: NDArray[np.float64]) -> float:
        """Return by how much one of the values (any shape) may change."""
        return max(self.most - float(values.min()), float(values.max()) - self.least)

    def cut(self, low: float, high: float) -> tuple[float, float]:
        """Return bounds of a difference without what a fixed scale makes impossible."""
        span = self.most - self.least if self.fixed else np.inf
        return max(low, -span), min(high, span)


def find_scale(values: NDArray[np.float64], *, share: bool = False) -> Scale:
    """Return the scale of values (any shape), none missing: 0 to 1 for yes/no, else what was seen.

    A value that is always the same, as where every answer is rated 5, may fall to 0 or rise as far.

    Args:
        share: whether values that all lie between 0 and 1 are shares or grades of 1, as scores are.
    """
    least, most = float(values.min()), float(values.max())
    if is_yes_or_no(values) or (share and least >= 0 and most <= 1):
        return Scale(0.0, 1.0, fixed=True)
    return Scale(least, most) if least < most else Scale(least - abs(least), most + abs(most))


def is_yes_or_no(values: NDArray[np.float64]) -> bool:
    """Return whether all values are 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())
