"""A server on loopback that speaks OpenAI's and Anthropic's languages, plain and streamed."""

from __future__ import annotations

import json
from typing import Any

from tests.helpers.loopback import Fault, Loopback, Received, Reply

USAGE = {"prompt_tokens": 13, "completion_tokens": 2, "total_tokens": 15,
         "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip
COUNTS = {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 2}
WORDS = ("hel", "lo")
_HEADERS = {"content-type": "application/json", "connection": "close"}


def open_server() -> Loopback:
    """Return a server that answers `hello`, or asks for the first tool where one is offered and none has
    answered; the model `broken` fails, and `breaks` ends its stream with an error.
    """
    return Loopback(_Answers())


class _Answers:
    """Gives each answer an id of its own."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, request: Received) -> Reply | Fault:
        asked = request.json()
        self.number += 1
        if asked["model"] == "broken":
            return _reply({"error": {"message": "broken", "type": "server_error"}}, 400)
        if request.path.endswith("/messages"):
            return self._answer_anthropic(asked)
        if request.path.endswith("/embeddings"):
            vectors = [
                {"index": i, "object": "embedding", "embedding": [0.5]} for i, _ in enumerate(asked["input"])
            ]
            return _reply({"object": "list", "model": asked["model"], "data": vectors, "usage": USAGE})
        if request.path.endswith("/chat/completions"):
            return self._answer_chat(asked)
        choice = {"index": 0, "text": "hello", "finish_reason": "stop", "logprobs": None}
        answer = {"id": f"cmpl-{self.number}", "object": "text_completion", "created": 1}
        choices = [{**choice, "index": i} for i, _ in enumerate(asked["prompt"])]
        return _reply({**answer, "model": asked["model"], "choices": choices, "usage": USAGE})

    def _answer_chat(self, asked: dict[str, Any]) -> Reply:
        head = {"id": f"chatcmpl-{self.number}", "created": 1, "model": asked["model"] + "-1"}
        tool = _find_tool(asked)
        if asked.get("stream"):
            chunks: list[dict[str, Any]] = [
                {"index": 0, "finish_reason": None, "delta": {"content": word}} for word in WORDS
            ]
            chunks.append({"index": 0, "finish_reason": "stop", "delta": {}})
            events: list[dict[str, Any]] = [{"choices": [chunk]} for chunk in chunks]
            events.append({"choices": [], "usage": USAGE})
            if asked["model"] == "breaks":
                events[1:] = [{"error": {"message": "it broke", "code": 500}}]
            return _stream([(None, {**head, "object": "chat.completion.chunk", **event}) for event in events])
        message: dict[str, Any] = {"role": "assistant", "content": "hello"}
        if tool is not None:
            function = {"name": tool["function"]["name"], "arguments": '{"city": "Rome"}'}
            call = {"id": f"call_{self.number}", "type": "function", "function": function}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "finish_reason": "tool_calls" if tool else "stop", "message": message}
        return _reply({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})

    def _answer_anthropic(self, asked: dict[str, Any]) -> Reply:
        head = {"id": f"msg_{self.number}", "type": "message", "role": "assistant", "model": asked["model"]}
        text = {"type": "text", "text": "hello"}
        tool = _find_tool(asked)
        if not asked.get("stream"):
            call = (
                {
                    "type": "tool_use",
                    "id": f"toolu_{self.number}",
                    "name": tool["name"],
                    "input": {"city": "Rome"},
                }
                if tool
                else None
            )
            content = [text, call] if call else [text]
            rest = {
                "content": content,
                "stop_reason": "tool_use" if call else "end_turn",
                "stop_sequence": None,
            }
            return _reply({**head, **rest, "usage": COUNTS})
        begin = {
            **head,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**COUNTS, "output_tokens": 1},
        }
        deltas = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in WORDS
        ]
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": begin},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *deltas,
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": COUNTS,
            },
            {"type": "message_stop"},
        ]
        if asked["model"] == "breaks":
            events[3:] = [{"type": "error", "error": {"type": "overloaded_error", "message": "it broke"}}]
        return _stream([(event["type"], event) for event in events])


def _find_tool(asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return the tool that is to be asked for: the first, unless a tool has answered."""
    answered = any(
        "tool" in json.dumps(message["content"]) or message["role"] == "tool" for message in asked["messages"]
    )
    return next(iter(asked.get("tools") or ()), None) if not answered else None


def _reply(body: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode(), _HEADERS)


def _stream(events: list[tuple[str | None, Any]]) -> Reply:
    lines = [
        f"event: {name}\ndata: {json.dumps(event)}\n\n" if name else f"data: {json.dumps(event)}\n\n"
        for name, event in events
    ]
    return Reply(
        body="".join([*lines, "data: [DONE]\n\n" if events[0][0] is None else ""]).encode(),
        headers={**_HEADERS, "content-type": "text/event-stream"},
    )
