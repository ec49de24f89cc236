"""Where what caused a decision is from: back over the calls of tools to the user, the author or outside."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.causes.why_decision import ModelDecision
    from llm_trace.causes.why_record import Cause
    from llm_trace.replays.tape import Tape

_ORIGINS = {
    "system": "the system prompt",
    "user": "the user's words",
    "tool": "text from outside",
    "retrieved": "text from outside",
    "assistant": "the model's own words",
    "variable": "a variable of the prompt",
    "line": "the prompt",
}


def find_chain(decision: ModelDecision, causes: Sequence[Cause], alpha: float) -> tuple[str, ...]:
    """Return the strongest cause of a decision and whose words it is, then what its call was asked with and
    whose words that is, and so on; empty where no cause is told from chance.
    """
    if not causes or not causes[0].stands_out(alpha):
        return ()
    cause = causes[0]
    chain = [decision.describe(), cause.label, _ORIGINS[cause.kind]]
    while (source := _find_source(cause, causes, decision.tape)) is not None:
        value, cause = source
        if cause.kind in ("user", "system"):
            chain.append(f"asked for by {_ORIGINS[cause.kind]}")
            break
        chain += [f"asked for with {value!r} of {cause.label}", _ORIGINS[cause.kind]]
    return tuple(entry for entry, _ in groupby(chain))


def _find_source(cause: Cause, steps: Sequence[Cause], tape: Tape) -> tuple[str, Cause] | None:
    """Return an argument of the call that gave a step and the earliest step that holds it word for word: one
    that another call gave rather than one of the user's or the author's.
    """
    giver = tape.calls.get(cause.span_id or "")
    if giver is None:
        return None
    ends = {step.label: _find_end(step, tape) for step in steps}
    before = sorted(
        (step for step in steps if ends[step.label] <= giver.start_ns and step.kind != "assistant"),
        key=lambda step: (ends[step.label], step.kind != "user"),
    )
    sources = [
        next(((value, step) for step in before if _holds(step.text, value)), None)
        for value in _iter_values(giver.input)
    ]
    known = [source for source in sources if source is not None]
    return max(known, key=lambda source: source[1].span_id is not None, default=None)


def _find_end(step: Cause, tape: Tape) -> int:
    """Return when the call that gave a step ended; 0 where none did: it was there before all calls."""
    giver = tape.calls.get(step.span_id or "")
    return 0 if giver is None else giver.end_ns or giver.start_ns


def _iter_values(arguments: Any) -> Iterator[str]:
    """Yield the texts and numbers that a tool was asked with, at any depth."""
    if isinstance(arguments, dict | list):
        for item in arguments.values() if isinstance(arguments, dict) else arguments:
            yield from _iter_values(item)
    elif isinstance(arguments, str | int | float) and not isinstance(arguments, bool) and arguments != "":
        yield str(arguments)


def _holds(text: str, value: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None
