"""Judge a stored call against the facts of the raw payloads, field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llm_trace.record import Call
from tests.rig.atoms import (
    count_kind,
    drop_ids,
    join_texts,
    list_calls,
    list_message_facts,
    list_results,
    remove_space,
)
from tests.rig.facts import Facts, MessageFact
from tests.rig.telemetry import Telemetry

FieldVerdict = Literal["ok", "wrong", "missing", "not sent"]
"""`missing`: the call has nothing there; `not sent`: what is true is not in the instrumentation's spans."""
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_FINISH = {"end_turn": "stop", "tool_use": "tool_calls", "tool_call": "tool_calls"}
_FORMS: dict[str, Callable[[list[MessageFact]], Any]] = {
    "text": lambda facts: join_texts(facts, "text"),
    "reasoning": lambda facts: join_texts(facts, "reasoning"),
    "tool calls": list_calls,
    "tool results": list_results,
    "media": lambda facts: count_kind(facts, "media"),
    "other": lambda facts: count_kind(facts, "other"),
}
FIELDS = (
    "call", "kind", "status", "model", "input texts", *(f"input {name}" for name in _FORMS),
    *(f"output {name}" for name in _FORMS), "finish reason", *COUNTS,
)  # fmt: skip
"""In the order of a table."""


@dataclass(frozen=True)
class FieldResult:
    """How one field of a call compares."""

    field: str
    verdict: FieldVerdict
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.field} {self.verdict}: expected {self.expected!r}, got {self.actual!r}"


def judge(facts: Facts, calls: Sequence[Call], telemetry: Telemetry | None = None) -> list[FieldResult]:
    """Return the verdict on every field that the payloads or the call have.

    Args:
        facts: what the payloads say.
        calls: the calls of models in the exchange's trace; there must be one.
        telemetry: what the instrumentation sent, where the call is made of its spans; `None` where our own
            code records the call, so that nothing is excused.
    """
    expected = {"call": 1, "kind": facts.operation, "status": "error" if facts.failed else "ok"}
    actual: dict[str, Any] = {"call": len(calls)}
    if calls:
        expected |= _expect(facts)
        actual |= _read_actual(facts, calls[0])
    pairs = [(name, value, actual.get(name)) for name, value in expected.items()]
    return [
        FieldResult(name, _decide(name, want, have, facts, telemetry), want, have)
        for name, want, have in pairs
        if (want or have) and (calls or name == "call")
    ]


def list_faults(results: Iterable[FieldResult]) -> list[str]:
    """Return what is wrong or missing though it was sent."""
    return [str(result) for result in results if result.verdict in ("wrong", "missing")]


def _decide(name: str, want: Any, have: Any, facts: Facts, telemetry: Telemetry | None) -> FieldVerdict:
    if want == have:
        return "ok"
    if telemetry is not None and not telemetry.has(name, facts):
        return "not sent"
    return "wrong" if have else "missing"


def _expect(facts: Facts) -> dict[str, Any]:
    expected = _read_sides(
        facts, drop_ids(facts.request, facts.request), drop_ids(facts.response, facts.response)
    )
    model = facts.model or facts.requested_model
    expected["model"] = model
    if not facts.failed:
        expected["finish reason"] = _normalise_finish(facts.finish)
        expected |= {name: facts.usage.get(name) or 0 for name in COUNTS}
    return expected


def _read_actual(facts: Facts, call: Call) -> dict[str, Any]:
    request = drop_ids(list_message_facts(call.messages_in), facts.request)
    response = drop_ids(list_message_facts(call.messages_out), facts.response)
    usage = call.usage.model_dump() if call.usage else {}
    reasons = [message.finish_reason for message in call.messages_out if message.finish_reason]
    known = call.model in (facts.model, facts.requested_model)
    actual = {
        **_read_sides(facts, request, response),
        "kind": call.kind,
        "status": call.status,
        "model": (facts.model or facts.requested_model) if known else call.model,
        "finish reason": _normalise_finish(reasons),
        **{name: usage.get(name) or 0 for name in COUNTS},
    }
    if facts.operation != "llm":
        actual["input texts"] = _find_texts(facts, call)
    return actual


def _read_sides(facts: Facts, request: list[MessageFact], response: list[MessageFact]) -> dict[str, Any]:
    """Return every form of what was asked and, where the provider did not refuse, of what it answered."""
    if facts.operation != "llm":
        return {"input texts": [remove_space(fact.value) for fact in facts.request]}
    sides = {"input": request} if facts.failed else {"input": request, "output": response}
    return {
        f"{side} {name}": form(entries) for side, entries in sides.items() for name, form in _FORMS.items()
    }


def _find_texts(facts: Facts, call: Call) -> list[str]:
    """Return those of the texts to embed or to rank that the call's input holds."""
    messages = [message.text for message in call.messages_in]
    whole = remove_space(json.dumps([call.input, messages], ensure_ascii=False))
    texts = [remove_space(fact.value) for fact in facts.request]
    return [text for text in texts if json.dumps(text, ensure_ascii=False)[1:-1] in whole]


def _normalise_finish(reasons: Iterable[str]) -> list[str]:
    return sorted({_FINISH.get(reason.lower(), reason.lower()) for reason in reasons})
