"""Calls as examples for fine-tuning, in OpenAI's chat format: `{"messages": […], "tools": […]}`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llm_trace.stores.dataset_tools import list_tools
from llm_trace.stores.paging import Page, Spoken
from llm_trace.stores.rows import parse_value

COLUMNS = "metadata::TEXT"
"""What is needed of a call beside what was said."""
_ROLES = {
    "system": "system", "developer": "developer", "user": "user", "human": "user", "assistant": "assistant",
    "model": "assistant", "ai": "assistant", "tool": "tool",
}  # fmt: skip
_LEFT_OUT = ("reasoning", "provider_data")
"""Parts that no example has a place for, and that no model is to learn."""


class UnfitError(Exception):
    """A call that makes no example; the message says why."""


def iter_examples(pages: Iterable[Page], skipped: Counter[str]) -> Iterator[str]:
    """Yield one example a line; calls that make none are counted by the reason.

    Args:
        pages: of calls, whose one column is `COLUMNS`.
        skipped: is counted up.
    """
    for page in pages:
        for row in page.rows:
            spoken = Spoken(page.bodies, *row[-4:])
            try:
                yield json.dumps(_build_example(spoken, parse_value(row[0])), ensure_ascii=False) + "\n"
            except UnfitError as exc:
                skipped[str(exc)] += 1


def _build_example(spoken: Spoken, metadata: Any) -> dict[str, Any]:
    asked = [json.loads(message) for message in spoken.list_input()]
    answered = [json.loads(message) for message in spoken.list_output()]
    if not asked:
        raise UnfitError("no messages")
    if not answered:
        raise UnfitError("no answer")
    answer = build_chat_messages(answered[0])
    if len(answer) != 1 or answer[0]["role"] != "assistant":
        raise UnfitError("no answer")
    if not (answer[0].get("tool_calls") or str(answer[0]["content"] or "").strip()):
        raise UnfitError("an empty answer")
    tools = list_tools(parse_value(spoken.input), metadata)
    messages = [*(one for message in asked for one in build_chat_messages(message)), *answer]
    _name_calls(messages)
    if not tools and any(message.get("tool_calls") for message in messages):
        raise UnfitError("calls of tools that were not recorded")
    return {"messages": messages, "tools": tools} if tools else {"messages": messages}


def _name_calls(messages: list[dict[str, Any]]) -> None:
    """Give calls of tools ids where the provider gave none, and their results the same, in order."""
    waiting: list[str] = []
    count = 0
    for message in messages:
        for call in message.get("tool_calls") or ():
            count += 1
            call["id"] = call["id"] or f"call_{count}"
            waiting.append(call["id"])
        if message["role"] == "tool":
            if message["tool_call_id"] is None and waiting:
                message["tool_call_id"] = waiting[0]
            if message["tool_call_id"] not in waiting:
                raise UnfitError("a tool's result without its call")
            waiting.remove(message["tool_call_id"])


def build_chat_messages(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a message of ours in OpenAI's format; what several tools answered becomes several messages.

    Raises:
        UnfitError: it holds what the format cannot say, as audio.
    """
    parts = [part for part in message["parts"] if part["type"] not in _LEFT_OUT]
    answers = [part for part in parts if part["type"] == "tool_call_response"]
    calls = [part for part in parts if part["type"] == "tool_call"]
    texts = [part for part in parts if part["type"] == "text"]
    if len(answers) + len(calls) + len(texts) < len(parts):
        raise UnfitError("content other than text")
    tool_messages = [
        {"role": "tool", "tool_call_id": part.get("id"), "content": _get_text(part.get("response"))}
        for part in answers
    ]
    if answers and not texts and not calls:
        return tool_messages
    content = "\n".join(str(part["content"]) for part in texts) if texts else None
    role = _ROLES.get(message["role"])
    if role is None:
        raise UnfitError(f"a message of role {message['role']!r}")
    if not calls and not (content or "").strip():
        raise UnfitError("an empty answer" if role == "assistant" else "an empty message")
    reply = {"role": role, "content": content}
    return [
        *tool_messages,
        {**reply, "tool_calls": [_build_tool_call(part) for part in calls]} if calls else reply,
    ]


def _build_tool_call(part: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": part.get("name"), "arguments": _get_text(part.get("arguments") or {})}
    return {"id": part.get("id"), "type": "function", "function": function}


def _get_text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
