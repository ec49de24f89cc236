"""Where a stored call differs from the facts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from llm_trace.record import Call, Message
from tests.traffic.facts import Facts, Said, get, parse_if_json

_ROLES = {"developer": "system", "model": "assistant", "function": "tool"}
_FINISH = {"end_turn": "stop", "tool_use": "tool_calls", "tool_call": "tool_calls"}
_CALLS = ("tool_call", "server_tool_call", "mcp_call")
_RESULTS = ("tool_call_response", "server_tool_call_response")


def differences(facts: Facts, call: Call, *, failed: bool = False) -> dict[str, str]:
    """Return what is not as in the raw payloads, by field; empty where all is.

    Args:
        facts: what the payloads say.
        call: the call of the store.
        failed: the provider refused, so only the request can be compared.
    """
    asked, answered = list_statements(call.messages_in), list_statements(call.messages_out)
    pairs = {f"asked {name}": pair for name, pair in compare_statements(facts.asked, asked).items()}
    pairs["status"] = ("error" if failed else "ok", call.status)
    pairs["model"] = (True, call.model in (facts.model, facts.asked_model) if facts.asked_model else True)
    if not failed:
        pairs |= {
            f"answered {name}": pair for name, pair in compare_statements(facts.answered, answered).items()
        }
        given = [message.finish_reason for message in call.messages_out if message.finish_reason]
        pairs["finish"] = (_finish(facts.finish), _finish(given))
        pairs |= _counts(facts, call)
    return {name: f"expected {want!r}, got {have!r}" for name, (want, have) in pairs.items() if want != have}


def _counts(facts: Facts, call: Call) -> dict[str, tuple[Any, Any]]:
    have = call.usage.model_dump() if call.usage else {}
    return {name: (count, have.get(name)) for name, count in facts.usage.items() if count or have.get(name)}


def _finish(reasons: Iterable[str]) -> list[str]:
    return sorted({_FINISH.get(reason.lower(), reason.lower()) for reason in reasons})


def list_statements(messages: Iterable[Message]) -> list[Said]:
    made = []
    for message in messages:
        role = _ROLES.get(message.role, message.role)
        for part in message.parts:
            told = part.model_dump()
            if part.type in ("text", "refusal"):
                made.append(Said(role, "text", part.content))
            elif part.type == "reasoning":
                made.append(Said(role, "reasoning", part.content or told.get("text")))
            elif part.type in _CALLS:
                made.append(Said(role, "call", (told.get("id"), told.get("name"), told.get("arguments"))))
            elif part.type in _RESULTS:
                answer = told.get("response", told.get("result"))
                made.append(Said("tool", "result", (told.get("id") or told.get("name"), answer)))
            elif part.type in ("blob", "file", "uri"):
                made.append(Said(role, "media", part.type))
    return made


def compare_statements(want: list[Said], have: list[Said]) -> dict[str, tuple[Any, Any]]:
    return {
        "text": (_texts(want, "text"), _texts(have, "text")),
        "reasoning": (_texts(want, "reasoning"), _texts(have, "reasoning")),
        "calls": (_calls(want), _calls(have)),
        "results": (_results(want), _results(have)),
        "media": (_media(want), _media(have)),
    }


def _texts(said: list[Said], kind: str) -> dict[str, str]:
    """Return all text of a kind by who said it; how it is cut into pieces is the provider's affair."""
    made: dict[str, str] = {}
    for one in said:
        if one.kind == kind and one.value:
            made[one.role] = made.get(one.role, "") + _dense(_text(one.value))
    return made


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _dense(text: str) -> str:
    return "".join(text.split())


def _calls(said: list[Said]) -> list[tuple[str, str, str]]:
    calls = [one.value for one in said if one.kind == "call"]
    return sorted((ident or "", name, json.dumps(args or {}, sort_keys=True)) for ident, name, args in calls)


def _results(said: list[Said]) -> list[tuple[str, str]]:
    return sorted((one.value[0] or "", _answer(one.value[1])) for one in said if one.kind == "result")


def _answer(value: Any) -> str:
    """Return a tool's answer in one form, whether it came as text, as pieces of text or as data."""
    if isinstance(value, list) and len(value) == 1:
        value = get(value, 0, "json") or value
    if isinstance(value, list) and value and all(isinstance(get(piece, "text"), str) for piece in value):
        value = "\n".join(piece["text"] for piece in value)
    value = drop_empty(parse_if_json(value))
    return _dense(value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False))


def drop_empty(value: Any) -> Any:
    """Return a value without nulls and names of classes: clients' objects have every field."""
    if isinstance(value, list):
        return [drop_empty(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {key: drop_empty(inner) for key, inner in value.items() if inner is not None and key != "__type__"}


def _media(said: list[Said]) -> int:
    return sum(one.kind == "media" for one in said)
