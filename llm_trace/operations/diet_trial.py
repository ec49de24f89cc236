"""Asks calls of a prompt again without some parts of it, and grades the answers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.errors import ConfigurationError
from llm_trace.operations.diet_cases import WHOLE, Case, Removal, render_case
from llm_trace.statistics.floats import Floats

if TYPE_CHECKING:
    from llm_trace.attribution.studies.answering import Answered, Ask
    from llm_trace.record import Call

AnswerScore = Callable[[str, "Call"], float]
"""How good an answer to a logged call is, from 0 to 1."""


def read_grade(grade: Any, of: str) -> float:
    """Return a grade as a number.

    Raises:
        ConfigurationError: it is none from 0 to 1; the message names `of` what it is.
    """
    try:
        number = float(grade)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise ConfigurationError(f"the score of {of} is {grade!r}: return a number from 0 to 1")
    return number


class BudgetSpentError(Exception):
    """No further question is paid for."""


@dataclass
class DietTrial:
    """Asks calls without some parts, each prompt once, and grades the answers.

    Args:
        ask: asks the model.
        template: of the prompt.
        score: grades an answer; absent: whether it is the logged one, or where a call has none in words the
            one that the model gives to the whole prompt.
        budget: the most questions.
    """

    ask: Ask
    template: str
    score: AnswerScore | None = None
    budget: int | None = None
    asked: int = 0
    answers: dict[bytes, Answered] = field(default_factory=dict, repr=False)

    def grade_cases(self, cases: Sequence[Case], removal: Removal) -> Floats:
        """Return the grades (n,) of the answers without some parts, from 0 to 1; 0 where the model fails.

        Raises:
            BudgetSpentError: they would cost more than is left.
            ConfigurationError: the score is no number from 0 to 1.
            AttributionError: the model fails on a whole prompt.
        """
        answers = self._ask_cases(cases, removal)
        grades = [self._grade(case, answer) for case, answer in zip(cases, answers, strict=True)]
        return np.array(grades, dtype=float)

    def _ask_cases(self, cases: Sequence[Case], removal: Removal) -> list[Answered]:
        prompts = [render_case(case, self.template, removal) for case in cases]
        keys = [hashlib.sha256(repr(prompt).encode("utf-8", "replace")).digest() for prompt in prompts]
        new = {
            key: prompt
            for key, prompt in zip(keys, prompts, strict=True)
            if prompt is not None and key not in self.answers
        }
        if self.budget is not None and self.asked + len(new) > self.budget:
            raise BudgetSpentError
        self.asked += len(new)
        if new:
            answers = self.ask(list(new.values()), lenient=bool(removal))
            self.answers.update(zip(new, answers, strict=True))
        return [self.answers.get(key, "") for key in keys]

    def _grade(self, case: Case, answer: Answered) -> float:
        if isinstance(answer, Exception):
            return 0.0
        if self.score is None:
            right = case.answer if case.answer is not None else str(self._ask_cases([case], WHOLE)[0])
            return float(answer.strip() == right.strip())
        return read_grade(self.score(answer, case.call), case.call.span_id)
