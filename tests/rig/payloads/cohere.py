"""Facts in both versions of Cohere's dialect."""

from __future__ import annotations

from typing import Any

from tests.rig.exchanges import Exchange
from tests.rig.facts import Facts, get
from tests.rig.payloads.openai import read_chat_request, read_content, read_tool_calls


def read_chat(exchange: Exchange, facts: Facts) -> None:
    """Note the messages of a chat, or the prompt and texts of a generation."""
    if "messages" in exchange.request:
        read_chat_request(exchange.request, facts)
    else:
        facts.speak("user")("text", exchange.request.get("message") or exchange.request.get("prompt"))
    if not facts.failed:
        events = exchange.events()
        _read_answer(_join_events(events) if events else exchange.json(), facts)


def read_embedding(exchange: Exchange, facts: Facts) -> None:
    """Note the texts that are embedded, and the count that is billed."""
    facts.operation = "embedding"
    for text in exchange.request["texts"]:
        facts.speak("user")("text", text)
    if not facts.failed:
        facts.count(input_tokens=get(exchange.json(), "meta", "billed_units", "input_tokens"))


def read_rerank(exchange: Exchange, facts: Facts) -> None:
    """Note the query and the documents that are ranked."""
    facts.operation = "reranker"
    for text in (exchange.request["query"], *exchange.request["documents"]):
        facts.speak("user")("text", get(text, "text") or text)


def _read_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note an answer; `tokens` are those that the model saw, where only the billed ones are told, these."""
    message = body.get("message") or {}
    read_content(message.get("content") or body.get("text"), facts.answer)
    for generation in body.get("generations") or ():
        facts.answer("text", generation["text"])
        facts.finish += [generation["finish_reason"]] if generation.get("finish_reason") else []
    if plan := message.get("tool_plan"):
        facts.answer("reasoning", plan)
    read_tool_calls(message, facts.answer)
    facts.finish += [body["finish_reason"]] if body.get("finish_reason") else []
    usage = body.get("usage") or body.get("meta") or {}
    counts = usage.get("tokens") or usage.get("billed_units") or {}
    facts.count(
        input_tokens=counts.get("input_tokens"),
        output_tokens=counts.get("output_tokens"),
        cache_read_tokens=usage.get("cached_tokens"),
    )


def _join_events(events: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"content": "", "tool_plan": ""}
    calls: dict[int, dict[str, Any]] = {}
    ending: dict[str, Any] = {}
    for event in events:
        delta = get(event, "delta", "message") or {}
        message["content"] += get(delta, "content", "text") or ""
        message["tool_plan"] += delta.get("tool_plan") or ""
        if event["type"] == "tool-call-start":
            calls[event["index"]] = delta["tool_calls"]
        elif event["type"] == "tool-call-delta":
            calls[event["index"]]["function"]["arguments"] += delta["tool_calls"]["function"]["arguments"]
        elif event["type"] == "message-end":
            ending = event["delta"]
    return {**ending, "message": {**message, "tool_calls": list(calls.values())}}
