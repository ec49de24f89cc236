"""Where a fork first went another way than the recorded run."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from llm_trace.capture.spec import SERVED
from llm_trace.replays.report import describe_difference
from llm_trace.replays.tape import make_canonical

if TYPE_CHECKING:
    from llm_trace.replays.branch import Branch, LiveCall
    from llm_trace.replays.tape import Tape, Taped


def describe_first_divergence(tape: Tape, branch: Branch) -> str | None:
    """Return in words, with a diff, the first call after the change that is not as it was recorded; `None`
    where all are.
    """
    then = [c for span, c in tape.calls.items() if span not in branch.before and c.kind in SERVED]
    for number, (recorded, call) in enumerate(zip_longest(then, branch.calls)):
        if (what := _describe_pair(tape, recorded, call)) is not None:
            return f"{_place(number)}: {what}"
    return None


def _place(number: int) -> str:
    return "at the fork" if number == 0 else f"{number} {'call' if number == 1 else 'calls'} after the fork"


def _describe_pair(tape: Tape, then: Taped | None, now: LiveCall | None) -> str | None:
    if now is None:
        return f"the program ended, where it had called {then.name}" if then is not None else None
    if then is None or then.name != now.name:
        instead = f"where it had called {then.name}" if then is not None else "where it had ended"
        return f"{now.name} was called, {instead}"
    if not now.altered and now.key != tape.key_of(then):
        return f"{now.name} was asked something else\n{describe_difference(then.input, now.arguments)}"
    event = now.event
    if not event or (now.altered and event.get("metadata", {}).get("replay") == "altered"):
        return None
    if event["status"] != then.status:
        return f"{now.name} ended with {event['status']}, where it had ended with {then.status}"
    if make_canonical(event.get("output")) == make_canonical(then.output):
        return None
    shown = describe_difference(then.output, event.get("output"), "answered")
    return f"{now.name} answered something else\n{shown}"
