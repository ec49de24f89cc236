"""One message, from any provider's shape to OpenTelemetry's `{role, parts}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.parts import make_text_part, normalize_part, read_tool_call
from llm_trace.semconv.shapes import PartFields
from llm_trace.semconv.values import EMPTY, get_field, get_text, list_items, list_rest, load_container

MessageFields = dict[str, Any]

ROLES = {
    "model": "assistant", "chatbot": "assistant", "ai": "assistant", "aimessagechunk": "assistant",
    "human": "user",
    "function": "tool", "user": "user", "system": "system", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_SPEAKERS = ("user", "assistant", "system")
_NOT_MODEL = ("user", "system", "tool")
_ENVELOPE = frozenset({"type", "object", "index", "status", "id", "__type__"})
_READ = frozenset(
    {
        "role", "content", "parts", "name", "finish_reason", "stop_reason", "tool_calls",
        "function_call", "tool_call_id", "tool_name", "refusal", "reasoning", "reasoning_content", "thinking",
        "images",
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


def message(raw: Any, *, role: str = "user") -> MessageFields:
    """Return one message as `llm_trace.record.Message(**…)` takes it; never raises.

    Shapes of OpenAI (chat and Responses), Anthropic, Gemini, Bedrock, Cohere, Mistral, Ollama, LangChain and
    OpenTelemetry are understood. What is not becomes a part that keeps the raw data; keys beside the content
    that have no place in a message become one part of type `provider_data`.

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
        return {"role": role, "parts": [] if raw is None else [normalize_part(raw)]}
    raw = _unwrap_langchain(raw)
    if _is_item(raw):
        return {"role": _get_item_role(str(raw.get("type")), role), "parts": [normalize_part(raw)]}
    return _read_spoken(raw, role)


def list_generations(spoken: list[MessageFields]) -> list[MessageFields]:
    """Return those messages that a model made."""
    return [entry for entry in spoken if entry.get("role") not in _NOT_MODEL]


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


