"""Streams of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Mapping

from llm_trace.semconv.shapes import Chunk, Json
from llm_trace.semconv.values import get_field, list_items

_ENDS = ("response.completed", "response.incomplete", "response.failed")
_DELTAS = {
    "response.output_text.delta": ("content", "output_text"),
    "response.refusal.delta": ("content", "refusal"),
    "response.reasoning_text.delta": ("content", "reasoning_text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_text"),
}
_ARGUMENTS = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}


def join_responses(chunks: list[Chunk]) -> Json:
    """Return the last event's response; its output is rebuilt from pieces where the stream broke off."""
    base: Json = {}
    outputs: dict[int, Json] = {}
    for chunk in chunks:
        response = chunk.get("response")
        if isinstance(response, Mapping):
            base = {**base, **response}
        if chunk.get("type") in _ENDS and base.get("output"):
            return base
        _add(outputs, chunk)
    if outputs:
        base["output"] = [outputs[index] for index in sorted(outputs)]
    return base


def _index(chunk: Chunk) -> int:
    index = chunk.get("output_index")
    return index if isinstance(index, int) else 0


def _add(outputs: dict[int, Json], chunk: Chunk) -> None:
    kind, index = chunk.get("type"), _index(chunk)
    if not isinstance(kind, str):
        return
    if kind in ("response.output_item.added", "response.output_item.done"):
        item = chunk.get("item")
        if isinstance(item, Mapping):
            outputs[index] = dict(item)
    elif kind in _DELTAS:
        _add_text(outputs.setdefault(index, {"type": "message", "role": "assistant"}), chunk, *_DELTAS[kind])
    elif kind in _ARGUMENTS:
        item = outputs.setdefault(index, {"type": "function_call"})
        have, more = item.get(_ARGUMENTS[kind]), chunk.get("delta")
        item[_ARGUMENTS[kind]] = (have if isinstance(have, str) else "") + (
            more if isinstance(more, str) else ""
        )


def _add_text(item: Json, chunk: Chunk, key: str, kind: str) -> None:
    delta = chunk.get("delta")
    place = get_field(chunk, "content_index", "summary_index")
    place = place if isinstance(place, int) and 0 <= place < 1000 else 0
    blocks = [dict(block) if isinstance(block, Mapping) else {} for block in list_items(item.get(key))]
    while len(blocks) <= place:
        blocks.append({"type": kind})
    slot = "refusal" if kind == "refusal" else "text"
    have = blocks[place].get(slot)
    blocks[place][slot] = (have if isinstance(have, str) else "") + (delta if isinstance(delta, str) else "")
    item[key] = blocks
