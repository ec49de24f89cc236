"""Whether words stand out among prompts of the same length too, or the answers follow the length alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Value, unwrap_value
from llm_trace.attribution.methods import randomization_tests
from llm_trace.statistics.multiple_tests import correct_benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from llm_trace.attribution.methods.registry import Scores


def measure_lengths(value: Value, masks: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the lengths that masks leave, (k,) each: in characters, where known, and in segments."""
    source: Any = unwrap_value(value)
    if not hasattr(source, "prompts"):
        return []
    prompts = source.prompts
    characters = np.array([len(s.text) for s in prompts.segmented.segments], float)
    return [masks @ characters, masks.sum(axis=1).astype(float)]


def check_length_dependence(
    scores: Scores,
    values: NDArray[np.float64],
    lengths: list[NDArray[np.float64]],
    level: float,
    retest: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Scores:
    """Return the scores, doubted where no segment stands out among prompts of about one length.

    Args:
        scores: with p-values.
        values: (k,)
        lengths: (k,) each, from `measure_lengths`.
        level: of the false discovery rate.
        retest: p-values (n,) of what a length leaves of the values.
    """
    first = scores.p_values
    assert first is not None
    if len(first) == 1 or correct_benjamini_hochberg(first).min() > level:  # one segment alone is the length
        return scores
    for length in lengths:
        again = np.maximum(first, retest(randomization_tests.remove_length_trend(values, length)))
        if correct_benjamini_hochberg(again).min() > level:
            why = (
                "no segment stands out among prompts of about the same length: the answers follow the "
                "prompt's length, not its words"
            )
            return replace(scores, p_values=again, doubts=(*scores.doubts, ("length_dependent", why)))
    return scores
