"""Streams of OpenAI's chat and completions APIs and of all who speak them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.shapes import Chunk, Json
from llm_trace.semconv.values import list_items, list_mappings

_TEXTS = (
    "content",
    "reasoning",
    "reasoning_content",
    "refusal",
    "text",
    "arguments",
    "data",
    "transcript",
    "summary",
)
"""Keys whose pieces are joined; other strings stand once and the last one wins."""


def join_chat(chunks: list[Chunk]) -> Json:
    """Return the `chat.completion` (or `text_completion`) that the chunks add up to."""
    answer: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for choice in list_mappings(chunk.get("choices")):
            _add_choice(choices, choice)
        merge_top(answer, chunk, ("choices",))
    if isinstance(answer.get("object"), str):
        answer["object"] = answer["object"].removesuffix(".chunk")
    answer["choices"] = [_finish_choice(choices[index]) for index in sorted(choices)]
    return answer


def merge_top(made: Json, chunk: Chunk, skip: tuple[str, ...]) -> None:
    """Take the other keys of a chunk into the response: the first ids, the last of what is reported late."""
    for key, value in chunk.items():
        if key not in skip and value is not None and value != [] and value != "":
            made[key] = value if not isinstance(value, Mapping) else {**_map(made.get(key)), **value}


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _index(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _add_choice(choices: dict[int, Json], choice: Chunk) -> None:
    index = _index(choice.get("index"))
    entry = choices.setdefault(index, {"index": index, "finish_reason": None})
    for key, value in choice.items():
        if key == "delta":
            if isinstance(value, Mapping):
                merge_delta(entry.setdefault("message", {"role": "assistant"}), value)
        elif key == "text" and isinstance(value, str):
            entry["text"] = entry.get("text", "") + value
        elif key == "logprobs":
            _add_logprobs(entry, value)
        elif value is not None:
            entry[key] = value


def merge_delta(made: Json, delta: Chunk) -> None:
    """Add a delta to the message so far."""
    for key, value in delta.items():
        if value is None:
            continue
        if key == "tool_calls":
            _add_calls(made, value)
        elif key in _TEXTS and isinstance(value, str) and isinstance(made.get(key), (str, type(None))):
            made[key] = (made.get(key) or "") + value
        elif key in _TEXTS and isinstance(value, (str, list)) and key in made:
            made[key] = _as_blocks(made[key]) + _as_blocks(value)  # Mistral mixes text and thinking blocks
        elif isinstance(value, Mapping) and isinstance(made.get(key), dict):
            merge_delta(made[key], value)
        elif isinstance(value, Mapping):
            made[key] = {}
            merge_delta(made[key], value)
        elif isinstance(value, list):
            made[key] = _extend_list(list_items(made.get(key)), value)
        elif value != "" or key not in made:
            made[key] = value


def _as_blocks(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [{"type": "text", "text": value}] if value else []
    return list_items(value)


def _extend_list(have: list[Any], more: list[Any]) -> list[Any]:
    """Return a list with its new elements; pieces of one indexed element (reasoning details) are joined."""
    joined = list(have)
    for piece in more:
        if joined and _is_continued(joined[-1], piece):
            grown = dict(joined[-1])
            merge_delta(grown, piece)
            joined[-1] = grown
        else:
            joined.append(piece)
    return joined


def _is_continued(last: Any, piece: Any) -> bool:
    if not isinstance(last, Mapping) or not isinstance(piece, Mapping) or piece.get("index") is None:
        return False
    return last.get("index") == piece.get("index") and last.get("type") == piece.get("type")


def _add_logprobs(made: Json, value: Any) -> None:
    if not isinstance(value, Mapping):
        return
    have = made.setdefault("logprobs", {})
    for key, entries in value.items():
        have[key] = list_items(have.get(key)) + entries if isinstance(entries, list) else entries


def _add_calls(made: Json, calls: Any) -> None:
    have = made.setdefault("tool_calls", [])
    for call in [calls] if isinstance(calls, Mapping) else list_mappings(calls):
        target = _call_of(have, call)
        for key, value in call.items():
            if isinstance(value, Mapping):
                inner = target.setdefault(key, {})
                if isinstance(inner, dict):
                    _add_function(inner, value)
            elif value is not None and (value != "" or key not in target):
                target[key] = value


def _call_of(have: list[Json], call: Chunk) -> Json:
    """Return the call that a piece continues, by index; providers without one (Mistral) or with index 0
    for all (Gemini) begin a new call with a new id.
    """
    ident, index = call.get("id") or None, call.get("index")
    for known in reversed(have):
        if known.get("index") == index and ident in (None, known.get("id")):
            return known
    begun: Json = {}
    if have and index is None and ident is None:
        begun = have[-1]
    else:
        have.append(begun)
    return begun


def _add_function(made: Json, piece: Chunk) -> None:
    for key, value in piece.items():
        if key == "arguments" and isinstance(value, str) and isinstance(made.get(key, ""), str):
            made[key] = made.get(key, "") + value
        elif value is not None and (value != "" or key not in made):
            made[key] = value


def _finish_choice(choice: Json) -> Json:
    calls = choice.get("message", {}).get("tool_calls")
    for call in list_mappings(calls):
        if isinstance(call, dict):
            call.pop("index", None)  # it belongs to the stream, not to the call
    return choice
