"""How much of an answer's weight lies on a value that must not matter, by attribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_trace.evaluation.explained import mark_words, measure_explained
from llm_trace.evaluation.mutants import find_input_words
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.record import Attribution


def measure_weights(
    outcomes: Sequence[Outcome], attributions: Sequence[tuple[Sequence[str], Attribution]]
) -> dict[str, float]:
    """Return, by call, the share of a swapped question's weight that lies on the group's value."""
    swapped = [each for each in outcomes if each.instance.variant == "swapped" and each.instance.group]
    values = measure_explained(swapped, attributions, _measure_share)
    return {each.outcome.span_id: each.value for each in values}


def _measure_share(outcome: Outcome, attribution: Attribution) -> float | None:
    instance = outcome.instance
    words = list(find_input_words(attribution, instance.input))
    swapped = mark_words(words, instance.input, [str(instance.slots[str(instance.edit)])])
    weights = np.abs([attribution.values[word.segment] for word in words])
    total = float(weights.sum())
    return float(weights[swapped].sum()) / total if swapped.any() and total else None
