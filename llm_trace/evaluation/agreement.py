"""Whether attributions rank the words first that a scenario knows to be decisive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scipy import stats

from llm_trace.evaluation.dimensions import Dimension, ScoreTable, measure_parts
from llm_trace.evaluation.explained import mark_words, measure_explained
from llm_trace.evaluation.mutants import find_input_words
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.record import Attribution

NAME = "attribution"


def build_agreement(
    outcomes: Sequence[Outcome],
    attributions: Sequence[tuple[Sequence[str], Attribution]],
    confidence: float,
) -> tuple[Dimension, ...]:
    """Return the agreement over explained answers to fresh questions whose decisive words are known; empty
    where there are none.

    Of one answer it is the share of pairs of a decisive segment and another one of the input in which the
    decisive one has the larger effect, for or against the answer (ties count half): the area under the ROC
    curve, 0.5 by chance. The newest attribution that is evidence counts.
    """
    fresh = [each for each in outcomes if each.instance.decisive and each.instance.variant == "fresh"]
    values = tuple(
        measure_explained(
            fresh,
            attributions,
            lambda each, shown: measure_agreement(shown, each.instance.input, each.instance.decisive),
        )
    )
    table = ScoreTable(NAME, values, is_share=True)
    return tuple(measure_parts(table, "agreement", values, confidence)) if values else ()


def measure_agreement(
    attribution: Attribution, arguments: Mapping[str, Any], decisive: Iterable[str]
) -> float | None:
    """Return the area under the ROC curve of finding decisive words of an input by the size of their effect;
    `None` where no segment of the input is decisive, or all are.
    """
    words = list(find_input_words(attribution, arguments))
    decides = mark_words(words, arguments, decisive)
    count, others = int(decides.sum()), int((~decides).sum())
    if not count or not others:
        return None
    ranks = stats.rankdata([abs(attribution.values[word.segment]) for word in words])
    return float((ranks[decides].sum() - count * (count + 1) / 2) / (count * others))
