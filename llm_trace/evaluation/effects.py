"""Effects on a score: found, certified absent within a margin, or undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llm_trace.call_parts import Record
from llm_trace.statistics.equivalence import EffectVerdict, PairedChange, judge_change, measure_change
from llm_trace.statistics.multiple_tests import correct_holm


class Effect(Record):
    """By how much a change of the question changes a score, of independent pairs."""

    name: str
    n: int
    """Pairs."""
    value: float
    """Mean change of the score."""
    low: float | None
    high: float | None
    p_value: float
    """Two-sided, that nothing changes: exact, or by flips of signs."""
    corrected_p: float
    """After Holm's correction for the tests beside it."""
    margin: float
    """The change that would not matter."""
    equivalent_low: float | None
    """The bounds that decide whether it is absent: at confidence 0.95 those of 0.90."""
    equivalent_high: float | None
    verdict: EffectVerdict


def build_effects(
    pairs: Mapping[str, Sequence[tuple[float, float]]], *, confidence: float, margin: float
) -> tuple[Effect, ...]:
    """Return the effects of scores from 0 to 1 before and after, those without pairs left out."""
    changes: dict[str, PairedChange] = {}
    for name, values in pairs.items():
        if values:
            before, after = np.array(values, dtype=np.float64).T
            changes[name] = measure_change(before, after, confidence)
    corrected = correct_holm(np.array([change.p_value for change in changes.values()]))
    return tuple(
        Effect(
            name=name, n=len(pairs[name]), value=change.value, low=change.low, high=change.high,
            p_value=change.p_value, corrected_p=float(p_value), margin=margin,
            equivalent_low=change.equivalent_low, equivalent_high=change.equivalent_high,
            verdict=judge_change(
                within=change.is_within(margin), p_value=float(p_value), level=1 - confidence
            ),
        )
        for (name, change), p_value in zip(changes.items(), corrected, strict=True)
    )  # fmt: skip
