"""Streams of Gemini, Ollama, Cohere and LangChain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.shapes import Chunk, Json
from llm_trace.semconv.stream_chat import merge_delta, merge_top
from llm_trace.semconv.values import get_field, list_fields, list_items, list_mappings


def join_gemini(chunks: list[Chunk]) -> Json:
    """Return the `generateContent` response that the chunks add up to; neighbouring texts are joined."""
    answer: Json = {}
    candidates: dict[int, Json] = {}
    for chunk in chunks:
        merge_top(answer, chunk, ("candidates",))
        for candidate in list_mappings(chunk.get("candidates")):
            index = candidate.get("index")
            known = candidates.setdefault(index if isinstance(index, int) else 0, {})
            _add_candidate(known, candidate)
    answer["candidates"] = [candidates[index] for index in sorted(candidates)]
    return answer


def _add_candidate(made: Json, candidate: Chunk) -> None:
    for key, value in candidate.items():
        if key == "content":
            content = list_fields(value)
            have = made.setdefault("content", {"role": "model", "parts": []})
            have.update(
                {name: item for name, item in content.items() if name != "parts" and item is not None}
            )
            for piece in list_items(content.get("parts")):
                _add_part(have["parts"], piece)
        elif value is not None:
            made[key] = value


def _add_part(parts: list[Any], piece: Any) -> None:
    """Append a part, or lengthen the last one where both are plain text of one kind."""
    last = list_fields(parts[-1]) if parts else {}
    part = list_fields(piece)
    if isinstance(part.get("text"), str) and isinstance(last.get("text"), str):
        plain = set(part) | set(last) <= {"text", "thought"}
        if plain and part.get("thought") == last.get("thought"):
            parts[-1] = {**last, "text": last["text"] + part["text"]}
            return
    parts.append(piece)


def join_interactions(chunks: list[Chunk]) -> Json:
    """Return the interaction that Gemini's Interactions events add up to."""
    answer: Json = {}
    steps: dict[int, Json] = {}
    for chunk in chunks:
        answer.update(list_fields(chunk.get("interaction")))
        index = chunk.get("index")
        place = index if isinstance(index, int) else 0
        if isinstance(chunk.get("step"), Mapping):
            steps[place] = dict(chunk["step"])
        delta = list_fields(chunk.get("delta"))
        if delta:
            _add_step(steps.setdefault(place, {"type": "model_output"}), delta)
    if steps and not answer.get("steps"):
        answer["steps"] = [steps[index] for index in sorted(steps)]
    return answer


def _add_step(step: Json, delta: Chunk) -> None:
    if not isinstance(delta.get("text"), str):
        merge_delta(step, {key: value for key, value in delta.items() if key != "type"})
        return
    blocks = list_items(step.get("content"))
    last = list_fields(blocks[-1]) if blocks else {}
    if isinstance(last.get("text"), str) and last.get("type") == delta.get("type"):
        blocks[-1] = {**last, "text": last["text"] + delta["text"]}
    else:
        blocks.append(dict(delta))
    step["content"] = blocks


def join_ollama(chunks: list[Chunk]) -> Json:
    """Return the last line of an Ollama stream with the whole message (chat) or response (generate)."""
    answer: Json = {}
    message: Json = {}
    spoken: Json = {}
    for chunk in chunks:
        merge_delta(message, list_fields(chunk.get("message")))
        for key in ("response", "thinking"):
            if isinstance(chunk.get(key), str):
                spoken[key] = spoken.get(key, "") + chunk[key]
        answer.update(
            {k: v for k, v in chunk.items() if k not in ("message", "response", "thinking") and v is not None}
        )
    return {**answer, **({"message": message} if message else {}), **spoken}


def join_cohere(chunks: list[Chunk]) -> Json:
    """Return the chat response that Cohere's events (v2, or v1 with `event_type`) add up to."""
    answer: Json = {}
    message: Json = {}
    for chunk in chunks:
        if isinstance(chunk.get("response"), Mapping):
            return dict(chunk["response"])  # v1's stream-end repeats the whole answer
        if isinstance(chunk.get("text"), str) and "event_type" in chunk:
            answer["text"] = answer.get("text", "") + chunk["text"]
        if isinstance(chunk.get("id"), str):
            answer["id"] = chunk["id"]
        delta = list_fields(chunk.get("delta"))
        _add_cohere(message, list_fields(delta.get("message")), chunk)
        answer.update({key: value for key, value in delta.items() if key != "message" and value is not None})
    return {**answer, "message": message} if message else answer


def _add_cohere(message: Json, delta: Chunk, chunk: Chunk) -> None:
    for key, value in delta.items():
        if key == "content" and isinstance(value, Mapping):
            _add_cohere_block(message, value, chunk.get("index"))
        elif key == "tool_calls" and isinstance(value, Mapping):
            merge_delta(message, {"tool_calls": [{"index": chunk.get("index"), **value}]})
        elif key == "citations" and isinstance(value, Mapping):
            message["citations"] = [*list_items(message.get("citations")), value]
        elif key == "tool_plan" and isinstance(value, str):
            message[key] = str(message.get(key, "")) + value
        elif value is not None and value != []:
            message[key] = value


def _add_cohere_block(message: Json, piece: Chunk, index: Any) -> None:
    blocks = list_items(message.get("content"))
    place = index if isinstance(index, int) and 0 <= index <= len(blocks) else max(len(blocks) - 1, 0)
    if place == len(blocks):
        blocks.append({})
    have = blocks[place] = dict(list_fields(blocks[place]))
    for key, value in piece.items():
        joins = key in ("text", "thinking") and isinstance(value, str)
        have[key] = str(have.get(key, "")) + value if joins else value
    message["content"] = blocks


def join_langchain(chunks: list[Chunk]) -> Json:
    """Return the AI message that LangChain's chunks add up to."""
    answer: Json = {}
    for chunk in chunks:
        rest = {
            key: value
            for key, value in chunk.items()
            if key not in ("type", "usage_metadata", "tool_call_chunks")
        }
        merge_delta(answer, rest)
        counted = get_field(chunk, "usage_metadata")
        if isinstance(counted, Mapping):
            answer["usage_metadata"] = dict(counted)
    return {**answer, "type": "ai"}


def join_invoked(chunks: list[Chunk]) -> Json:
    """Return the answer of Titan, Llama or Mistral behind Bedrock's `invoke_model` stream."""
    answer: Json = {}
    texts: dict[str, str] = {}
    for chunk in chunks:
        for key in ("outputText", "generation"):
            if isinstance(chunk.get(key), str):
                texts[key] = texts.get(key, "") + chunk[key]
        for one in list_mappings(chunk.get("outputs")):
            texts["text"] = texts.get("text", "") + str(one.get("text") or "")
            answer.update({key: value for key, value in one.items() if key != "text" and value is not None})
        answer.update(
            {k: v for k, v in chunk.items() if k not in ("outputText", "outputs") and v is not None}
        )
    if "generation" in texts:
        return {**answer, "generation": texts["generation"]}
    if "text" in texts:
        return {"outputs": [{"text": texts["text"], "stop_reason": answer.get("stop_reason")}], **answer}
    result = {"outputText": texts.get("outputText", ""), "completionReason": answer.get("completionReason")}
    return {**answer, "results": [result]}
