"""A refund desk whose calls are recorded, explained by hand and scored by people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import llm_trace
from llm_trace.record import Attribution, Call
from tests.helpers.explained import keep_attributions, make_attribution

TEMPLATE = "Example: arrived broken -> APPROVE\n\nCustomer: {message}\nDays: {days}\n\nAnswer:"


class DeskCall(NamedTuple):
    """A customer, what the answer rested on, and what people said of it."""

    message: str = "It came broken today."
    days: int | None = 75
    weights: Mapping[str, float] | None = None
    """Of words; `None` where the call was not explained."""
    right: Sequence[bool | float | str] = ()
    """What people said of the call around that of the model."""
    fields: Mapping[str, Any] = {}
    """Of the attribution."""


def explain(prompt: str, weights: Mapping[str, float], **fields: Any) -> Attribution:
    """Return an attribution in which these words have weight."""
    return make_attribution(prompt, [weights.get(word, 0.0) for word in prompt.split()], **fields)


def record_desk(path: Path, desk_calls: Sequence[DeskCall]) -> list[Call]:
    """Record the calls; return those of the model, in the order of the customers."""
    llm_trace.configure(path)
    refund = llm_trace.Prompt("refund", TEMPLATE)

    @llm_trace.trace(kind="llm", model="toy-1")
    def ask(prompt: str) -> str:
        return "APPROVE"

    @llm_trace.trace
    def handle(desk_call: DeskCall) -> str:
        for said in desk_call.right:
            llm_trace.log_score("correct", said, source="human")
        return ask(refund.format(message=desk_call.message, days=desk_call.days))

    with llm_trace.start_run("desk"):
        for desk_call in desk_calls:
            handle(desk_call)
    llm_trace.shutdown()
    with llm_trace.open_store(path) as store:
        calls = list(store.calls(kind="llm", limit=None, order="oldest"))
    for call, desk_call in zip(calls, desk_calls, strict=True):
        if desk_call.weights is not None:
            keep_attributions(
                path, call, explain(call.input["prompt"], desk_call.weights, **desk_call.fields)
            )
    return calls
