"""The fields of an evaluation, and what failed in it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llm_trace.call_parts import Record
from llm_trace.evaluation.bias import BiasProbe
from llm_trace.evaluation.calibration import Calibration
from llm_trace.evaluation.dimensions import Dimension
from llm_trace.evaluation.memorisation import MemorisationGap
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.record import Run

FailureKind = Literal["error", "timeout", "scorer", "wrong"]
"""The function raised, or took too long; a scorer gave no score; the score says that the answer is wrong."""


class FailedAnswer(Record):
    """One thing that failed, with the call to look at."""

    instance: str
    scenario: str
    variant: str
    repeat: int
    span_id: str
    kind: FailureKind
    score: str | None = None
    """The score or scorer that says so."""
    words: str


class EvaluationRecord(Record):
    """What an evaluation came to."""

    run: Run
    dimensions: tuple[Dimension, ...]
    memorisation_gaps: tuple[MemorisationGap, ...] = ()
    """One for each score, where scenarios have a public set."""
    calibrations: tuple[Calibration, ...] = ()
    """One for each score that people gave too, by the same name (source `human` in the store)."""
    bias_probes: tuple[BiasProbe, ...] = ()
    """What swapping the values of groups that must not matter does, where scenarios have `groups`."""
    failures: tuple[FailedAnswer, ...] = ()
    planned: int
    """Calls of the function that were to be made."""
    answered: int
    """Calls that have ended; what lacks was not asked, or not recorded."""
    confidence: float
    notes: tuple[str, ...] = ()
    """What to know besides, such as that the budget ended it."""
    outcomes: tuple[Outcome, ...] = Field(default=(), exclude=True, repr=False)
    """All answers with their scores; no part of the record as JSON, since the store has them."""
