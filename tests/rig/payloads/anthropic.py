"""Facts in Anthropic's dialect."""

from __future__ import annotations

import json
from typing import Any

from tests.rig.exchanges import Exchange
from tests.rig.facts import AddFact, Facts, add_counts, get, load_json
from tests.rig.payloads.openai import read_content


def read_messages(exchange: Exchange, facts: Facts) -> None:
    """Note the messages and blocks of an exchange."""
    read_request(exchange.request, facts)
    if not facts.failed:
        events = exchange.events()
        read_answer(join_events(events) if events else exchange.json(), facts)


def read_request(request: dict[str, Any], facts: Facts) -> None:
    """Note the system prompt and the messages."""
    read_content(request.get("system"), facts.speak("system"))
    for message in request.get("messages") or ():
        add, content = facts.speak(message["role"]), message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            _read_block(block, add)


def _read_block(block: dict[str, Any], add: AddFact) -> None:
    kind = block["type"]
    if kind == "text":
        add("text", block["text"])
    elif kind == "thinking":
        add(*(("reasoning", block["thinking"]) if block["thinking"] else ("other", kind)))
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        add("call", (block["id"], block["name"], load_json(block["input"])))
    elif kind in ("image", "document"):
        add("media", kind)
    elif kind.endswith("tool_result"):
        content = block.get("content")
        texts = isinstance(content, list) and all(piece.get("type") == "text" for piece in content)
        answer = "\n".join(piece["text"] for piece in content or ()) if texts else content
        add("result", (block["tool_use_id"], answer))
    else:
        add("other", kind)


def read_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note the blocks; Anthropic counts cached tokens beside the input."""
    for block in body.get("content") or ():
        _read_block(block, facts.answer)
    facts.model = body.get("model")
    facts.finish += [body["stop_reason"]] if body.get("stop_reason") else []
    usage = body.get("usage") or {}
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    facts.count(
        input_tokens=add_counts(usage.get("input_tokens"), read, written),
        output_tokens=usage.get("output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=get(usage, "output_tokens_details", "thinking_tokens"),
    )


def join_events(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that a stream's events make."""
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        if event["type"] == "message_start":
            message = dict(event["message"])
        elif event["type"] == "content_block_start":
            blocks[event["index"]] = {**event["content_block"], "json": ""}
        elif event["type"] == "content_block_delta":
            _extend_block(blocks[event["index"]], event["delta"])
        elif event["type"] == "message_delta":
            ending = {key: value for key, value in event["delta"].items() if value is not None}
            counts = {key: value for key, value in (event.get("usage") or {}).items() if value is not None}
            message |= {**ending, "usage": {**(message.get("usage") or {}), **counts}}
    return {**message, "content": [_fill_input(blocks[index]) for index in sorted(blocks)]}


def _extend_block(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("text", "thinking"):
        if name in delta:
            block[name] = block.get(name, "") + delta[name]
    block["json"] += delta.get("partial_json", "")


def _fill_input(block: dict[str, Any]) -> dict[str, Any]:
    text = block.pop("json")
    return {**block, "input": json.loads(text)} if text else block
