"""One piece of a message, from any provider's shape to OpenTelemetry's.

A reader takes the raw mapping and returns a part; keys it does not know stay on the part under their own names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llm_trace.semconv.media import audio, bedrock_media, file, file_data, image_url, inline_data, media
from llm_trace.semconv.values import field, fields, items, joined, load_container, mappings

Part = dict[str, Any]
Raw = Mapping[str, Any]


def text_part(content: Any) -> Part:
    """Return a text part."""
    return {"type": "text", "content": content}


def tool_call(raw: Raw) -> Part:
    """Return a call of a tool: OpenAI's `{id, function: {name, arguments}}` and its relatives."""
    function = raw.get("function")
    if not isinstance(function, Mapping):
        return _called(raw, "tool_call")
    part = {
        "type": "tool_call",
        "id": raw.get("id") or None,
        "name": function.get("name"),
        "arguments": load_container(function.get("arguments")),
    }
    left = joined(function, ("name", "arguments"), {})
    return joined(raw, ("type", "id", "function"), {**part, "function": left or None})


def _called(raw: Raw, kind: str) -> Part:
    """Return a call whose name and arguments stand beside its id."""
    made = raw.get("arguments", raw.get("input", raw.get("args")))
    part = {
        "type": kind,
        "id": field(raw, "call_id", "toolUseId", "id") or None,
        "name": raw.get("name"),
        "arguments": load_container(made),
    }
    if raw.get("call_id") is not None:
        part["item_id"] = raw.get("id")
    source = next((key for key in ("arguments", "input", "args") if key in raw), "arguments")
    return joined(raw, ("type", "id", "call_id", "toolUseId", "name", source), part)


def _client_call(raw: Raw) -> Part:
    return _called(raw, "tool_call")


def _server_call(raw: Raw) -> Part:
    return _called(raw, "server_tool_call")


def _answered(raw: Raw, kind: str) -> Part:
    """Return the answer of a tool."""
    ids = ("tool_use_id", "call_id", "tool_call_id", "toolUseId", "id")
    answers = ("response", "content", "output", "result")
    source = next((key for key in answers if raw.get(key) is not None), "content")
    part = {
        "type": kind,
        "id": field(raw, *ids),
        "response": load_container(raw.get(source)) if source == "output" else raw.get(source),
    }
    if raw.get("call_id") is not None:
        part["item_id"] = raw.get("id")
    return joined(raw, ("type", *ids, source), part)


def _client_answer(raw: Raw) -> Part:
    return _answered(raw, "tool_call_response")


def _server_answer(raw: Raw) -> Part:
    return joined({}, (), {**_answered(raw, "server_tool_call_response"), "name": raw.get("type")})


def _text(raw: Raw) -> Part:
    source = "content" if "content" in raw and "text" not in raw else "text"
    return joined(raw, ("type", source), text_part(raw.get(source)))


def _refusal(raw: Raw) -> Part:
    return joined(raw, ("type", "refusal"), {"type": "refusal", "content": raw.get("refusal")})


def _texts(value: Any) -> str | None:
    """Return the text of a string or of a list of text blocks; None where there is anything else."""
    if isinstance(value, str):
        return value or None
    found = [field(block, "text") for block in items(value)]
    if not found or not all(isinstance(line, str) for line in found):
        return None
    return "\n".join(found)


def _reasoning(raw: Raw) -> Part:
    """Return a reasoning part: Anthropic's thinking, Responses' reasoning item, OpenRouter's details."""
    source = next((k for k in ("thinking", "content", "text", "summary", "data") if _texts(raw.get(k))), None)
    if source is None:
        return joined(raw, ("type",), {"type": "reasoning"})
    part = {"type": "reasoning", "content": _texts(raw.get(source))}
    blocks = [block for block in mappings(raw.get(source)) if set(fields(block)) - {"type", "text"}]
    return joined(raw, ("type", source), {**part, "blocks": blocks or None})


def _as_is(raw: Raw) -> Part:
    """Return a part that is in OpenTelemetry's shape already, or of a type that nobody told us about."""
    part = {str(key): value for key, value in raw.items()}
    if "content" not in part and isinstance(part.get("text"), str):
        part["content"] = part.pop("text")
    return part


def _otel_server_call(raw: Raw) -> Part:
    """Return OpenTelemetry's part for a tool that the provider ran, its arguments beside its name as of other calls."""
    inner = raw.get("server_tool_call")
    if not isinstance(inner, Mapping) or "arguments" in raw or inner.get("input") is None:
        return _as_is(raw)
    left = {key: value for key, value in inner.items() if key != "input"}
    kept = {key: value for key, value in raw.items() if key != "server_tool_call"}
    return {**_as_is(kept), "arguments": load_container(inner["input"]), "server_tool_call": left}


