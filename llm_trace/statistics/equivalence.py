"""A paired change of shares: is there one, or is it proved to be smaller than what matters?

Equivalence is decided by two one-sided tests: the bounds at twice the level lie within the margin. Bounds and
p-values are those of `paired`: Tango's and McNemar's exact test of yes and no, else the sign-flip test.

Source: Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680; Holm 1979, Scandinavian
    Journal of Statistics 6, 65-70.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from llm_trace.statistics.floats import Floats
from llm_trace.statistics.intervals import bound_mean
from llm_trace.statistics.paired import estimate
from llm_trace.statistics.scales import Scale, is_yes_or_no
from llm_trace.statistics.yesno import bound_tango

EffectVerdict = Literal["found", "absent", "undecided"]
"""`found`: beyond chance, after correction; `absent`: proved to lie within the margin; else `undecided`."""


@dataclass(frozen=True)
class PairedChange:
    """What paired shares say of their mean change; `None` where one pair alone cannot."""

    value: float
    low: float | None
    high: float | None
    p_value: float
    """Two-sided, 1 where nothing changes."""
    equivalent_low: float | None
    """The bounds that decide equivalence: at confidence 0.95 those of 0.90."""
    equivalent_high: float | None

    def is_within(self, margin: float) -> bool:
        """Return whether the change is proved to be smaller than a margin."""
        low, high = self.equivalent_low, self.equivalent_high
        return low is not None and high is not None and -margin < low and high < margin

    def is_no_worse(self, margin: float) -> bool:
        """Return whether the mean is proved to have fallen by less than a margin, one-sided."""
        return self.equivalent_low is not None and -margin < self.equivalent_low


def measure_change(before: Floats, after: Floats, confidence: float) -> PairedChange:
    """Return the mean change of independent pairs of shares (n,), n at least 1.

    Args:
        before, after: from 0 to 1.
        confidence: of the bounds; equivalence is at the level of 1 - confidence.
    """
    scale = Scale(0.0, 1.0, fixed=True)
    pairs = estimate(before, after, scale=scale, confidence=confidence)
    p_value = 1.0 if pairs.p_value is None else pairs.p_value
    narrow = _bound_change(before, after, scale, 2 * confidence - 1)
    return PairedChange(pairs.difference, pairs.low, pairs.high, p_value, *narrow)


def _bound_change(
    before: Floats, after: Floats, scale: Scale, confidence: float
) -> tuple[float, float] | tuple[None, None]:
    both, n = np.stack([before, after]), len(before)
    if is_yes_or_no(both):
        return bound_tango(int((after > before).sum()), int((after < before).sum()), n, confidence)
    if n < 2:
        return None, None
    bounds = bound_mean(after - before, confidence=confidence, largest=scale.largest_change(both))
    return scale.cut(bounds.low, bounds.high)


def count_pairs_needed(margin: float, confidence: float) -> int:
    """Return how many pairs, none of them changed, prove that the mean falls by less than a margin."""
    low, high = 0, 1
    while bound_tango(0, 0, high, 2 * confidence - 1)[0] <= -margin:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = bound_tango(0, 0, middle, 2 * confidence - 1)[0] > -margin
        low, high = (low, middle) if enough else (middle, high)
    return high


def judge_change(*, within: bool, p_value: float, level: float) -> EffectVerdict:
    """Return the verdict; what is proved not to matter is absent, however sure it is.

    Args:
        within: whether the change is proved to be smaller than the margin.
        p_value: after correction for the tests beside it.
        level: of the test.
    """
    return "absent" if within else "found" if p_value <= level else "undecided"
