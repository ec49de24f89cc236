"""How good answers are, recorded ones and new ones: by a score of the store, by a function, or by whether
they are what a answered.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.comparison.scores import average_scores
from llm_trace.errors import ConfigurationError
from llm_trace.replays.tape import make_canonical

if TYPE_CHECKING:
    from llm_trace.causes.bisect_replays import HalfwayAnswer
    from llm_trace.causes.bisect_sides import RecordedInput
    from llm_trace.comparison.facts import Fact
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

AnswerMetric = str | Callable[..., float] | None
"""Name of a score, higher is better; a function of an answer, or of an answer and the recorded call; `None`:
whether an answer is a's.
"""
_LOGGED = """
SELECT avg(number) FROM scores JOIN calls USING (span_id) WHERE trace_id = ? AND scores.name = ?"""


@dataclass
class GradedInput:
    """An input whose loss is known on both sides, and what its answers were worth."""

    root: str
    good: float
    """Grade of a's answer."""
    bad: float
    """Grade of b's answer."""

    def measure_loss(self, grade: float) -> float:
        """Return which share of the loss from a to b an answer shows, 0 to 1."""
        return float(min(max((self.good - grade) / (self.good - self.bad), 0.0), 1.0))


@dataclass
class Grader:
    """Grades answers; higher is better.

    Args:
        store: where the recorded calls are.
        metric: what is good.
        unknown: new answers that have no score, which count as half of the loss.
    """

    store: Store
    metric: AnswerMetric
    unknown: int = 0
    _calls: dict[str, Call] = field(default_factory=dict)
    _partners: dict[str, str] = field(default_factory=dict)
    """Root -> the call of a that answered the same input."""
    _known: dict[tuple[str, bytes], float] = field(default_factory=dict)
    """Grades of recorded answers, by root and answer."""

    def grade_recorded(self, inputs: Sequence[RecordedInput]) -> list[tuple[float | None, float | None]]:
        """Return the grades of a's and of b's recorded answers; `None` where there is no answer or score.

        Raises:
            ConfigurationError: the function gives no number, or no call has the score.
        """
        facts = [fact for each in inputs for fact in (each.a, each.b) if fact is not None]
        self._read_calls(facts)
        self._partners = {each.root: each.a.span_id for each in inputs if each.a is not None}
        scores = self._read_scores(facts)
        return [
            (
                None if each.a is None else self._grade_call(each, each.a, scores),
                None if each.b is None else self._grade_call(each, each.b, scores),
            )
            for each in inputs
        ]

    def grade_answer(self, root: str, answer: HalfwayAnswer) -> float | None:
        """Return the grade of a new answer to an input; `None` where nothing says it.

        A call that fails has none either, unless it has a score: it shows the whole loss.
        """
        if self.metric is None:
            expected = self._calls[self._partners[root]]
            return float(answer.status == "ok" and _is_same(answer.output, expected.output))
        if callable(self.metric):
            return self._apply(answer.output, self._calls[root]) if answer.status == "ok" else None
        key = root, make_canonical(answer.output)
        if key in self._known:
            return self._known[key]
        self.store.ingest()
        ((logged,),) = self.store.sql(_LOGGED, answer.trace_id, self.metric).fetchall()
        return None if logged is None else float(logged)

    def _read_calls(self, facts: Sequence[Fact]) -> None:
        calls = self.store.pick([fact.span_id for fact in facts], [fact.start_ns for fact in facts])
        self._calls |= {call.span_id: call for call in calls}

    def _read_scores(self, facts: Sequence[Fact]) -> dict[str, float]:
        if not isinstance(self.metric, str):
            return {}
        values = average_scores(self.store, facts).values
        if self.metric not in values:
            names = ", ".join(sorted(values)) or "none"
            raise ConfigurationError(f"no call of a and b has the score {self.metric!r}: they have {names}")
        numbers = values[self.metric]
        return {fact.span_id: float(x) for fact, x in zip(facts, numbers, strict=True) if not np.isnan(x)}

    def _grade_call(self, each: RecordedInput, fact: Fact, scores: dict[str, float]) -> float | None:
        call = self._calls[fact.span_id]
        if isinstance(self.metric, str):
            grade = scores.get(fact.span_id)
            if grade is not None:
                self._known[each.root, make_canonical(call.output)] = grade
            return grade
        if self.metric is None:
            if each.a is None:
                return None
            return float(call.status == "ok" and _is_same(call.output, self._calls[each.a.span_id].output))
        return self._apply(call.output, call) if call.status == "ok" else None

    def _apply(self, output: Any, call: Call) -> float:
        assert callable(self.metric)
        takes_call = len(_list_positional(self.metric)) > 1
        grade = self.metric(output, call) if takes_call else self.metric(output)
        try:
            number = float(grade)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ConfigurationError(f"the metric gives {grade!r} for the answer {output!r}: return a number")
        return number


def _is_same(one: Any, other: Any) -> bool:
    return make_canonical(one) == make_canonical(other)


def _list_positional(function: Callable[..., Any]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