def _otel_server_answer(raw: Raw) -> Part:
    """Return OpenTelemetry's part for what such a tool answered."""
    inner = raw.get("server_tool_call_response")
    if not isinstance(inner, Mapping) or "response" in raw or inner.get("content") is None:
        return _as_is(raw)
    left = {key: value for key, value in inner.items() if key != "content"}
    kept = {key: value for key, value in raw.items() if key != "server_tool_call_response"}
    return {**_as_is(kept), "response": inner["content"], "server_tool_call_response": left}


def _file_any(raw: Raw) -> Part:
    return _as_is(raw) if "modality" in raw or "file" not in raw else file(raw)


_BY_TYPE: dict[str, Callable[[Raw], Part]] = {
    "text": _text, "input_text": _text, "output_text": _text, "summary_text": _text, "TEXT": _text,
    "refusal": _refusal,
    "reasoning": _reasoning, "reasoning_text": _reasoning, "thinking": _reasoning, "redacted_thinking": _reasoning,
    "reasoning.text": _reasoning, "reasoning.summary": _reasoning,
    "image_url": image_url, "input_image": image_url,
    "input_audio": audio,
    "file": _file_any, "input_file": file,
    "image": media, "document": media, "audio": media, "video": media,
    "function": tool_call, "tool_call": tool_call, "tool_use": _client_call, "function_call": _client_call,
    "custom_tool_call": _client_call, "server_tool_use": _server_call, "mcp_tool_use": _server_call,
    "mcp_call": _server_call, "server_tool_call": _otel_server_call,
    "server_tool_call_response": _otel_server_answer,
    "tool_result": _client_answer, "tool_call_response": _client_answer, "function_call_output": _client_answer,
    "custom_tool_call_output": _client_answer,
}  # fmt: skip


def _keyed_call(inner: Any, _raw: Raw) -> Part:
    return _called(fields(inner), "tool_call")


def _keyed_answer(inner: Any, _raw: Raw) -> Part:
    return _answered(fields(inner), "tool_call_response")


def _bedrock_reasoning(inner: Any, _raw: Raw) -> Part:
    told = field(inner, "reasoningText")
    if isinstance(told, Mapping):
        part = joined(told, ("text",), {"type": "reasoning", "content": told.get("text")})
        return joined(fields(inner), ("reasoningText",), part)
    return joined(fields(inner), (), {"type": "reasoning"})


def _executed(kind: str) -> Callable[[Any, Raw], Part]:
    """Return a reader of code that Gemini wrote and ran, or of what came out."""

    def read(inner: Any, _raw: Raw) -> Part:
        return joined(
            fields(inner), ("code", "output"), {"type": kind, "content": field(inner, "code", "output")}
        )

    return read


def _keyed_text(inner: Any, raw: Raw) -> Part:
    """Return Gemini's `{text, thought}` and Bedrock's `{text}`."""
    return {"type": "reasoning" if raw.get("thought") is True else "text", "content": inner}


_BY_KEY: dict[str, Callable[[Any, Raw], Part]] = {
    "text": _keyed_text,
    "functionCall": _keyed_call, "function_call": _keyed_call, "toolUse": _keyed_call,
    "functionResponse": _keyed_answer, "function_response": _keyed_answer, "toolResult": _keyed_answer,
    "inlineData": inline_data, "inline_data": inline_data,
    "fileData": file_data, "file_data": file_data,
    "image": bedrock_media("image"), "video": bedrock_media("video"), "document": bedrock_media("document"),
    "executableCode": _executed("executable_code"), "executable_code": _executed("executable_code"),
    "codeExecutionResult": _executed("code_execution_result"),
    "code_execution_result": _executed("code_execution_result"),
    "reasoningContent": _bedrock_reasoning,
}  # fmt: skip


def _keyed(raw: Raw) -> Part:
    """Return a part of the providers that name the type by a key (Gemini, Bedrock)."""
    for key, read in _BY_KEY.items():
        inner = raw.get(key)
        if inner is not None and (isinstance(inner, Mapping) or key == "text"):
            used = (key, "thought") if key == "text" and raw.get("thought") is True else (key,)
            return joined(raw, used, read(inner, raw))
    return {"type": "unknown", "content": dict(raw)}


def part(raw: Any) -> Part:
    """Return one part of a message in OpenTelemetry's shape; what is not understood is kept as it came."""
    if isinstance(raw, str):
        return text_part(raw)
    if not isinstance(raw, Mapping):
        return {"type": "unknown", "content": raw}
    kind = raw.get("type")
    if not isinstance(kind, str):
        return _keyed(raw)
    read = _BY_TYPE.get(kind)
    if read is not None:
        return read(raw)
    if kind.endswith("_tool_result"):
        return _server_answer(raw)
    if kind.endswith("_call") and "role" not in raw:
        return _server_call({**raw, "name": raw.get("name", kind)})
    return _as_is(raw)
