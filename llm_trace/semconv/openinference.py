"""A call of ours under OpenInference's attribute names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_trace.semconv import names
from llm_trace.semconv.documents import document_attributes
from llm_trace.semconv.values import dumps, field, fields, items, text

if TYPE_CHECKING:
    from llm_trace.semconv.messages import Message

Call = Mapping[str, Any]
Attributes = dict[str, Any]

_USAGE = {
    "input_tokens": names.OI_TOKENS_INPUT,
    "output_tokens": names.OI_TOKENS_OUTPUT,
    "cache_read_tokens": names.OI_TOKENS_CACHE_READ,
    "cache_write_tokens": names.OI_TOKENS_CACHE_WRITE,
    "reasoning_tokens": names.OI_TOKENS_REASONING,
}

_FINDS = ("retriever", "reranker")


def openinference_attributes(
    call: Call, *, content: bool, asked: list[Message], answered: list[Message]
) -> Attributes:
    """Return OpenInference's attributes of a call; texts are among them only with `content`."""
    told = fields(call.get("usage"))
    counted = {attribute: told.get(name) for name, attribute in _USAGE.items()}
    both = [told.get("input_tokens"), told.get("output_tokens")]
    total = sum(part for part in both if isinstance(part, int)) if None not in both else None
    cost = call.get("cost_usd")
    tags = [tag for tag in items(call.get("tags")) if isinstance(tag, str)]
    params = fields(call.get("params"))
    return {
        names.OI_KIND: str(call.get("kind") or "chain").upper(),
        names.OI_MODEL: text(call.get("model")),
        names.OI_PROVIDER: text(call.get("provider")),
        names.OI_PARAMS: dumps(params) if params else None,
        **counted,
        names.OI_TOKENS_TOTAL: total,
        names.OI_COST: float(cost) if isinstance(cost, (int, float)) else None,
        names.OI_FINISH: next((why for entry in answered if (why := text(entry.get("finish_reason")))), None),
        names.SESSION_ID: text(call.get("session")),
        names.USER_ID: text(call.get("user")),
        names.OI_TAGS: tags or None,
        **(_content(call, asked, answered) if content else {}),
    }


def _content(call: Call, asked: list[Message], answered: list[Message]) -> Attributes:
    kind = call.get("kind")
    metadata = {key: value for key, value in fields(call.get("metadata")).items() if key != "otel"}
    variables = fields(fields(call.get("prompt")).get("variables"))
    return {
        **_value(call.get("input"), names.OI_INPUT, names.OI_INPUT_MIME),
        **_value(call.get("output"), names.OI_OUTPUT, names.OI_OUTPUT_MIME),
        **_messages(names.OI_INPUT_MESSAGES, asked),
        **_messages(names.OI_OUTPUT_MESSAGES, answered),
        **(document_attributes(call.get("output"), kind=str(kind)) if kind in _FINDS else {}),
        names.OI_METADATA: dumps(metadata) if metadata else None,
        names.OI_TEMPLATE_VARIABLES: dumps(variables) if variables else None,
    }


def _value(value: Any, name: str, mime: str) -> Attributes:
    if value is None:
        return {}
    plain = isinstance(value, str)
    return {name: value if plain else dumps(value), mime: "text/plain" if plain else "application/json"}


def _messages(prefix: str, spoken: list[Message]) -> Attributes:
    made: Attributes = {}
    for index, entry in enumerate(spoken):
        start = f"{prefix}.{index}.message."
        made[start + "role"] = entry["role"]
        if entry.get("name"):
            made[start + "name"] = entry["name"]
        made |= _parts(start, entry["parts"])
    return made


def _parts(start: str, parts: list[dict[str, Any]]) -> Attributes:
    made: Attributes = {}
    calls = [part for part in parts if part.get("type") == "tool_call"]
    answers = [part for part in parts if part.get("type") == "tool_call_response"]
    for index, part in enumerate(calls):
        below = f"{start}tool_calls.{index}.tool_call."
        made[below + "id"] = text(part.get("id"))
        made[below + "function.name"] = text(part.get("name"))
        made[below + "function.arguments"] = dumps(part.get("arguments"))
    for part in answers[:1]:
        made[start + "tool_call_id"] = text(part.get("id"))
        made[start + "content"] = dumps(field(part, "response"))
    others = [part for part in parts if part not in calls and part not in answers[:1]]
    if len(others) == 1 and others[0].get("type") == "text" and not answers:
        made[start + "content"] = dumps(others[0].get("content"))
        return made
    for index, part in enumerate(others):
        made |= _piece(f"{start}contents.{index}.message_content.", part)
    return made


def _piece(start: str, part: dict[str, Any]) -> Attributes:
    kind = str(part.get("type"))
    image = part.get("modality") == "image" or str(part.get("mime_type")).startswith("image/")
    if kind in ("uri", "blob") and image:
        url = part.get("uri")
        if kind == "blob":
            url = f"data:{part.get('mime_type') or 'image/png'};base64,{part.get('content')}"
        return {start + "type": "image", start + "image.image.url": str(url)}
    plain = isinstance(part.get("content"), str) and not set(part) - {"type", "content"}
    return {start + "type": kind, start + "text": part["content"] if plain else dumps(part)}
