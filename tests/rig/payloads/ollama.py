"""Facts in Ollama's dialect."""

from __future__ import annotations

from typing import Any

from tests.rig.exchanges import Exchange
from tests.rig.facts import Facts
from tests.rig.payloads.openai import read_content, read_tool_calls


def read_chat(exchange: Exchange, facts: Facts) -> None:
    """Note messages, or a prompt with its system prompt, and the answer."""
    if system := exchange.request.get("system"):
        facts.speak("system")("text", system)
    if prompt := exchange.request.get("prompt"):
        facts.speak("user")("text", prompt)
    for message in exchange.request.get("messages") or ():
        _read_message(message, facts)
    if not facts.failed:
        _read_bodies(exchange.events() or [exchange.json()], facts)


def read_embedding(exchange: Exchange, facts: Facts) -> None:
    """Note the text that is embedded; the old endpoint does not count it."""
    facts.operation = "embedding"
    facts.speak("user")("text", exchange.request["prompt"])


def _read_message(message: dict[str, Any], facts: Facts) -> None:
    add = facts.speak(message["role"])
    if message["role"] == "tool":
        add("result", (message.get("tool_name"), message["content"]))
        return
    read_content(message.get("content"), add)
    read_tool_calls(message, add)
    for _ in message.get("images") or ():
        add("media", "image")


def _read_bodies(bodies: list[dict[str, Any]], facts: Facts) -> None:
    """Note one answer, or the lines of a stream; Ollama's client leaves the ids of calls out."""
    for body in bodies:
        message = body.get("message") or {"content": body.get("response")}
        read_content(message.get("content"), facts.answer)
        if thought := message.get("thinking"):
            facts.answer("reasoning", thought)
        for call in message.get("tool_calls") or ():
            facts.answer("call", (None, call["function"]["name"], call["function"]["arguments"]))
    last = bodies[-1]
    facts.model = last["model"]
    facts.finish += [last["done_reason"]] if last.get("done_reason") else []
    facts.count(input_tokens=last.get("prompt_eval_count"), output_tokens=last.get("eval_count"))
