"""A provider on 127.0.0.1 in OpenAI's dialects: asks for the first tool it is offered, then answers."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.loopback import Loopback, Received, Reply
from tests.rig.exchanges import read_exchanges

ANSWER = "It is 6768 metres high."
MODEL = "gpt-4o-2024-08-06"
"""Model that the recorded exchanges answered with; programs ask for `gpt-4o`."""


@dataclass
class Answered:
    """One request to a model and what it was answered, as the calls must say it."""

    kind: str
    """`llm` or `embedding`."""
    model: str
    question: str
    """Last text of the request."""
    text: str = ""
    tool: dict[str, Any] = field(default_factory=dict)
    """`name` and `arguments` of the tool that was asked for, nothing where the answer is text."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class ScriptedProvider(Loopback):
    """A server for the length of a `with` block; bodies are those of the recorded exchanges, filled anew."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.answered: list[Answered] = []
        self._counting = threading.Lock()

    def _reply(self, request: Received) -> Reply:
        if request.path == "/count":
            return Reply(200, str(len(self.answered)).encode())
        if request.method != "POST":
            return Reply(404)
        body = request.json()
        with self._counting:
            if request.path.endswith("/embeddings"):
                return self._embed(body)
            if request.path.endswith("/chat/completions"):
                return self._chat(body)
            return self._respond(body) if request.path.endswith("/responses") else Reply(404)

    def _embed(self, body: dict[str, Any]) -> Reply:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        whole = read_exchanges()["sample-openai-embedding"].json()
        vectors = [{**whole["data"][0], "index": index} for index in range(len(texts))]
        tokens = 6 + len(self.answered)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self.answered.append(Answered("embedding", whole["model"], str(texts[-1]), input_tokens=tokens))
        return _build_reply({**whole, "data": vectors, "usage": usage})

    def _chat(self, body: dict[str, Any]) -> Reply:
        tools = [tool["function"] for tool in body.get("tools") or ()]
        answered = self._choose(body["messages"], tools, "parameters")
        whole = read_exchanges()["sample-openai-chat"].json()
        whole |= {"id": f"chatcmpl-{len(self.answered)}", "usage": _count_chat(answered)}
        message: dict[str, Any] = {"role": "assistant", "content": answered.text or None}
        if answered.tool:
            message["tool_calls"] = [_build_tool_call(answered)]
        reason = "tool_calls" if answered.tool else "stop"
        if not body.get("stream"):
            choice = {**whole["choices"][0], "message": message, "finish_reason": reason}
            return _build_reply({**whole, "choices": [choice]})
        return _stream(list(_cut_chat(whole, message, reason)))

    def _respond(self, body: dict[str, Any]) -> Reply:
        answered = self._choose(body["input"], body.get("tools") or [], "parameters")
        whole = read_exchanges()["sample-openai-responses"].json()
        text = {"type": "output_text", "text": answered.text, "annotations": []}
        message = {**whole["output"][1], "content": [text]}
        call = {"type": "function_call", "id": "fc_1", "status": "completed", "call_id": "call_1",
                **answered.tool}  # fmt: skip
        whole |= {"id": f"resp_{len(self.answered)}", "model": MODEL, "usage": _count_response(answered)}
        whole["output"] = [call if answered.tool else message]
        if not body.get("stream"):
            return _build_reply(whole)
        events = [
            {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
            {"type": "response.output_item.added", "output_index": 0, "item": whole["output"][0]},
            {"type": "response.output_item.done", "output_index": 0, "item": whole["output"][0]},
            {"type": "response.completed", "response": whole},
        ]
        return _stream([{**event, "sequence_number": index} for index, event in enumerate(events)])

    def _choose(self, asked: Any, tools: list[dict[str, Any]], schema: str) -> Answered:
        """Return what is answered: a tool first, text once the tool's result is among the messages."""
        count = len(self.answered)
        answered = Answered(
            "llm", MODEL, _find_last_text(asked), input_tokens=100 + count, output_tokens=5 + count,
            cached_tokens=16,
        )  # fmt: skip
        known = "6768" in json.dumps(asked)
        offered = [tool for tool in tools if (tool["name"] == "final_answer") == known]
        if offered and (not known or tools != offered):
            answered.tool = {
                "name": offered[0]["name"],
                "arguments": json.dumps(_fill(offered[0].get(schema) or {})),
            }
        else:
            answered.text = _follow_form(json.dumps(asked))
        self.answered.append(answered)
        return answered


def _find_last_text(asked: Any) -> str:
    """Return the end of the last text in a request's messages."""
    if isinstance(asked, str):
        return asked
    texts = [text for message in asked for text in _list_texts(message)]
    return texts[-1] if texts else ""


def _list_texts(message: dict[str, Any]) -> list[str]:
    content = message.get("content") or message.get("output")
    if isinstance(content, str):
        return [content]
    return [piece["text"] for piece in content or () if isinstance(piece, dict) and "text" in piece]


def _follow_form(asked: str) -> str:
    """Return the answer in the form that a request asks for: DSPy wants marked fields."""
    if "[[ ## " not in asked:
        return ANSWER
    fields = [f"[[ ## {name} ## ]]\n{ANSWER}" for name in ("reasoning", "answer") if f"## {name} ##" in asked]
    return "\n\n".join([*fields, "[[ ## completed ## ]]"])


_VALUES = {"string": "Huascarán", "integer": 6768, "number": 6768.0, "boolean": True, "array": []}


def _fill(schema: dict[str, Any]) -> dict[str, Any]:
    """Return arguments that a JSON schema takes."""
    return {
        name: _VALUES.get(str(of.get("type", "string")), {})
        for name, of in (schema.get("properties") or {}).items()
    }


def _build_tool_call(answered: Answered) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": answered.tool}


def _cut_chat(whole: dict[str, Any], message: dict[str, Any], reason: str) -> list[dict[str, Any]]:
    head = {**whole, "object": "chat.completion.chunk", "usage": None}
    tools = [{**call, "index": 0} for call in message.get("tool_calls", ())]
    pieces = [{"role": "assistant", "content": "" if message["content"] else None}]
    pieces += [{"tool_calls": [call]} for call in tools]
    text = message["content"] or ""
    pieces += [{"content": part} for part in (text[:6], text[6:]) if part]
    choices = [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]
    chunks = [{**head, "choices": [choice]} for choice in choices]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    return [*chunks, {**head, "choices": [], "usage": whole["usage"]}]


def _count_chat(answered: Answered) -> dict[str, Any]:
    return {
        "prompt_tokens": answered.input_tokens,
        "completion_tokens": answered.output_tokens,
        "total_tokens": answered.input_tokens + answered.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answered.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _count_response(answered: Answered) -> dict[str, Any]:
    return {
        "input_tokens": answered.input_tokens,
        "output_tokens": answered.output_tokens,
        "total_tokens": answered.input_tokens + answered.output_tokens,
        "input_tokens_details": {"cached_tokens": answered.cached_tokens},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def _build_reply(body: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(body).encode())


def _stream(events: list[dict[str, Any]]) -> Reply:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return Reply(200, "".join([*lines, "data: [DONE]\n\n"]).encode(), {"content-type": "text/event-stream"})
