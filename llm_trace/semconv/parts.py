"""One piece of a message, from any provider's shape to OpenTelemetry's.

A reader takes the raw mapping and returns a part; unknown keys stay on the part under their own names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llm_trace.semconv.media import (
    build_bedrock_media,
    read_audio,
    read_file,
    read_file_data,
    read_image_url,
    read_inline_data,
    read_media,
)
from llm_trace.semconv.shapes import PartFields, Raw
from llm_trace.semconv.values import (
    get_field,
    join_rest,
    list_fields,
    list_items,
    list_mappings,
    load_container,
)


def make_text_part(content: Any) -> PartFields:
    """Return a text part."""
    return {"type": "text", "content": content}


def read_tool_call(raw: Raw) -> PartFields:
    """Return a call of a tool: OpenAI's `{id, function: {name, arguments}}` and its relatives."""
    function = raw.get("function")
    if not isinstance(function, Mapping):
        return _read_call(raw, "tool_call")
    part = {
        "type": "tool_call",
        "id": raw.get("id") or None,
        "name": function.get("name"),
        "arguments": load_container(function.get("arguments")),
    }
    left = join_rest(function, ("name", "arguments"), {})
    return join_rest(raw, ("type", "id", "function"), {**part, "function": left or None})


def _read_ids(raw: Raw, names: tuple[str, ...]) -> tuple[PartFields, set[str]]:
    """Return the id of a call, of `names` the first that is there, with that of its item where it has one;
    and the names that say nothing else.
    """
    source = next((name for name in names if raw.get(name) is not None), "id")
    ids: PartFields = {"id": raw.get(source)}
    used = {source} | {name for name in names if isinstance(raw.get(name), str) and raw[name] == ids["id"]}
    if raw.get("call_id") is not None:
        ids["item_id"] = raw.get("id")
        used.add("id")
    return ids, used


def _read_call(raw: Raw, kind: str) -> PartFields:
    """Return a call whose name and arguments stand beside its id."""
    ids, used = _read_ids(raw, ("call_id", "toolUseId", "id"))
    source = next((key for key in ("arguments", "input", "args") if key in raw), "arguments")
    part = {
        "type": kind,
        **ids,
        "id": ids["id"] or None,
        "name": raw.get("name"),
        "arguments": load_container(raw.get(source)),
    }
    return join_rest(raw, ("type", "name", source, *used), part)


def _read_client_call(raw: Raw) -> PartFields:
    return _read_call(raw, "tool_call")


def _read_server_call(raw: Raw) -> PartFields:
    return _read_call(raw, "server_tool_call")


def _read_answer(raw: Raw, kind: str) -> PartFields:
    """Return the answer of a tool."""
    ids, used = _read_ids(raw, ("tool_use_id", "call_id", "tool_call_id", "toolUseId", "id"))
    answers = ("response", "content", "output", "result")
    source = next((key for key in answers if raw.get(key) is not None), "content")
    response = load_container(raw.get(source)) if source == "output" else raw.get(source)
    return join_rest(raw, ("type", source, *used), {"type": kind, **ids, "response": response})


def _read_client_answer(raw: Raw) -> PartFields:
    return _read_answer(raw, "tool_call_response")


def _read_server_answer(raw: Raw) -> PartFields:
    return join_rest({}, (), {**_read_answer(raw, "server_tool_call_response"), "name": raw.get("type")})


def _read_text(raw: Raw) -> PartFields:
    source = "content" if "content" in raw and "text" not in raw else "text"
    return join_rest(raw, ("type", source), make_text_part(raw.get(source)))


def _read_refusal(raw: Raw) -> PartFields:
    return join_rest(raw, ("type", "refusal"), {"type": "refusal", "content": raw.get("refusal")})


def _join_texts(value: Any) -> str | None:
    """Return the text of a string or of a list of text blocks; None where there is anything else."""
    if isinstance(value, str):
        return value or None
    texts = [get_field(block, "text") for block in list_items(value)]
    if not texts or not all(isinstance(line, str) for line in texts):
        return None
    return "\n".join(texts)


def _read_reasoning(raw: Raw) -> PartFields:
    """Return a reasoning part: Anthropic's thinking, Responses' reasoning item, OpenRouter's details."""
    source = next(
        (k for k in ("thinking", "content", "text", "summary", "data") if _join_texts(raw.get(k))), None
    )
    if source is None:
        return join_rest(raw, ("type",), {"type": "reasoning"})
    part = {"type": "reasoning", "content": _join_texts(raw.get(source))}
    blocks = [block for block in list_mappings(raw.get(source)) if set(list_fields(block)) - {"type", "text"}]
    return join_rest(raw, ("type", source), {**part, "blocks": blocks or None})


def _as_is(raw: Raw) -> PartFields:
    """Return a part that is in OpenTelemetry's shape already, or of a type that nobody told us about."""
    part = {str(key): value for key, value in raw.items()}
    if "content" not in part and isinstance(part.get("text"), str):
        part["content"] = part.pop("text")
    return part


def _read_otel_server_call(raw: Raw) -> PartFields:
    """Return OpenTelemetry's part for a tool that the provider ran, arguments beside its name."""
    inner = raw.get("server_tool_call")
    if not isinstance(inner, Mapping) or "arguments" in raw:
        return _as_is(raw)
    return _open_server_tool(raw, "server_tool_call", ("input", "arguments"), "arguments")


