"""What messages hold, in a form in which the payloads' facts and a stored call can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from llm_trace.record import Message
from tests.rig.facts import Kind, MessageFact, get, load_json

_ROLES = {"developer": "system", "model": "assistant", "function": "tool"}
_CALLS = ("tool_call", "server_tool_call", "mcp_call")
_RESULTS = ("tool_call_response", "server_tool_call_response")
_MEDIA = ("blob", "file", "uri")
KINDS: dict[str, Kind] = {
    "text": "text", "reasoning": "reasoning", "tool calls": "call", "tool results": "result",
    "media": "media", "other": "other",
}  # fmt: skip
"""Fields of a message, and the kind of thing that each is about."""


def list_message_facts(messages: Iterable[Message]) -> list[MessageFact]:
    """Return what a stored call's messages hold."""
    facts = []
    for message in messages:
        role = _ROLES.get(message.role, message.role)
        for part in message.parts:
            fields = part.model_dump()
            if part.type in ("text", "refusal"):
                facts.append(MessageFact(role, "text", part.content))
            elif part.type == "reasoning" and (part.content or fields.get("text")):
                facts.append(MessageFact(role, "reasoning", part.content or fields.get("text")))
            elif "language" in list_keys(fields.get("arguments")) or "outcome" in list_keys(
                fields.get("response")
            ):  # code that Gemini ran, which OpenTelemetry calls a tool
                facts.append(MessageFact(role, "other", part.type))
            elif part.type in _CALLS:
                call = (fields.get("id"), fields.get("name"), fields.get("arguments"))
                facts.append(MessageFact(role, "call", call))
            elif part.type in _RESULTS:
                answer = fields.get("response", fields.get("result"))
                facts.append(MessageFact("tool", "result", (fields.get("id") or fields.get("name"), answer)))
            elif part.type in _MEDIA:
                facts.append(MessageFact(role, "media", part.type))
            elif part.type != "provider_data":  # what has no place in a message, beside all that has
                facts.append(MessageFact(role, "other", part.type))
    return facts


def list_keys(value: Any) -> set[str]:
    """Return the keys of an object, none of anything else."""
    return set(value) if isinstance(value, dict) else set()


def drop_ids(facts: list[MessageFact], truth: list[MessageFact]) -> list[MessageFact]:
    """Return what messages hold without ids of tool calls and results where the provider gave none: clients
    make some up.
    """
    bare = {fact.kind for fact in truth if fact.kind in ("call", "result") and not fact.value[0]}
    return [replace(fact, value=(None, *fact.value[1:])) if fact.kind in bare else fact for fact in facts]


def join_texts(facts: Iterable[MessageFact], kind: str) -> dict[str, str]:
    """Return all text of a kind by role, without white space: how it is cut into pieces is the provider's
    affair.
    """
    texts: dict[str, str] = {}
    for fact in facts:
        if fact.kind == kind and fact.value:
            texts[fact.role] = texts.get(fact.role, "") + remove_space(to_text(fact.value))
    return texts


def list_calls(facts: Iterable[MessageFact]) -> list[tuple[str, str, str]]:
    """Return id, name and arguments of tool calls."""
    calls = [fact.value for fact in facts if fact.kind == "call"]
    return sorted(
        (ident or "", name or "", json.dumps(arguments or {}, sort_keys=True, ensure_ascii=False))
        for ident, name, arguments in calls
    )


def list_results(facts: Iterable[MessageFact]) -> list[tuple[str, str]]:
    """Return id and answer of what tools answered."""
    results = [fact.value for fact in facts if fact.kind == "result"]
    return sorted((ident or "", flatten_answer(answer)) for ident, answer in results)


def count_kind(facts: Iterable[MessageFact], kind: str) -> int:
    """Return how many things of a kind there are."""
    return sum(fact.kind == kind for fact in facts)


def flatten_answer(value: Any) -> str:
    """Return a tool's answer in one form, whether it came as text, as pieces of text or as data."""
    value = load_json(value)
    if isinstance(value, list) and len(value) == 1:
        value = get(value, 0, "json") or value
    if isinstance(value, list) and value and all(isinstance(get(piece, "text"), str) for piece in value):
        value = "\n".join(piece["text"] for piece in value)
    value = _drop_empty(load_json(value))
    return remove_space(
        value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    )


def _drop_empty(value: Any) -> Any:
    """Return a value without nulls and names of classes: clients' objects have every field."""
    if isinstance(value, list):
        return [_drop_empty(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _drop_empty(inner) for key, inner in value.items() if inner is not None and key != "__type__"
    }


def to_text(value: Any) -> str:
    """Return a text as it is and anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def remove_space(text: str) -> str:
    """Return a text without white space."""
    return "".join(text.split())