def _unwrap_langchain(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message inside LangChain's serialised `{lc, type, id, kwargs}`."""
    inner = raw.get("kwargs")
    names = raw.get("id")
    if "lc" not in raw or not isinstance(inner, Mapping) or not isinstance(names, list) or not names:
        return raw
    kind = str(names[-1]).removesuffix("Chunk").removesuffix("Message").lower()
    return {"type": kind, **inner}


def _is_item(raw: Mapping[str, Any]) -> bool:
    """Say whether `raw` is an item of the Responses API (or a bare content block), which has no role."""
    if "role" in raw or not isinstance(raw.get("type"), str):
        return False
    return str(raw["type"]).lower() not in ROLES and raw["type"] != "message"


def _get_item_role(kind: str, role: str) -> str:
    return _ITEM_ROLES.get(kind.rpartition("_")[2], role)


def _read_role(raw: Mapping[str, Any], role: str) -> str:
    speaker = get_text(raw.get("role")) or (get_text(raw.get("type")) if "role" not in raw else None)
    if speaker is None or speaker == "message":
        return role
    return ROLES.get(speaker.lower(), speaker)


def _read_spoken(raw: Mapping[str, Any], role: str) -> MessageFields:
    who = _read_role(raw, role)
    parts = [*_read_thoughts(raw), *_read_content(raw, who), *_read_extras(raw), *_read_tool_calls(raw)]
    left = list_rest(raw, (_READ - _list_unread(raw, who)) | _ENVELOPE)
    if left:
        parts.append({"type": "provider_data", "content": left})
    if not parts and list_rest(raw, {"role", "name", "finish_reason"}):
        parts = [{"type": "unknown", "content": dict(raw)}]
    entry: MessageFields = {"role": who, "parts": parts}
    return entry | _read_names(raw)


def _read_names(raw: Mapping[str, Any]) -> MessageFields:
    """Return the name and the finish reason where they are given."""
    fields: MessageFields = {}
    for target, value in (
        ("name", raw.get("name")),
        ("finish_reason", get_field(raw, "finish_reason", "stop_reason")),
    ):
        if value not in EMPTY:
            fields[target] = value if isinstance(value, str) else str(value)
    return fields


def _read_thoughts(raw: Mapping[str, Any]) -> list[PartFields]:
    """Return reasoning given beside the content (DeepSeek, Groq, OpenRouter, Ollama), each text once."""
    parts: list[PartFields] = []
    for key in ("reasoning_content", "reasoning", "thinking", "tool_plan"):
        thought = raw.get(key)
        if thought in EMPTY or any(thought == other["content"] for other in parts):
            continue
        parts.append({"type": "reasoning", "content": thought})
    return parts


def _read_content(raw: Mapping[str, Any], role: str) -> list[PartFields]:
    """Return the parts in `parts`, `content` or Cohere's `message`; what a tool answered is one part."""
    parts = [normalize_part(piece) for piece in list_items(raw.get("parts"))]
    content = raw.get("content")
    if content is None:
        content = raw.get("message")  # Cohere v1: {role, message}
    if _is_whole_answer(raw, role):
        return [*parts, _read_tool_answer(raw, content)]
    if content not in EMPTY:
        parts += _split_content(content)
    if raw.get("tool_call_id") is not None:
        parts.append({"type": "tool_call_response", "id": raw["tool_call_id"]})
    return parts


def _is_whole_answer(raw: Mapping[str, Any], role: str) -> bool:
    """Say whether the content is a tool's answer as a whole, not a list of parts that has some."""
    content = get_field(raw, "content", "message")
    return role == "tool" and content is not None and not _has_answers(content)


def _list_unread(raw: Mapping[str, Any], role: str) -> set[str]:
    """Return names that usually have a place in a message, but not with the values of this one."""
    odd = {"role"} if not isinstance(raw.get("role"), str) else set()
    if not isinstance(raw.get("parts"), (list, tuple)):
        odd.add("parts")
    if raw.get("content") is not None:
        odd.add("message")
    if not _is_whole_answer(raw, role):
        odd.add("tool_name")
    if raw.get("finish_reason") is not None:
        odd.add("stop_reason")
    return odd


def _has_answers(content: Any) -> bool:
    kinds = ("tool_result", "tool_call_response")
    return any(
        get_field(piece, "type") in kinds or get_field(piece, "toolResult") for piece in list_items(content)
    )


def _read_tool_answer(raw: Mapping[str, Any], content: Any) -> PartFields:
    """Return what OpenAI's, Ollama's and LangChain's `tool` message says, as one part."""
    part: PartFields = {"type": "tool_call_response", "id": raw.get("tool_call_id"), "response": content}
    name = get_field(raw, "tool_name", "name")
    if name is not None:
        part["name"] = name
    return {key: value for key, value in part.items() if value is not None}


def _split_content(content: Any) -> list[PartFields]:
    if isinstance(content, (list, tuple)):
        return [normalize_part(piece) for piece in content]
    return [normalize_part(content)]


def _read_extras(raw: Mapping[str, Any]) -> list[PartFields]:
    """Return refusal, spoken answer and attached images of an OpenAI or Ollama message."""
    parts: list[PartFields] = []
    if raw.get("refusal") not in EMPTY:
        parts.append({"type": "refusal", "content": raw["refusal"]})
    audio = raw.get("audio")
    if isinstance(audio, Mapping) and audio:
        left = {str(k): v for k, v in audio.items() if k not in ("data", "type", "content", "modality")}
        parts.append({**left, "type": "blob", "modality": "audio", "content": audio.get("data")})
    elif audio not in EMPTY:
        parts.append({"type": "blob", "modality": "audio", "content": audio})
    return parts + _read_images(raw.get("images"))


def _read_images(raw: Any) -> list[PartFields]:
    """Return attached images: Ollama's base64 strings, OpenRouter's `image_url` parts."""
    parts = [
        {"type": "blob", "modality": "image", "content": image}
        if isinstance(image, str)
        else normalize_part(image)
        for image in list_items(raw)
    ]
    return parts if isinstance(raw, (list, tuple)) or raw in EMPTY else [normalize_part(raw)]


def _read_tool_calls(raw: Mapping[str, Any]) -> list[PartFields]:
    calls = raw.get("tool_calls")
    parts = [
        read_tool_call(call) if isinstance(call, Mapping) else normalize_part(call)
        for call in list_items(calls)
    ]
    if calls not in EMPTY and not isinstance(calls, (list, tuple)):
        parts.append({"type": "tool_call", "arguments": calls})
    legacy = raw.get("function_call")
    if isinstance(legacy, Mapping) and legacy:
        call = {**{str(k): v for k, v in legacy.items()}, "type": "tool_call"}
        call["arguments"] = load_container(legacy.get("arguments"))
        parts.append({name: value for name, value in call.items() if value is not None})
    elif legacy not in EMPTY:
        parts.append({"type": "tool_call", "name": legacy})
    return parts


def is_message(value: Any) -> bool:
    """Say whether `value` is a message: a mapping with a role, or with LangChain's type."""
    if not isinstance(value, Mapping):
        return False
    if isinstance(value.get("role"), str):
        return True
    if "lc" in value and isinstance(value.get("kwargs"), Mapping):
        return True
    return str(value.get("type")).lower() in ROLES and "content" in value


def build_message(content: Any, role: str, **more: Any) -> MessageFields:
    """Return a message of `role` that says `content`, a string or a list of content blocks."""
    parts = [make_text_part(content)] if isinstance(content, str) else _split_content(content)
    return {"role": role, "parts": parts, **{key: value for key, value in more.items() if value is not None}}
