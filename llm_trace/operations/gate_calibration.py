"""Up to which estimated chance of an error calls may run alone: learn-then-test on calls held out for it.

Candidates are fixed on calls that the tests do not see, and tested one after the other on held-out ones, from
the safest to the most daring, each by the exact binomial test that the error rate among what it automates is
too high. The first that is not rejected ends the sequence, so that the chance of going too far is at most
1 - confidence, whatever the signals are worth and however few the calls.

Source: Angelopoulos, Bates, Candès, Jordan & Lei 2025, Learn then test, Annals of Applied Statistics 19
    (fixed-sequence testing, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from llm_trace.statistics.floats import Floats

_CANDIDATES = 80


@dataclass(frozen=True)
class GateCalibration:
    """What the tests said."""

    limit: float | None
    """The highest estimated chance that may run alone, `None` where no candidate was shown to be safe."""
    automated: int
    """Held-out calls at or below the limit, or below that of the first candidate."""
    errors: int
    """Wrong ones among these."""
    p_value: float


def calibrate_limit(
    fitted: tuple[Floats, Floats], held_out: tuple[Floats, Floats], error: float, confidence: float
) -> GateCalibration:
    """Return the highest limit at which the error rate among the automated is shown to be at most `error`.

    Args:
        fitted: estimated chances of the calls that the candidates are chosen on, and which are wrong.
        held_out: the same of calls that had no part in the model or the choice.
        error: the rate.
        confidence: of the statement.
    """
    from scipy.special import bdtr

    chances, wrong = held_out
    last: GateCalibration | None = None
    for limit in list_thresholds(*fitted, len(chances), error, confidence):
        inside = chances <= limit
        n, k = int(inside.sum()), int(wrong[inside].sum())
        p_value = float(bdtr(k, n, error)) if n else 1.0
        if p_value > 1 - confidence:
            return last or GateCalibration(None, n, k, p_value)
        last = GateCalibration(limit, n, k, p_value)
    return last or GateCalibration(None, 0, 0, 1.0)


def list_thresholds(
    chances: Floats, wrong: Floats, held_out: int, error: float, confidence: float
) -> list[float]:
    """Return limits in the order of their tests: first the one that is most likely shown to be safe, then
    ever higher ones.
    """
    order = np.argsort(chances, kind="stable")
    errors = wrong[order].cumsum()
    counts = np.unique(np.linspace(1, len(order), min(_CANDIDATES, len(order))).round().astype(int))
    powers = [
        _compute_power(int(m), float(errors[m - 1]), len(order), held_out, error, confidence) for m in counts
    ]
    first = int(np.argmax(powers))
    limits = [float(chances[order[m - 1]]) for m in counts[first:]]
    return list(dict.fromkeys(limits))


def _compute_power(m: int, errors: float, of: int, held_out: int, error: float, confidence: float) -> float:
    """Return how likely the test rejects where the m of `of` calls with the lowest chances are automated."""
    from scipy.special import bdtr

    n = round(held_out * m / of)
    refusing = bdtr(np.arange(int(np.ceil(n * error)) + 1), n, error) <= 1 - confidence
    allowed = int(refusing.sum()) - 1  # most errors with which the test rejects
    return float(bdtr(allowed, n, (errors + 1) / (m + 2))) if allowed >= 0 else 0.0
