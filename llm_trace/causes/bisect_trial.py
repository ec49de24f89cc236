"""Inputs on which b is worse than a, and how much of that loss half-changed prompts show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.causes.bisect_scores import GradedInput
from llm_trace.causes.bisect_search import SpentError
from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from llm_trace.causes.bisect_hunks import Mixture
    from llm_trace.causes.bisect_replays import HalfwayReplays
    from llm_trace.causes.bisect_scores import Grader
    from llm_trace.causes.bisect_sides import RecordedInput
    from llm_trace.causes.bisect_splits import Applied
    from llm_trace.statistics.floats import Floats

MOST_FAILING = 64
"""Inputs on which b is worse that are asked again, at most."""
_ENOUGH = 16
"""Inputs on which b is worse, after which no further one is looked for."""
_UNSAID = 0.5
"""Loss of an answer that nothing grades: it speaks neither for nor against a hunk."""


@dataclass(frozen=True)
class GradedSides:
    """The inputs by what their recorded answers were worth."""

    worse: tuple[GradedInput, ...]
    """On which b is worse, the largest loss first."""
    unasked: tuple[RecordedInput, ...]
    """That a side did not answer yet."""
    grades: tuple[Floats, Floats]
    """Of a and of b, where both are known."""


def grade_sides(grader: Grader, inputs: Sequence[RecordedInput]) -> GradedSides:
    """Return on which inputs b's recorded answer is worse than a's.

    Raises:
        ConfigurationError: no answer has a grade, or nothing says what is good.
    """
    if grader.metric is None and all(each.a is None for each in inputs):
        raise ConfigurationError(
            "a was not asked what b was, so nothing says which answers are right: pass metric=, a function "
            "of an answer or the name of a score"
        )
    pairs = grader.grade_recorded(inputs)
    known = [grade for pair in pairs for grade in pair if grade is not None]
    unasked = tuple(each for each in inputs if each.a is None or each.b is None)
    if not known and (not unasked or grader.metric is not None):
        raise ConfigurationError(
            "no recorded answer of a or b has a grade: they all failed, or were not scored"
        )
    least = min(known, default=0.0)
    both = [
        (each, good, min(least, good - 1) if bad is None else bad)
        for each, (good, bad) in zip(inputs, pairs, strict=True)
        if good is not None and each.b is not None and (bad is not None or each.b.status != "ok")
    ]
    worse = [GradedInput(each.root, good, bad) for each, good, bad in both if bad < good]
    worse.sort(key=lambda each: each.bad - each.good)
    a, b = (np.array([pair[side] for pair in both], dtype=float) for side in (1, 2))
    return GradedSides(tuple(worse[:MOST_FAILING]), unasked, (a, b))


@dataclass
class HalfwayTrial:
    """Asks inputs with some hunks put into a, and says how much of the loss they show.

    Args:
        replays: asks.
        grader: grades the answers.
        budget: the most model, tool and similar calls that run for real.
    """

    replays: HalfwayReplays
    grader: Grader
    budget: int | None

    def measure(self, mixture: Mixture, worse: Sequence[GradedInput], applied: Applied, number: int) -> float:
        """Return the share of an input's loss that its answer shows, 0 to 1: 1 where the call fails, half
        where nothing says it.

        Raises:
            SpentError: the budget is spent.
        """
        grade, failed = self._ask(worse[number].root, mixture, applied)
        if grade is not None:
            return worse[number].measure_loss(grade)
        return 1.0 if failed else _UNSAID

    def find_worse(
        self,
        mixture: Mixture,
        unasked: Sequence[RecordedInput],
        recorded: Sequence[tuple[float | None, float | None]],
    ) -> tuple[list[GradedInput], tuple[Floats, Floats]]:
        """Ask the side that was not recorded until it is known for enough inputs that b is worse on them.

        Args:
            unasked: inputs in the order in which they are asked.
            recorded: the grades of the side that was.

        Returns:
            These inputs, and the grades of a and of b.
        """
        every = frozenset(range(len(mixture.hunks)))
        worse: list[GradedInput] = []
        grades: list[tuple[float, float]] = []
        try:
            for each, (good, bad) in zip(unasked, recorded, strict=True):
                if each.a is None:
                    good, _ = self._ask(each.root, mixture, frozenset())
                else:
                    bad, failed = self._ask(each.root, mixture, every)
                    bad = good - 1 if failed and bad is None and good is not None else bad
                if good is None or bad is None:
                    continue
                grades.append((good, bad))
                if bad < good:
                    worse.append(GradedInput(each.root, good, bad))
                if len(worse) >= _ENOUGH:
                    break
        except SpentError:
            pass
        a, b = (np.array([pair[side] for pair in grades], dtype=float) for side in (0, 1))
        return worse, (a, b)

    def _ask(self, root: str, mixture: Mixture, applied: Applied) -> tuple[float | None, bool]:
        """Return the grade of an answer, and whether the call failed."""
        if self.budget is not None and self.replays.calls >= self.budget:
            raise SpentError
        answer = self.replays.play(root, mixture, applied)
        if answer is None:
            return None, False
        grade = self.grader.grade_answer(root, answer)
        failed = answer.status != "ok"
        self.grader.unknown += grade is None and not failed
        return grade, failed
