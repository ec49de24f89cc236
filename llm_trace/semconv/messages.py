"""One message, from any provider's shape to OpenTelemetry's `{role, parts}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.parts import Part, part, text_part, tool_call
from llm_trace.semconv.values import EMPTY, field, items, load_container, rest, text

Message = dict[str, Any]

ROLES = {
    "model": "assistant", "chatbot": "assistant", "ai": "assistant", "aimessagechunk": "assistant", "human": "user",
    "function": "tool", "user": "user", "system": "system", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_SPEAKERS = ("user", "assistant", "system")
_ENVELOPE = frozenset({"type", "object", "index", "status", "id"})
_READ = frozenset(
    {
        "role", "content", "parts", "name", "finish_reason", "stop_reason", "tool_calls",
        "function_call", "tool_call_id", "tool_name", "refusal", "reasoning", "reasoning_content", "thinking", "images",
        "tool_plan", "message", "audio",
    }
)  # fmt: skip
_ITEM_ROLES = {
    "reasoning": "assistant",
    "output": "tool",
    "result": "tool",
    "response": "tool",
    "call": "assistant",
}


def message(raw: Any, *, role: str = "user") -> Message:
    """Return one message as `llm_trace.record.Message(**…)` takes it; never raises.

    Shapes of OpenAI (chat and Responses), Anthropic, Gemini, Bedrock, Cohere, Mistral, Ollama, LangChain and
    OpenTelemetry are understood. What is not becomes a part that keeps the raw data; keys beside the content that have
    no place in a message become one part of type `provider_data`.

    Args:
        raw: the message; a string is its text.
        role: who speaks where the message does not say.
    """
    if type(raw) is dict and raw.get("role") in _SPEAKERS:  # nine in ten need no reading
        if len(raw) == 2 and type(content := raw.get("content")) is str and content:
            return {"role": raw["role"], "parts": [{"type": "text", "content": content}]}
        if _is_ours(raw):
            return {**raw, "parts": [dict(piece) for piece in raw["parts"]]}
    if not isinstance(raw, Mapping):
        return {"role": role, "parts": [] if raw is None else [part(raw)]}
    raw = _unwrapped(raw)
    if _is_item(raw):
        return {"role": _item_role(str(raw.get("type")), role), "parts": [part(raw)]}
    return _spoken(raw, role)


def _is_ours(raw: dict[str, Any]) -> bool:
    """Say whether a message is texts in our own shape already, as other instrumentations send them."""
    parts = raw.get("parts")
    return (
        type(parts) is list
        and len(parts) > 0
        and (
            len(raw) == 2
            or (len(raw) == 3 and type(reason := raw.get("finish_reason")) is str and reason != "")
        )
        and all(
            type(piece) is dict
            and len(piece) == 2
            and piece.get("type") == "text"
            and type(piece.get("content")) is str
            for piece in parts
        )
    )


def _unwrapped(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message inside LangChain's serialised `{lc, type, id, kwargs}`."""
    inner = raw.get("kwargs")
    names = raw.get("id")
    if "lc" not in raw or not isinstance(inner, Mapping) or not isinstance(names, list) or not names:
        return raw
    told = str(names[-1]).removesuffix("Chunk").removesuffix("Message").lower()
    return {"type": told, **inner}


def _is_item(raw: Mapping[str, Any]) -> bool:
    """Say whether `raw` is an item of the Responses API (or a bare content block), which has no role."""
    if "role" in raw or not isinstance(raw.get("type"), str):
        return False
    return str(raw["type"]).lower() not in ROLES and raw["type"] != "message"


def _item_role(kind: str, role: str) -> str:
    return _ITEM_ROLES.get(kind.rpartition("_")[2], role)


def _role(raw: Mapping[str, Any], role: str) -> str:
    told = text(raw.get("role")) or (text(raw.get("type")) if "role" not in raw else None)
    if told is None or told == "message":
        return role
    return ROLES.get(told.lower(), told)


def _spoken(raw: Mapping[str, Any], role: str) -> Message:
    who = _role(raw, role)
    parts = [*_thoughts(raw), *_content(raw, who), *_extras(raw), *_calls(raw)]
    left = rest(raw, (_READ - _unread(raw, who)) | _ENVELOPE)
    if left:
        parts.append({"type": "provider_data", "content": left})
    if not parts and rest(raw, {"role", "name", "finish_reason"}):
        parts = [{"type": "unknown", "content": dict(raw)}]
    made: Message = {"role": who, "parts": parts}
    return made | _named(raw)


def _named(raw: Mapping[str, Any]) -> Message:
    """Return the name and the finish reason where they are given."""
    made: Message = {}
    for target, told in (
        ("name", raw.get("name")),
        ("finish_reason", field(raw, "finish_reason", "stop_reason")),
    ):
        if told not in EMPTY:
            made[target] = told if isinstance(told, str) else str(told)
    return made