def _open_server_tool(raw: Raw, name: str, sources: tuple[str, ...], target: str) -> PartFields:
    """Return the part with what its inner object holds under one of `sources` beside its name; of a tool that
    has fields of its own, as Gemini's code, all of these.
    """
    inner: Mapping[str, Any] = raw[name]
    part = _as_is({key: value for key, value in raw.items() if key != name})
    if source := next((key for key in sources if inner.get(key) is not None), None):
        left = {key: value for key, value in inner.items() if key != source}
        return {**part, target: load_container(inner[source]), name: left}
    fields = {key: value for key, value in inner.items() if key != "type" and value is not None}
    return {**part, target: fields, name: {"type": inner.get("type")}} if fields else _as_is(raw)


def _read_otel_server_answer(raw: Raw) -> PartFields:
    """Return OpenTelemetry's part for what such a tool answered."""
    inner = raw.get("server_tool_call_response")
    if not isinstance(inner, Mapping) or "response" in raw:
        return _as_is(raw)
    return _open_server_tool(raw, "server_tool_call_response", ("content", "response"), "response")


def _read_file_any(raw: Raw) -> PartFields:
    return _as_is(raw) if "modality" in raw or "file" not in raw else read_file(raw)


_BY_TYPE: dict[str, Callable[[Raw], PartFields]] = {
    "text": _read_text, "input_text": _read_text, "output_text": _read_text, "summary_text": _read_text,
    "TEXT": _read_text,
    "refusal": _read_refusal,
    "reasoning": _read_reasoning, "reasoning_text": _read_reasoning, "thinking": _read_reasoning,
    "redacted_thinking": _read_reasoning,
    "reasoning.text": _read_reasoning, "reasoning.summary": _read_reasoning,
    "image_url": read_image_url, "input_image": read_image_url,
    "input_audio": read_audio,
    "file": _read_file_any, "input_file": read_file,
    "image": read_media, "document": read_media, "audio": read_media, "video": read_media,
    "function": read_tool_call, "tool_call": read_tool_call, "tool_use": _read_client_call,
    "function_call": _read_client_call,
    "custom_tool_call": _read_client_call, "server_tool_use": _read_server_call,
    "mcp_tool_use": _read_server_call,
    "mcp_call": _read_server_call, "server_tool_call": _read_otel_server_call,
    "server_tool_call_response": _read_otel_server_answer,
    "tool_result": _read_client_answer, "tool_call_response": _read_client_answer,
    "function_call_output": _read_client_answer,
    "custom_tool_call_output": _read_client_answer,
}  # fmt: skip


def _read_keyed_call(inner: Any, _raw: Raw) -> PartFields:
    return _read_call(list_fields(inner), "tool_call")


def _read_keyed_answer(inner: Any, _raw: Raw) -> PartFields:
    return _read_answer(list_fields(inner), "tool_call_response")


def _read_bedrock_reasoning(inner: Any, _raw: Raw) -> PartFields:
    thought = get_field(inner, "reasoningText")
    if isinstance(thought, Mapping):
        part = join_rest(thought, ("text",), {"type": "reasoning", "content": thought.get("text")})
        return join_rest(list_fields(inner), ("reasoningText",), part)
    return join_rest(list_fields(inner), (), {"type": "reasoning"})


def _build_code_reader(kind: str) -> Callable[[Any, Raw], PartFields]:
    """Return a reader of code that Gemini wrote and ran, or of what came out."""

    def read(inner: Any, _raw: Raw) -> PartFields:
        source = "output" if get_field(inner, "code") is None else "code"
        return join_rest(list_fields(inner), (source,), {"type": kind, "content": get_field(inner, source)})

    return read


def _read_keyed_text(inner: Any, raw: Raw) -> PartFields:
    """Return Gemini's `{text, thought}` and Bedrock's `{text}`."""
    return {"type": "reasoning" if raw.get("thought") is True else "text", "content": inner}


_BY_KEY: dict[str, Callable[[Any, Raw], PartFields]] = {
    "text": _read_keyed_text,
    "functionCall": _read_keyed_call, "function_call": _read_keyed_call, "toolUse": _read_keyed_call,
    "functionResponse": _read_keyed_answer, "function_response": _read_keyed_answer,
    "toolResult": _read_keyed_answer,
    "inlineData": read_inline_data, "inline_data": read_inline_data,
    "fileData": read_file_data, "file_data": read_file_data,
    "image": build_bedrock_media("image"), "video": build_bedrock_media("video"),
    "document": build_bedrock_media("document"),
    "executableCode": _build_code_reader("executable_code"),
    "executable_code": _build_code_reader("executable_code"),
    "codeExecutionResult": _build_code_reader("code_execution_result"),
    "code_execution_result": _build_code_reader("code_execution_result"),
    "reasoningContent": _read_bedrock_reasoning,
}  # fmt: skip


def _read_keyed(raw: Raw) -> PartFields:
    """Return a part of the providers that name the type by a key (Gemini, Bedrock)."""
    for key, read in _BY_KEY.items():
        inner = raw.get(key)
        if inner is not None and (isinstance(inner, Mapping) or key == "text"):
            used = (key, "thought") if key == "text" and raw.get("thought") is True else (key,)
            return join_rest(raw, used, read(inner, raw))
    return {"type": "unknown", "content": dict(raw)}


def normalize_part(raw: Any) -> PartFields:
    """Return one part of a message in OpenTelemetry's shape; what is not understood is kept as it came."""
    if isinstance(raw, str):
        return make_text_part(raw)
    if not isinstance(raw, Mapping):
        return {"type": "unknown", "content": raw}
    kind = raw.get("type")
    if not isinstance(kind, str):
        return _read_keyed(raw)
    read = _BY_TYPE.get(kind)
    if read is not None:
        return read(raw)
    if kind.endswith("_tool_result"):
        return _read_server_answer(raw)
    if kind.endswith("_call") and "role" not in raw:
        return _read_server_call({**raw, "name": raw.get("name", kind)})
    return _as_is(raw)
