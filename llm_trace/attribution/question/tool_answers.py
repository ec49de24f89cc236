"""What tools answered in a conversation, and which tool it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.question.chat import get_content
from llm_trace.attribution.question.origins import ROLES, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Parts = Iterator[Mapping[str, Any]]

_REQUESTS = ("tool_use", "tool_call")
_ANSWERS = ("tool_result", "tool_call_response")


def list_tool_answers(messages: Sequence[Mapping[str, Any]]) -> tuple[ToolResult, ...]:
    """Return what tools answered, in messages of their own or, as Anthropic's do, in parts of others.

    The name of a tool is that of the message, or of the request with the same id.
    """
    asked = [request for message in messages for request in _iter_requests(message)]
    names = {request.get("id"): _get_tool_name(request) for request in asked}
    return tuple(answer for message in messages for answer in _iter_answers(message, names) if answer.text)


def _iter_answers(message: Mapping[str, Any], names: Mapping[Any, str | None]) -> Iterator[ToolResult]:
    in_own_message = ROLES.get(str(message.get("role"))) == "tool"
    answers = [part for part in _iter_parts(message) if part.get("type") in _ANSWERS]
    for part in answers:
        body = part.get("response") or part.get("content")
        text = body if isinstance(body, str) else json.dumps(body) if body else ""
        name = names.get(part.get("id") or part.get("tool_use_id")) or message.get("name")
        yield ToolResult(text, name, in_own_message)
    if in_own_message and not answers:
        name = message.get("name") or names.get(message.get("tool_call_id"))
        yield ToolResult(get_content(message), name, in_own_message)


def _iter_requests(message: Mapping[str, Any]) -> Parts:
    """Yield the calls of tools that a message asks for."""
    yield from (call for call in message.get("tool_calls") or () if isinstance(call, dict))
    yield from (part for part in _iter_parts(message) if part.get("type") in _REQUESTS)


def _iter_parts(message: Mapping[str, Any]) -> Parts:
    parts = message.get("parts") or message.get("content") or ()
    yield from (part for part in parts if isinstance(part, dict))


def _get_tool_name(request: Mapping[str, Any]) -> str | None:
    function = request.get("function")
    name = function.get("name") if isinstance(function, dict) else request.get("name")
    return name if isinstance(name, str) else None
