"""Facts in the dialects of Anthropic, Google, Amazon, Cohere and Ollama."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.traffic import read_openai
from tests.traffic.exchanges import Exchange
from tests.traffic.facts import Facts, Say, add_counts, get, parse_if_json


def anthropic_request(request: dict[str, Any], facts: Facts) -> None:
    """Note the system prompt and the messages."""
    read_openai.content(request.get("system"), facts.ask("system"))
    for message in request.get("messages") or ():
        say, told = facts.ask(message["role"]), message["content"]
        for block in [{"type": "text", "text": told}] if isinstance(told, str) else told:
            _block(block, say)


def _block(block: dict[str, Any], say: Say) -> None:
    kind = block["type"]
    if kind == "text":
        say("text", block["text"])
    elif kind == "thinking":
        say("reasoning", block["thinking"])
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        say("call", (block["id"], block["name"], parse_if_json(block["input"])))
    elif kind in ("image", "document"):
        say("media", kind)
    elif kind.endswith("tool_result"):
        told = block.get("content")
        texts = isinstance(told, list) and all(piece.get("type") == "text" for piece in told)
        say("result", (block["tool_use_id"], "\n".join(p["text"] for p in told or ()) if texts else told))


def anthropic_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note the blocks; Anthropic counts cached tokens beside the input."""
    for block in body.get("content") or ():
        _block(block, facts.answer)
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


