"""What scorers are, and what becomes of that which they return."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from llm_trace.call_parts import Record
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.instances import Instance
from llm_trace.record import ScoreSource


class Grade(Record):
    """A score with why it is so and who says it."""

    value: float | bool
    comment: str | None = None
    source: ScoreSource = "code"


Graded = float | bool | Grade | Mapping[str, "float | bool | Grade"]
Scorer = Callable[[Any, Instance], Graded | Awaitable[Graded]]
"""Takes what the function returned and the instance; returns a number, a yes or no, a `Grade`, or several
by name. A yes is 1; numbers from 0 to 1 are shares of what is right. Sync ones run in a thread, async ones
in the loop.
"""
scored_call: ContextVar[str | None] = ContextVar("llm_trace_scored_call", default=None)
"""While a scorer runs, the span id of the call whose answer it scores: for judges that are traced too."""
FAILED = ".failed"
"""Ends the name of the score that says why a scorer gave none: its value is the label with the words."""


def name_scorers(scorers: Scorer | Iterable[Scorer] | Mapping[str, Scorer]) -> dict[str, Scorer]:
    """Return scorers by name; by default each function's own.

    Raises:
        ConfigurationError: there is none, one is no function, or two have one name.
    """
    if callable(scorers):
        scorers = [scorers]
    pairs = list(scorers.items()) if isinstance(scorers, Mapping) else [(_name(s), s) for s in scorers]
    if not pairs:
        raise ConfigurationError("there are no scorers: pass some, such as scorers=[exact]")
    named: dict[str, Scorer] = {}
    for name, scorer in pairs:
        if not callable(scorer):
            raise ConfigurationError(f"scorer {scorer!r} is no function of (output, instance)")
        if name in named:
            raise ConfigurationError(
                f"two scorers are called {name!r}: pass them by name, {{'name': scorer}}"
            )
        named[name] = scorer
    return named


def _name(scorer: Any) -> str:
    name = getattr(scorer, "name", None) or getattr(scorer, "__name__", None)
    return str(name or type(scorer).__name__).strip("<>")


def read_grades(scorer: str, result: Any) -> dict[str, Grade]:
    """Return what a scorer returned as grades by the name of their score, such as `judge` or `judge.tone`.

    Raises:
        ValueError: it is no score, such as NaN or None.
    """
    if not isinstance(result, Mapping):
        return {scorer: _to_grade(result)}
    if not result:
        raise ValueError("the scorer returned no score")
    return {f"{scorer}.{part}": _to_grade(value) for part, value in result.items()}


def _to_grade(value: Any) -> Grade:
    grade = value if isinstance(value, Grade) else None
    plain = grade.value if grade else value
    plain = plain.item() if hasattr(plain, "item") else plain  # numpy and torch scalars
    if not isinstance(plain, bool | int | float) or not math.isfinite(plain):
        raise ValueError(f"the scorer returned {plain!r}, which is no finite number and no yes or no")
    return (grade or Grade(value=plain)).model_copy(update={"value": plain})


def is_of(score: str, scorers: Iterable[str]) -> bool:
    """Return whether a score is one of these scorers' and no failure."""
    return not score.endswith(FAILED) and any(True for _ in _find_owners(score, scorers))


def _find_owners(score: str, scorers: Iterable[str]) -> Iterator[str]:
    return (name for name in scorers if score == name or score.startswith(f"{name}."))