def _thoughts(raw: Mapping[str, Any]) -> list[Part]:
    """Return reasoning given beside the content (DeepSeek, Groq, OpenRouter, Ollama), each text once."""
    made: list[Part] = []
    for key in ("reasoning_content", "reasoning", "thinking", "tool_plan"):
        told = raw.get(key)
        if told in EMPTY or any(told == other["content"] for other in made):
            continue
        made.append({"type": "reasoning", "content": told})
    return made


def _content(raw: Mapping[str, Any], role: str) -> list[Part]:
    """Return the parts in `parts`, `content` or Cohere's `message`; what a tool answered is one part."""
    made = [part(piece) for piece in items(raw.get("parts"))]
    content = raw.get("content")
    if content is None:
        content = raw.get("message")  # Cohere v1: {role, message}
    if _answers_whole(raw, role):
        return [*made, _tool_answer(raw, content)]
    if content not in EMPTY:
        made += _pieces(content)
    if raw.get("tool_call_id") is not None:
        made.append({"type": "tool_call_response", "id": raw["tool_call_id"]})
    return made


def _answers_whole(raw: Mapping[str, Any], role: str) -> bool:
    """Say whether the content is a tool's answer as a whole, not a list of parts that has some."""
    content = field(raw, "content", "message")
    return role == "tool" and content is not None and not _has_answers(content)


def _unread(raw: Mapping[str, Any], role: str) -> set[str]:
    """Return names that usually have a place in a message, but not with the values of this one."""
    odd = {"role"} if not isinstance(raw.get("role"), str) else set()
    if not isinstance(raw.get("parts"), (list, tuple)):
        odd.add("parts")
    if raw.get("content") is not None:
        odd.add("message")
    if not _answers_whole(raw, role):
        odd.add("tool_name")
    if raw.get("finish_reason") is not None:
        odd.add("stop_reason")
    return odd


def _has_answers(content: Any) -> bool:
    kinds = ("tool_result", "tool_call_response")
    return any(field(piece, "type") in kinds or field(piece, "toolResult") for piece in items(content))


def _tool_answer(raw: Mapping[str, Any], content: Any) -> Part:
    """Return what OpenAI's, Ollama's and LangChain's `tool` message says, as one part."""
    made: Part = {"type": "tool_call_response", "id": raw.get("tool_call_id"), "response": content}
    name = field(raw, "tool_name", "name")
    if name is not None:
        made["name"] = name
    return {key: value for key, value in made.items() if value is not None}


def _pieces(content: Any) -> list[Part]:
    if isinstance(content, (list, tuple)):
        return [part(piece) for piece in content]
    return [part(content)]


def _extras(raw: Mapping[str, Any]) -> list[Part]:
    """Return refusal, spoken answer and attached images of an OpenAI or Ollama message."""
    made: list[Part] = []
    if raw.get("refusal") not in EMPTY:
        made.append({"type": "refusal", "content": raw["refusal"]})
    audio = raw.get("audio")
    if isinstance(audio, Mapping) and audio:
        left = {str(k): v for k, v in audio.items() if k not in ("data", "type", "content", "modality")}
        made.append({**left, "type": "blob", "modality": "audio", "content": audio.get("data")})
    elif audio not in EMPTY:
        made.append({"type": "blob", "modality": "audio", "content": audio})
    return made + _images(raw.get("images"))


def _images(raw: Any) -> list[Part]:
    """Return attached images: Ollama's base64 strings, OpenRouter's `image_url` parts."""
    made = [
        {"type": "blob", "modality": "image", "content": image} if isinstance(image, str) else part(image)
        for image in items(raw)
    ]
    return made if isinstance(raw, (list, tuple)) or raw in EMPTY else [part(raw)]


def _calls(raw: Mapping[str, Any]) -> list[Part]:
    calls = raw.get("tool_calls")
    made = [tool_call(call) if isinstance(call, Mapping) else part(call) for call in items(calls)]
    if calls not in EMPTY and not isinstance(calls, (list, tuple)):
        made.append({"type": "tool_call", "arguments": calls})
    legacy = raw.get("function_call")
    if isinstance(legacy, Mapping) and legacy:
        arguments = load_container(legacy.get("arguments"))
        made.append({**{str(k): v for k, v in legacy.items()}, "type": "tool_call", "arguments": arguments})
    elif legacy not in EMPTY:
        made.append({"type": "tool_call", "name": legacy})
    return made


def is_message(value: Any) -> bool:
    """Say whether `value` is a message: a mapping with a role, or with LangChain's type."""
    if not isinstance(value, Mapping):
        return False
    if isinstance(value.get("role"), str):
        return True
    if "lc" in value and isinstance(value.get("kwargs"), Mapping):
        return True
    return str(value.get("type")).lower() in ROLES and "content" in value


def said(content: Any, role: str, **more: Any) -> Message:
    """Return a message of `role` that says `content`, a string or a list of content blocks."""
    parts = [text_part(content)] if isinstance(content, str) else _pieces(content)
    return {"role": role, "parts": parts, **{key: value for key, value in more.items() if value is not None}}
