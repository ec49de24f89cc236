"""Whether attributions rank the words first that a scenario knows to be decisive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from llm_trace.evaluation.dimensions import Dimension, ScoredOutcome, ScoreTable, measure_parts
from llm_trace.evaluation.expressions import FieldPath
from llm_trace.evaluation.mutants import InputWord, find_input_words, list_texts
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.record import Attribution, Run
from llm_trace.stores.duckdb import Store
from llm_trace.stores.lookup import read_run_attributions

NAME = "attribution"


def build_agreement(
    store: Store, run: Run, outcomes: Sequence[Outcome], confidence: float
) -> tuple[Dimension, ...]:
    """Return the agreement over explained answers to fresh questions whose decisive words are known; empty
    where there are none.

    Of one answer it is the share of pairs of a decisive segment and another one of the input in which the
    decisive one has the larger effect, for or against the answer (ties count half): the area under the ROC
    curve, 0.5 by chance. The newest attribution that is evidence counts.
    """
    asked = {each.span_id: each for each in outcomes if each.instance.decisive and each.status == "ok"}
    fresh = {span_id: each for span_id, each in asked.items() if each.instance.variant == "fresh"}
    if not fresh:
        return ()
    values = tuple(_list_values(fresh, read_run_attributions(store, run.id)))
    table = ScoreTable(NAME, values, is_share=True)
    return tuple(measure_parts(table, "agreement", values, confidence)) if values else ()


def _list_values(
    outcomes: Mapping[str, Outcome], attributions: Iterable[tuple[Sequence[str], Attribution]]
) -> Iterator[ScoredOutcome]:
    """Yield the agreement of each outcome's first attribution that has any."""
    done: set[str] = set()
    for above, attribution in attributions:
        span_id = next((each for each in above if each in outcomes), None)
        if span_id is None or span_id in done or attribution.verdict != "ok":
            continue
        instance = outcomes[span_id].instance
        agreement = measure_agreement(attribution, instance.input, instance.decisive)
        if agreement is not None:
            done.add(span_id)
            yield ScoredOutcome(outcomes[span_id], agreement)


def measure_agreement(
    attribution: Attribution, arguments: Mapping[str, Any], decisive: Iterable[str]
) -> float | None:
    """Return the area under the ROC curve of finding decisive words of an input by the size of their effect;
    `None` where no segment of the input is decisive, or all are.
    """
    patterns = [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)") for word in decisive]
    spans = {
        (place, *match.span())
        for place, text in list_texts(arguments)
        for pattern in patterns
        for match in pattern.finditer(text)
    }
    words = list(find_input_words(attribution, arguments))
    decides = np.array([any(_meets(word, *span) for span in spans) for word in words], dtype=bool)
    count, others = int(decides.sum()), int((~decides).sum())
    if not count or not others:
        return None
    ranks = stats.rankdata([abs(attribution.values[word.segment]) for word in words])
    return float((ranks[decides].sum() - count * (count + 1) / 2) / (count * others))


def _meets(word: InputWord, place: FieldPath, start: int, end: int) -> bool:
    return word.place == place and word.start < end and start < word.end
