"""A call of ours under OpenInference's attribute names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.semconv import names
from llm_trace.semconv.documents import build_document_attributes
from llm_trace.semconv.shapes import AttributeDict, CallFields
from llm_trace.semconv.values import dump_json, get_field, get_text, list_fields, list_items

if TYPE_CHECKING:
    from llm_trace.semconv.messages import MessageFields


_USAGE = {
    "input_tokens": names.OI_TOKENS_INPUT,
    "output_tokens": names.OI_TOKENS_OUTPUT,
    "cache_read_tokens": names.OI_TOKENS_CACHE_READ,
    "cache_write_tokens": names.OI_TOKENS_CACHE_WRITE,
    "reasoning_tokens": names.OI_TOKENS_REASONING,
}

_FINDS = ("retriever", "reranker")


def build_openinference_attributes(
    call: CallFields, *, content: bool, asked: list[MessageFields], answered: list[MessageFields]
) -> AttributeDict:
    """Return OpenInference's attributes of a call; texts are among them only with `content`."""
    counts = list_fields(call.get("usage"))
    counted = {attribute: counts.get(name) for name, attribute in _USAGE.items()}
    both = [counts.get("input_tokens"), counts.get("output_tokens")]
    total = sum(part for part in both if isinstance(part, int)) if None not in both else None
    cost = call.get("cost_usd")
    tags = [tag for tag in list_items(call.get("tags")) if isinstance(tag, str)]
    params = list_fields(call.get("params"))
    return {
        names.OI_KIND: str(call.get("kind") or "chain").upper(),
        names.OI_MODEL: get_text(call.get("model")),
        names.OI_PROVIDER: get_text(call.get("provider")),
        names.OI_PARAMS: dump_json(params) if params else None,
        **counted,
        names.OI_TOKENS_TOTAL: total,
        names.OI_COST: float(cost) if isinstance(cost, (int, float)) else None,
        names.OI_FINISH: next(
            (why for entry in answered if (why := get_text(entry.get("finish_reason")))), None
        ),
        names.SESSION_ID: get_text(call.get("session")),
        names.USER_ID: get_text(call.get("user")),
        names.OI_TAGS: tags or None,
        **(_build_content(call, asked, answered) if content else {}),
    }


def _build_content(
    call: CallFields, asked: list[MessageFields], answered: list[MessageFields]
) -> AttributeDict:
    kind = call.get("kind")
    metadata = {key: value for key, value in list_fields(call.get("metadata")).items() if key != "otel"}
    variables = list_fields(list_fields(call.get("prompt")).get("variables"))
    return {
        **_build_value(call.get("input"), names.OI_INPUT, names.OI_INPUT_MIME),
        **_build_value(call.get("output"), names.OI_OUTPUT, names.OI_OUTPUT_MIME),
        **_build_messages(names.OI_INPUT_MESSAGES, asked),
        **_build_messages(names.OI_OUTPUT_MESSAGES, answered),
        **(build_document_attributes(call.get("output"), kind=str(kind)) if kind in _FINDS else {}),
        names.OI_METADATA: dump_json(metadata) if metadata else None,
        names.OI_TEMPLATE_VARIABLES: dump_json(variables) if variables else None,
    }


def _build_value(value: Any, name: str, mime: str) -> AttributeDict:
    if value is None:
        return {}
    plain = isinstance(value, str)
    return {name: value if plain else dump_json(value), mime: "text/plain" if plain else "application/json"}


def _build_messages(prefix: str, spoken: list[MessageFields]) -> AttributeDict:
    attributes: AttributeDict = {}
    for index, entry in enumerate(spoken):
        start = f"{prefix}.{index}.message."
        attributes[start + "role"] = entry["role"]
        if entry.get("name"):
            attributes[start + "name"] = entry["name"]
        attributes |= _build_parts(start, entry["parts"])
    return attributes


def _build_parts(start: str, parts: list[dict[str, Any]]) -> AttributeDict:
    attributes: AttributeDict = {}
    calls = [part for part in parts if part.get("type") == "tool_call"]
    answers = [part for part in parts if part.get("type") == "tool_call_response"]
    for index, part in enumerate(calls):
        below = f"{start}tool_calls.{index}.tool_call."
        attributes[below + "id"] = get_text(part.get("id"))
        attributes[below + "function.name"] = get_text(part.get("name"))
        attributes[below + "function.arguments"] = dump_json(part.get("arguments"))
    for part in answers[:1]:
        attributes[start + "tool_call_id"] = get_text(part.get("id"))
        attributes[start + "content"] = dump_json(get_field(part, "response"))
    others = [part for part in parts if part not in calls and part not in answers[:1]]
    if len(others) == 1 and others[0].get("type") == "text" and not answers:
        attributes[start + "content"] = dump_json(others[0].get("content"))
        return attributes
    for index, part in enumerate(others):
        attributes |= _build_piece(f"{start}contents.{index}.message_content.", part)
    return attributes


def _build_piece(start: str, part: dict[str, Any]) -> AttributeDict:
    kind = str(part.get("type"))
    image = part.get("modality") == "image" or str(part.get("mime_type")).startswith("image/")
    if kind in ("uri", "blob") and image:
        url = part.get("uri")
        if kind == "blob":
            url = f"data:{part.get('mime_type') or 'image/png'};base64,{part.get('content')}"
        return {start + "type": "image", start + "image.image.url": str(url)}
    plain = isinstance(part.get("content"), str) and not set(part) - {"type", "content"}
    return {start + "type": kind, start + "text": part["content"] if plain else dump_json(part)}
