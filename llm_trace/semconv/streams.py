"""A provider's stream, put together as its non-streaming API would have answered.

One reducer per provider's grammar; each takes the chunks as mappings and returns the response, complete or as
far as the stream got.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from llm_trace.semconv.shapes import Chunk
from llm_trace.semconv.stream_blocks import join_anthropic, join_converse
from llm_trace.semconv.stream_chat import join_chat
from llm_trace.semconv.stream_others import (
    join_cohere,
    join_gemini,
    join_interactions,
    join_invoked,
    join_langchain,
    join_ollama,
)
from llm_trace.semconv.stream_responses import join_responses
from llm_trace.semconv.values import get_field, is_response, list_fields, load_json

Reducer = Callable[[list[Chunk]], Any]

_BY_PREFIX: dict[str, Reducer] = {
    "response.": join_responses, "message_": join_anthropic, "content_block_": join_anthropic,
    "message-": join_cohere, "content-": join_cohere, "tool-": join_cohere, "AIMessageChunk": join_langchain,
}  # fmt: skip
_BY_KEY: dict[str, Reducer] = {
    "choices": join_chat, "candidates": join_gemini, "messageStart": join_converse,
    "contentBlockStart": join_converse,
    "contentBlockDelta": join_converse, "done": join_ollama, "outputText": join_invoked,
    "generation": join_invoked, "outputs": join_invoked,
}  # fmt: skip
_BY_EVENT: dict[str, Reducer] = {
    "interaction.": join_interactions, "step.": join_interactions, "stream-": join_cohere,
    "text-": join_cohere, "tool-calls-": join_cohere
}  # fmt: skip


def reduce_stream(chunks: list[Any]) -> Any | None:
    """Return the whole response of a stream, with usage and tool calls, or None for an unknown shape.

    A stream that broke off gives what had arrived. Strings are joined.

    Args:
        chunks: JSON values in order of arrival: OpenAI (chat, completions, Responses), Anthropic, Gemini,
            Bedrock (Converse and invoke), Cohere, Mistral, Ollama, LangChain, or text.
    """
    if not isinstance(chunks, (list, tuple)) or not chunks:
        return None
    if all(isinstance(chunk, str) for chunk in chunks):
        return "".join(chunks)
    opened = [open_chunk(chunk) for chunk in chunks if chunk is not None]
    if not all(isinstance(chunk, Mapping) for chunk in opened):
        return None
    opened = _unpack_helper_chunks(opened)
    reducer = next((candidate for chunk in opened if (candidate := _find_reducer(chunk)) is not None), None)
    try:
        return None if reducer is None else reducer(opened)
    except RecursionError:  # values nested deeper than Python goes
        return None


def _find_reducer(chunk: Chunk) -> Reducer | None:
    kind = chunk.get("type")
    if isinstance(kind, str):
        for prefix, reducer in _BY_PREFIX.items():
            if kind.startswith(prefix):
                return reducer
    event = chunk.get("event_type")
    if isinstance(event, str):
        for prefix, reducer in _BY_EVENT.items():
            if event.startswith(prefix):
                return reducer
    return next((reducer for key, reducer in _BY_KEY.items() if key in chunk), None)


def open_chunk(chunk: Any) -> Any:
    """Return the provider's chunk inside an SDK's envelope: Mistral's `data`, Bedrock's `chunk.bytes`."""
    if not issubclass(type(chunk), dict):  # `isinstance` would ask the chunk for its `__class__`
        return chunk
    chunk = list_fields(chunk)
    inner = chunk.get("data")
    if isinstance(inner, Mapping) and "choices" in inner:
        return inner
    sent = get_field(get_field(chunk, "chunk"), "bytes")
    if sent is None:
        sent = chunk.get("bytes") if len(chunk) <= 2 else None
    decoded = _decode(sent)
    return decoded if isinstance(decoded, Mapping) else chunk


def _decode(sent: Any) -> Any:
    """Return the JSON in bytes, or in base64 text of them."""
    if isinstance(sent, bytes):
        return load_json(sent)
    if not isinstance(sent, str):
        return None
    if sent.startswith("{"):
        return load_json(sent)
    try:
        return load_json(base64.b64decode(sent, validate=True))
    except (binascii.Error, ValueError):
        return None


def _unpack_helper_chunks(chunks: list[Any]) -> list[Any]:
    """Return the raw chunks of OpenAI's `.stream()` helper, which sends them amid events of its own."""
    raw = [c["chunk"] for c in chunks if c.get("type") == "chunk" and is_response(c.get("chunk"))]
    return [chunk for chunk in raw if isinstance(chunk, Mapping)] or chunks
