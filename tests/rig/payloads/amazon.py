"""Facts in the dialects of Amazon Bedrock: Converse, and the models' own bodies."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.rig.exchanges import Exchange
from tests.rig.facts import AddFact, Facts, add_counts, get, load_json
from tests.rig.payloads import anthropic, openai


def read_converse(exchange: Exchange, facts: Facts) -> None:
    """Note the messages of Converse, streamed or whole."""
    _read_converse_request(exchange.request, facts)
    if not facts.failed:
        frames = [{name: payload} for name, payload in exchange.frames()]
        _read_converse_answer(_join_converse(frames) if frames else exchange.json(), facts)


def read_invoke(exchange: Exchange, facts: Facts) -> None:
    """Note bodies of the model's own, streamed or whole."""
    _read_invoke_request(exchange.request, facts)
    if "stream" in exchange.endpoint:
        _read_invoke_stream(exchange, facts)
    elif not facts.failed:
        _read_invoke_answer(exchange.json(), facts)


def _read_converse_request(request: dict[str, Any], facts: Facts) -> None:
    for block in request.get("system") or ():
        _read_block(block, facts.speak("system"))
    for message in request.get("messages") or ():
        for block in message["content"]:
            _read_block(block, facts.speak(message["role"]))


def _read_block(block: dict[str, Any], add: AddFact) -> None:
    if "text" in block:
        add("text", block["text"])
    elif call := block.get("toolUse"):
        add("call", (call["toolUseId"], call["name"], load_json(call["input"])))
    elif answer := block.get("toolResult"):
        add("result", (answer["toolUseId"], answer["content"]))
    elif thought := get(block, "reasoningContent", "reasoningText", "text"):
        add("reasoning", thought)
    elif block.keys() & {"image", "document", "video"}:
        add("media", "data")
    else:
        add("other", next(iter(block)))


def _read_converse_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note the message; Amazon counts cached tokens beside the input."""
    for block in get(body, "output", "message", "content") or ():
        _read_block(block, facts.answer)
    facts.finish += [body["stopReason"]] if body.get("stopReason") else []
    usage = body.get("usage") or {}
    read = usage.get("cacheReadInputTokens", usage.get("cacheReadInputTokenCount"))
    written = usage.get("cacheWriteInputTokens", usage.get("cacheWriteInputTokenCount"))
    facts.count(
        input_tokens=add_counts(usage.get("inputTokens"), read, written),
        output_tokens=usage.get("outputTokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def _join_converse(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer that a stream's frames, each `{name: payload}`, make."""
    blocks: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {}
    for name, payload in (pair for frame in frames for pair in frame.items()):
        at = payload.get("contentBlockIndex", 0) if isinstance(payload, dict) else 0
        if name == "contentBlockStart" and (call := get(payload, "start", "toolUse")):
            blocks[at] = {"toolUse": {**call, "input": ""}}
        elif name == "contentBlockDelta":
            _extend_block(blocks, at, payload["delta"])
        elif name == "messageStop":
            answer["stopReason"] = payload["stopReason"]
        elif name == "metadata":
            answer["usage"] = payload.get("usage")
    for block in blocks.values():
        if get(block, "toolUse", "input") == "":
            block["toolUse"]["input"] = {}
    return {**answer, "output": {"message": {"content": [blocks[at] for at in sorted(blocks)]}}}


def _extend_block(blocks: dict[int, dict[str, Any]], at: int, delta: dict[str, Any]) -> None:
    if "text" in delta:
        block = blocks.setdefault(at, {"text": ""})
        block["text"] += delta["text"]
    elif "toolUse" in delta:
        blocks[at]["toolUse"]["input"] += delta["toolUse"]["input"]
    elif "reasoningContent" in delta:
        block = blocks.setdefault(at, {"reasoningContent": {"reasoningText": {"text": ""}}})
        block["reasoningContent"]["reasoningText"]["text"] += delta["reasoningContent"].get("text", "")


def _read_invoke_request(request: dict[str, Any], facts: Facts) -> None:
    if "anthropic_version" in request:
        anthropic.read_request(request, facts)
    elif "inferenceConfig" in request:
        _read_converse_request(request, facts)
    elif "messages" in request:
        openai.read_chat_request(request, facts)
    else:
        facts.speak("user")("text", request.get("prompt") or request.get("inputText"))


def _read_invoke_answer(body: dict[str, Any], facts: Facts) -> None:
    if body.get("type") == "message":
        anthropic.read_answer(body, facts)
    elif "output" in body:
        _read_converse_answer(body, facts)
    elif "choices" in body:
        openai.read_chat_answer(body, facts)
    else:
        _read_bare_answer(body, facts)


def _read_bare_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note the text of Titan, Llama, Mistral, Cohere or the Anthropic of old."""
    result = get(body, "results", 0) or get(body, "outputs", 0) or get(body, "generations", 0) or body
    keys = ("outputText", "text", "generation", "completion")
    facts.answer("text", next(result[key] for key in keys if key in result))
    reason = result.get("completionReason") or result.get("stop_reason") or result.get("finish_reason")
    facts.finish += [reason] if reason else []
    facts.count(
        input_tokens=body.get("prompt_token_count", body.get("inputTextTokenCount")),
        output_tokens=body.get("generation_token_count", result.get("tokenCount")),
    )


def _read_invoke_stream(exchange: Exchange, facts: Facts) -> None:
    frames = [payload for name, payload in exchange.frames() if name == "chunk"]
    pieces = [json.loads(base64.b64decode(payload["bytes"])) for payload in frames]
    if pieces and pieces[0].get("type") == "message_start":
        anthropic.read_answer(anthropic.join_events(pieces), facts)
    elif pieces and "messageStart" in pieces[0]:
        _read_converse_answer(_join_converse(pieces), facts)
    else:
        for piece in pieces:
            _read_bare_piece(piece, facts)


def _read_bare_piece(piece: dict[str, Any], facts: Facts) -> None:
    choice = get(piece, "outputs", 0) or get(piece, "choices", 0)
    text = piece.get("outputText") or piece.get("generation")
    if text := text or get(choice, "delta", "content") or get(choice, "text"):
        facts.answer("text", text)
    reason = piece.get("completionReason") or piece.get("stop_reason")
    if reason := reason or get(choice, "stop_reason") or get(choice, "finish_reason"):
        facts.finish.append(reason)
    if counts := piece.get("amazon-bedrock-invocationMetrics"):
        facts.count(input_tokens=counts["inputTokenCount"], output_tokens=counts["outputTokenCount"])