def join_anthropic(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that a stream's events make."""
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        if event["type"] == "message_start":
            message = dict(event["message"])
        elif event["type"] == "content_block_start":
            blocks[event["index"]] = {**event["content_block"], "json": ""}
        elif event["type"] == "content_block_delta":
            _extend(blocks[event["index"]], event["delta"])
        elif event["type"] == "message_delta":
            told = {k: v for k, v in event["delta"].items() if v is not None}
            usage = {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
            message |= {**told, "usage": {**(message.get("usage") or {}), **usage}}
    return {**message, "content": [fill_block(blocks[index]) for index in sorted(blocks)]}


def _extend(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("text", "thinking"):
        if name in delta:
            block[name] = block.get(name, "") + delta[name]
    block["json"] += delta.get("partial_json", "")


def fill_block(block: dict[str, Any]) -> dict[str, Any]:
    told = block.pop("json")
    return {**block, "input": json.loads(told)} if told else block


_CAMEL = {
    "function_call": "functionCall", "function_response": "functionResponse", "inline_data": "inlineData",
    "file_data": "fileData",
}  # fmt: skip


def gemini_request(request: dict[str, Any], facts: Facts) -> None:
    """Note the system instruction and the contents."""
    system = request.get("systemInstruction") or request.get("system_instruction")
    _gemini_parts(system, facts.ask("system"))
    for entry in request.get("contents") or ():
        _gemini_parts(entry, facts.ask(entry.get("role") or "user"))


def _gemini_parts(entry: Any, say: Say) -> None:
    for raw in (entry or {}).get("parts") or ():
        part = {_CAMEL.get(name, name): value for name, value in raw.items()}
        if call := part.get("functionCall"):
            say("call", (call.get("id"), call["name"], call.get("args") or {}))
        elif answer := part.get("functionResponse"):
            say("result", (answer.get("id") or answer["name"], answer.get("response")))
        elif "text" in part:
            say("reasoning" if part.get("thought") else "text", part["text"])
        elif "inlineData" in part or "fileData" in part:
            say("media", "data")


def gemini_answer(chunks: list[dict[str, Any]], facts: Facts) -> None:
    """Note what one answer, or the chunks of a stream, say; Gemini counts thoughts beside the output."""
    for chunk in chunks:
        facts.model = chunk.get("modelVersion") or facts.model
        for candidate in chunk.get("candidates") or ():
            _gemini_parts(candidate.get("content"), facts.answer)
            if reason := candidate.get("finishReason"):
                facts.finish.append(reason)
        if usage := chunk.get("usageMetadata"):
            thoughts = usage.get("thoughtsTokenCount")
            facts.count(
                input_tokens=add_counts(usage.get("promptTokenCount"), usage.get("toolUsePromptTokenCount")),
                output_tokens=add_counts(usage.get("candidatesTokenCount"), thoughts),
                cache_read_tokens=usage.get("cachedContentTokenCount"),
                reasoning_tokens=thoughts,
            )


def converse_request(request: dict[str, Any], facts: Facts) -> None:
    """Note the system prompt and the messages of Amazon's Converse."""
    for block in request.get("system") or ():
        _converse_block(block, facts.ask("system"))
    for message in request.get("messages") or ():
        for block in message["content"]:
            _converse_block(block, facts.ask(message["role"]))


def _converse_block(block: dict[str, Any], say: Say) -> None:
    if "text" in block:
        say("text", block["text"])
    elif call := block.get("toolUse"):
        say("call", (call["toolUseId"], call["name"], parse_if_json(call["input"])))
    elif answer := block.get("toolResult"):
        say("result", (answer["toolUseId"], answer["content"]))
    elif thought := get(block, "reasoningContent", "reasoningText", "text"):
        say("reasoning", thought)
    elif block.keys() & {"image", "document", "video"}:
        say("media", "data")


def converse_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note the message; Amazon counts cached tokens beside the input."""
    for block in get(body, "output", "message", "content") or ():
        _converse_block(block, facts.answer)
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


def join_converse(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer that a stream's frames, each `{name: payload}`, make."""
    blocks: dict[int, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    for name, told in (pair for frame in frames for pair in frame.items()):
        at = told.get("contentBlockIndex", 0) if isinstance(told, dict) else 0
        if name == "contentBlockStart" and (call := get(told, "start", "toolUse")):
            blocks[at] = {"toolUse": {**call, "input": ""}}
        elif name == "contentBlockDelta":
            _extend_converse(blocks, at, told["delta"])
        elif name == "messageStop":
            whole["stopReason"] = told["stopReason"]
        elif name == "metadata":
            whole["usage"] = told.get("usage")
    for block in blocks.values():
        if get(block, "toolUse", "input") == "":
            block["toolUse"]["input"] = {}
    return {**whole, "output": {"message": {"content": [blocks[at] for at in sorted(blocks)]}}}


def _extend_converse(blocks: dict[int, dict[str, Any]], at: int, delta: dict[str, Any]) -> None:
    if "text" in delta:
        block = blocks.setdefault(at, {"text": ""})
        block["text"] += delta["text"]
    elif "toolUse" in delta:
        blocks[at]["toolUse"]["input"] += delta["toolUse"]["input"]
    elif "reasoningContent" in delta:
        block = blocks.setdefault(at, {"reasoningContent": {"reasoningText": {"text": ""}}})
        block["reasoningContent"]["reasoningText"]["text"] += delta["reasoningContent"].get("text", "")


def invoke_request(request: dict[str, Any], facts: Facts) -> None:
    """Note a body of Amazon's InvokeModel, which is the model's own."""
    if "anthropic_version" in request:
        anthropic_request(request, facts)
    elif "inferenceConfig" in request:
        converse_request(request, facts)
    elif "messages" in request:
        read_openai.chat_request(request, facts)
    else:
        facts.ask("user")("text", request.get("prompt") or request.get("inputText"))


def invoke_answer(body: dict[str, Any], facts: Facts) -> None:
    """Note a body of the model's own."""
    if body.get("type") == "message":
        anthropic_answer(body, facts)
    elif "output" in body:
        converse_answer(body, facts)
    elif "choices" in body:
        read_openai.chat_answer(body, facts)
    else:
        told = get(body, "results", 0) or get(body, "outputs", 0) or get(body, "generations", 0) or body
        keys = ("outputText", "text", "generation", "completion")
        facts.answer("text", next(told[key] for key in keys if key in told))
        reason = told.get("completionReason") or told.get("stop_reason") or told.get("finish_reason")
        facts.finish += [reason] if reason else []
        given = body.get("prompt_token_count", body.get("inputTextTokenCount"))
        facts.count(
            input_tokens=given, output_tokens=body.get("generation_token_count", told.get("tokenCount"))
        )


def invoke_stream(exchange: Exchange, facts: Facts) -> None:
    """Note the pieces of a streamed body of the model's own."""
    frames = [payload for name, payload in exchange.frames() if name == "chunk"]
    pieces = [json.loads(base64.b64decode(payload["bytes"])) for payload in frames]
    if pieces and pieces[0].get("type") == "message_start":
        return anthropic_answer(join_anthropic(pieces), facts)
    if pieces and "messageStart" in pieces[0]:
        return converse_answer(join_converse(pieces), facts)
    for piece in pieces:
        told = piece.get("outputText") or piece.get("generation")
        told = told or get(piece, "choices", 0, "delta", "content") or get(piece, "outputs", 0, "text")
        if told:
            facts.answer("text", told)
        reason = piece.get("completionReason") or piece.get("stop_reason")
        reason = (
            reason or get(piece, "outputs", 0, "stop_reason") or get(piece, "choices", 0, "finish_reason")
        )
        facts.finish += [reason] if reason else []
        if counts := piece.get("amazon-bedrock-invocationMetrics"):
            facts.count(input_tokens=counts["inputTokenCount"], output_tokens=counts["outputTokenCount"])
    return None


def cohere_request(exchange: Exchange, facts: Facts) -> None:
    """Note the messages of either version."""
    request = exchange.request
    if "messages" in request:
        read_openai.chat_request(request, facts)
    else:
        facts.ask("user")("text", request.get("message") or request.get("prompt"))


def cohere_answer(exchange: Exchange, facts: Facts) -> None:
    """Note the answer of either version, or of a stream; `tokens` are those that the model saw."""
    events = exchange.events()
    body = _join_cohere(events) if events else exchange.json()
    message = body.get("message") or {}
    read_openai.content(message.get("content") or body.get("text"), facts.answer)
    for entry in body.get("generations") or ():
        facts.answer("text", entry["text"])
        facts.finish += [entry["finish_reason"]] if entry.get("finish_reason") else []
    if plan := message.get("tool_plan"):
        facts.answer("reasoning", plan)
    read_openai.tool_calls(message, facts.answer)
    facts.finish += [body["finish_reason"]] if body.get("finish_reason") else []
    usage = body.get("usage") or body.get("meta") or {}
    counts = usage.get("tokens") or {}
    facts.count(
        input_tokens=counts.get("input_tokens"),
        output_tokens=counts.get("output_tokens"),
        cache_read_tokens=usage.get("cached_tokens"),
    )


def _join_cohere(events: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"content": "", "tool_plan": ""}
    calls: dict[int, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    for event in events:
        delta = get(event, "delta", "message") or {}
        message["content"] += get(delta, "content", "text") or ""
        message["tool_plan"] += delta.get("tool_plan") or ""
        if event["type"] == "tool-call-start":
            calls[event["index"]] = delta["tool_calls"]
        elif event["type"] == "tool-call-delta":
            calls[event["index"]]["function"]["arguments"] += delta["tool_calls"]["function"]["arguments"]
        elif event["type"] == "message-end":
            whole = event["delta"]
    return {**whole, "message": {**message, "tool_calls": list(calls.values())}}


def ollama_request(request: dict[str, Any], facts: Facts) -> None:
    """Note messages, or a prompt with its system prompt."""
    if told := request.get("system"):
        facts.ask("system")("text", told)
    if told := request.get("prompt"):
        facts.ask("user")("text", told)
    for message in request.get("messages") or ():
        say = facts.ask(message["role"])
        if message["role"] == "tool":
            say("result", (message.get("tool_name"), message["content"]))
            continue
        read_openai.content(message.get("content"), say)
        read_openai.tool_calls(message, say)
        for _ in message.get("images") or ():
            say("media", "image")


def ollama_answer(exchange: Exchange, facts: Facts) -> None:
    """Note one answer, or the lines of a stream; Ollama's client leaves the ids of calls out."""
    bodies = exchange.events() or [exchange.json()]
    for body in bodies:
        message = body.get("message") or {"content": body.get("response")}
        read_openai.content(message.get("content"), facts.answer)
        if thought := message.get("thinking"):
            facts.answer("reasoning", thought)
        for call in message.get("tool_calls") or ():
            facts.answer("call", (None, call["function"]["name"], call["function"]["arguments"]))
    last = bodies[-1]
    facts.model = last["model"]
    facts.finish += [last["done_reason"]] if last.get("done_reason") else []
    facts.count(input_tokens=last.get("prompt_eval_count"), output_tokens=last.get("eval_count"))
