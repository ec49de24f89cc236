"""Streams made of content blocks: Anthropic's messages and Bedrock's Converse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.shapes import Chunk, Json
from llm_trace.semconv.values import get_field, list_fields, list_items, load_container


def _index(chunk: Chunk, key: str = "index") -> int:
    index = chunk.get(key)
    return index if isinstance(index, int) else 0


def _append(block: Json, key: str, piece: Any) -> None:
    """Join text to `block[key]`; anything else replaces it."""
    have = block.get(key)
    block[key] = (have if isinstance(have, str) else "") + piece if isinstance(piece, str) else piece


def join_anthropic(chunks: list[Chunk]) -> Json:
    """Return the message that Anthropic's events add up to."""
    answer: Json = {}
    blocks: dict[int, Json] = {}
    for chunk in chunks:
        kind = chunk.get("type")
        if kind == "message_start":
            answer = {**answer, **list_fields(chunk.get("message"))}
        elif kind == "content_block_start":
            blocks[_index(chunk)] = dict(list_fields(chunk.get("content_block")))
        elif kind == "content_block_delta":
            _add_delta(blocks.setdefault(_index(chunk), {}), list_fields(chunk.get("delta")))
        elif kind == "message_delta":
            _add_end(answer, chunk)
        if "amazon-bedrock-invocationMetrics" in chunk:
            answer["amazon-bedrock-invocationMetrics"] = chunk["amazon-bedrock-invocationMetrics"]
    if blocks:
        answer["content"] = [_close_block(blocks[index]) for index in sorted(blocks)]
    return answer


_DELTAS = {
    "text_delta": ("text", "text", "text"),
    "thinking_delta": ("thinking", "thinking", "thinking"),
    "signature_delta": ("signature", "signature", "thinking"),
    "input_json_delta": ("partial_json", "partial_json", "tool_use"),
}


def _add_delta(block: Json, delta: Chunk) -> None:
    kind = delta.get("type")
    if kind == "citations_delta":
        block["citations"] = [*list_items(block.get("citations")), delta.get("citation")]
        return
    known = _DELTAS.get(kind) if isinstance(kind, str) else None
    if known is not None:
        source, target, begun = known
        block.setdefault("type", begun)
        _append(block, target, delta.get(source))
        return
    for key, value in delta.items():
        if key != "type" and value is not None:
            _append(block, key, value)


def _add_end(made: Json, chunk: Chunk) -> None:
    """Take stop reason and the final counts; those are cumulative, so they replace the first ones."""
    made.update({key: value for key, value in list_fields(chunk.get("delta")).items() if value is not None})
    counts = {key: value for key, value in list_fields(chunk.get("usage")).items() if value is not None}
    if counts:
        made["usage"] = {**list_fields(made.get("usage")), **counts}
    for key in chunk:
        if key not in ("type", "delta", "usage") and chunk[key] is not None:
            made[key] = chunk[key]


def _close_block(block: Json) -> Json:
    """Return a block whose pieces of JSON have become its input."""
    if "partial_json" not in block:
        return block
    text = block["partial_json"]
    rest = {key: value for key, value in block.items() if key != "partial_json"}
    return {**rest, "input": load_container(text)} if text else rest


def join_converse(chunks: list[Chunk]) -> Json:
    """Return the Converse response that Bedrock's events add up to."""
    answer: Json = {}
    role = "assistant"
    blocks: dict[int, Json] = {}
    for chunk in chunks:
        start = chunk.get("messageStart")
        if isinstance(start, Mapping) and isinstance(start.get("role"), str):
            role = start["role"]
        _add_block(blocks, chunk)
        answer.update(list_fields(chunk.get("messageStop")))
        answer.update(list_fields(chunk.get("metadata")))
    content = [_close_tool(blocks[index]) for index in sorted(blocks)]
    answer["output"] = {"message": {"role": role, "content": content}}
    return answer


def _add_block(blocks: dict[int, Json], chunk: Chunk) -> None:
    begun, delta = list_fields(chunk.get("contentBlockStart")), list_fields(chunk.get("contentBlockDelta"))
    if begun:
        opened = list_fields(begun.get("start"))
        blocks[_index(begun, "contentBlockIndex")] = {k: dict(list_fields(v)) for k, v in opened.items()}
    if not delta:
        return
    block = blocks.setdefault(_index(delta, "contentBlockIndex"), {})
    for key, value in list_fields(delta.get("delta")).items():
        if key == "text":
            _append(block, "text", value)
        elif key == "reasoningContent":
            _add_reasoning(block, list_fields(value))
        elif isinstance(value, Mapping):
            inner = block.setdefault(key, {})
            for name, piece in value.items():
                _append(inner, name, piece)
        else:
            block[key] = value


def _add_reasoning(block: Json, delta: Chunk) -> None:
    inner = block.setdefault("reasoningContent", {})
    for key, value in delta.items():
        if key in ("text", "signature"):
            _append(inner.setdefault("reasoningText", {}), key, value)
        else:
            _append(inner, key, value)


def _close_tool(block: Json) -> Json:
    use = block.get("toolUse")
    if not isinstance(use, Mapping):
        return block
    return {**block, "toolUse": {**use, "input": load_container(get_field(use, "input") or {})}}
