"""Answers with attributions that are evidence, and which words of their input are meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.evaluation.dimensions import ScoredOutcome
from llm_trace.evaluation.mutants import InputWord, list_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.evaluation.expressions import FieldPath
    from llm_trace.evaluation.outcomes import Outcome
    from llm_trace.record import Attribution


def measure_explained(
    outcomes: Iterable[Outcome],
    attributions: Iterable[tuple[Sequence[str], Attribution]],
    measure: Callable[[Outcome, Attribution], float | None],
) -> Iterator[ScoredOutcome]:
    """Yield what is measured of each answer's first attribution that is evidence and has any such value.

    Args:
        outcomes: the answers.
        attributions: of a run, each with the ids of its call and of those around it.
        measure: `None` where the attribution says nothing of it.
    """
    asked = {each.span_id: each for each in outcomes if each.status == "ok"}
    for above, attribution in attributions:
        span_id = next((each for each in above if each in asked), None)
        if span_id is None or attribution.verdict != "ok":
            continue
        value = measure(asked[span_id], attribution)
        if value is not None:
            yield ScoredOutcome(asked.pop(span_id), value)


def mark_words(
    words: Sequence[InputWord], arguments: Mapping[str, Any], texts: Iterable[str]
) -> NDArray[np.bool_]:
    """Return which words of an input lie in one of the texts, wherever these stand in it as whole words."""
    patterns = [re.compile(rf"(?<!\w){re.escape(text)}(?!\w)") for text in texts if text]
    spans = {
        (place, *match.span())
        for place, held in list_texts(arguments)
        for pattern in patterns
        for match in pattern.finditer(held)
    }
    return np.array([any(_meets(word, *span) for span in spans) for word in words], dtype=bool)


def _meets(word: InputWord, place: FieldPath, start: int, end: int) -> bool:
    return word.place == place and word.start < end and start < word.end
