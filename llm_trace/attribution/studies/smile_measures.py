"""The SMILE papers' measures of finished attributions: accuracy, stability, consistency, faithfulness.

Plausibility to people (accuracy) is not faithfulness to the model: report them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.errors import AttributionError
from llm_trace.statistics.correlation import correlate

if TYPE_CHECKING:
    from llm_trace.record import Attribution


def measure_accuracy(attribution: Attribution, marked: Iterable[int]) -> float:
    """Return the area under the ROC curve of scores against marked segments, 0.5 for chance.

    Args:
        attribution: what is judged.
        marked: indices of the marked segments.

    Raises:
        AttributionError: none is marked, or all are.
    """
    from scipy import stats

    important = np.zeros(len(attribution.values), dtype=bool)
    important[list(marked)] = True
    yes, no = int(important.sum()), int((~important).sum())
    if not yes or not no:
        raise AttributionError(f"{yes} of {yes + no} segments are marked: accuracy needs some and not all")
    scores = np.array(attribution.values)
    test = stats.mannwhitneyu(scores[important], scores[~important], method="asymptotic")
    return float(test.statistic / (yes * no))


def measure_smile_stability(one: Attribution, other: Attribution, level: float = 0.05) -> float:
    """Return the Jaccard index of the significant words of two attributions, of a prompt and of its small
    edit; 1 where both have none.

    Raises:
        AttributionError: one has no q-values.
    """
    ours, theirs = (_select_significant(attribution, level) for attribution in (one, other))
    return len(ours & theirs) / len(ours | theirs) if ours | theirs else 1.0


def _select_significant(attribution: Attribution, level: float) -> set[str]:
    if attribution.q_values is None:
        raise AttributionError(
            f"method {attribution.method!r} does not test its scores: stability needs q_values, as of smile"
        )
    return {s.text for s, q in zip(attribution.segments, attribution.q_values, strict=True) if q <= level}


def measure_consistency(repeats: Sequence[Attribution]) -> tuple[float, ...]:
    """Return the variance of each segment's score over attributions of one prompt with different seeds.

    Raises:
        AttributionError: fewer than two, or of different segments.
    """
    if len(repeats) < 2 or len({r.segments for r in repeats}) > 1:
        raise AttributionError("consistency compares two attributions and more of the same segments")
    return tuple(float(v) for v in np.var([r.values for r in repeats], axis=0, ddof=1))


def measure_faithfulness(measured: Sequence[float], benchmark: Sequence[float]) -> float:
    """Return Pearson's correlation over models of a measure of attributions with benchmark accuracy.

    Raises:
        AttributionError: fewer than three models, or lists of different length.
    """
    if len(measured) != len(benchmark) or len(measured) < 3:
        raise AttributionError(
            f"faithfulness compares three models and more, not {len(measured)} with {len(benchmark)}"
        )
    return correlate(np.asarray(measured, dtype=np.float64), np.asarray(benchmark, dtype=np.float64))
