"""Calls as examples for fine-tuning, in OpenAI's chat format: `{"messages": […], "tools": […]}`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llm_trace.stores.bulk import Page, Spoken
from llm_trace.stores.rows import value

_LEFT_OUT = ("reasoning", "provider_data")
"""Parts that no example has a place for, and that no model is to learn."""


class UnfitError(Exception):
    """A call that makes no example; the message says why."""


def examples(pages: Iterable[Page], skipped: Counter[str]) -> Iterator[str]:
    """Yield one example a line; calls that make none are counted by the reason."""
    for page in pages:
        for row in page.rows:
            said = Spoken(page.bodies, *row[-4:])
            try:
                yield json.dumps(_example(said), ensure_ascii=False) + "\n"
            except UnfitError as exc:
                skipped[str(exc)] += 1


def _example(said: Spoken) -> dict[str, Any]:
    asked = [json.loads(message) for message in said.asked()]
    answered = [json.loads(message) for message in said.answered()]
    if not asked:
        raise UnfitError("no messages")
    if not answered:
        raise UnfitError("no answer")
    answer = chat_messages(answered[0])
    if len(answer) != 1 or answer[0]["role"] != "assistant":
        raise UnfitError("no answer")
    tools = _tools(said.input)
    made = {"messages": [*(one for message in asked for one in chat_messages(message)), *answer]}
    return {**made, "tools": tools} if tools else made


def chat_messages(message: Mapping[str, Any]) -> list[dict[str, Any]]:
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
    made = [
        {"role": "tool", "tool_call_id": part.get("id"), "content": _text(part.get("response"))}
        for part in answers
    ]
    if answers and not texts and not calls:
        return made
    content = "\n".join(str(part["content"]) for part in texts) if texts else None
    if content is None and not calls:
        raise UnfitError("no answer" if message["role"] == "assistant" else "an empty message")
    told = {"role": message["role"], "content": content}
    return [*made, {**told, "tool_calls": [_tool_call(part) for part in calls]} if calls else told]


def _tool_call(part: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": part.get("name"), "arguments": _text(part.get("arguments") or {})}
    return {"id": part.get("id"), "type": "function", "function": function}


def _tools(given: str | None) -> Any:
    told = value(given)
    return told.get("tools") if isinstance(told, dict) else None


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
