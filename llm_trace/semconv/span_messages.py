"""The messages in another instrumentation's span, whichever of the conventions it follows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llm_trace.semconv import names
from llm_trace.semconv.extract_messages import messages_in, messages_out
from llm_trace.semconv.messages import (
    MessageFields,
    build_message,
    is_message,
    list_generations,
    message,
)
from llm_trace.semconv.shapes import Attributes
from llm_trace.semconv.unflatten import SpanEvent, nest_attributes
from llm_trace.semconv.values import EMPTY, get_field, list_items, list_mappings, load_container, load_json

_OBJECT = re.compile(r"<[\w.]+ object at 0x[0-9a-fA-F]+>")
"""What Python prints for an object that an instrumentation did not read, such as a stream."""


class Talk(NamedTuple):
    """What was said to the model and what it said."""

    asked: list[MessageFields]
    answered: list[MessageFields]


def read_talk(attributes: Attributes, events: Sequence[SpanEvent]) -> Talk:
    """Return the messages of a span, from the first convention that has any."""
    said_in, said_out = _from_events(events)
    asked = (
        _with_instructions(attributes, _read_genai(attributes, names.INPUT_MESSAGES))
        or _read_indexed(attributes, names.INDEXED_PROMPT, "user")
        or _read_openinference(attributes, names.OI_INPUT_MESSAGES)
        or _read_texts(attributes, names.OI_PROMPTS, "prompt", "user")
        or said_in
    )
    answered = (
        _read_genai(attributes, names.OUTPUT_MESSAGES)
        or _read_indexed(attributes, names.INDEXED_COMPLETION, "assistant")
        or _read_openinference(attributes, names.OI_OUTPUT_MESSAGES)
        or _read_texts(attributes, names.OI_CHOICES, "completion", "assistant")
        or said_out
    )
    return Talk(asked, answered)


def _read_genai(attributes: Attributes, name: str) -> list[MessageFields]:
    role = "assistant" if name == names.OUTPUT_MESSAGES else "user"
    return _read_spoken(attributes.get(name), role)


def _read_spoken(value: Any, role: str) -> list[MessageFields]:
    """Return the messages in a list, or in JSON of one; text that is neither is one message."""
    content = load_container(value)
    if isinstance(content, str):
        return [build_message(content, role)] if content else []
    if isinstance(content, Mapping) and not is_message(content):  # LangSmith: a run's whole inputs or outputs
        whole = messages_out(content) if role == "assistant" else messages_in(content)
        if whole:
            return whole
    entries = [content] if isinstance(content, Mapping) else list_items(content)
    return [message(load_container(entry), role=role) for entry in entries]


def _with_instructions(attributes: Attributes, asked: list[MessageFields]) -> list[MessageFields]:
    instructions = load_container(attributes.get(names.SYSTEM_INSTRUCTIONS))
    if instructions in EMPTY:
        return asked
    spoken = isinstance(instructions, Mapping) and ("parts" in instructions or "role" in instructions)
    system = message({"role": "system", **instructions}) if spoken else build_message(instructions, "system")
    return [system, *(other for other in asked if other != system)]


def _read_indexed(attributes: Attributes, prefix: str, role: str) -> list[MessageFields]:
    """Return OpenLLMetry's `gen_ai.prompt.0.role`, or all messages in one `gen_ai.prompt`."""
    entries = list_mappings(nest_attributes(attributes, prefix))
    if not entries:
        return _read_spoken(attributes.get(prefix), role)
    return [message(_open_entry(entry), role=role) for entry in entries]


def _open_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an indexed message, its content read from JSON; the completions API's is under `user`."""
    opened = dict(entry)
    if "content" not in opened and isinstance(opened.get("user"), str):
        opened["content"] = opened.pop("user")
    content = load_container(opened.get("content"))
    if isinstance(content, list) and all(isinstance(piece, Mapping) for piece in content):
        opened["content"] = content
    if isinstance(opened.get("tool_calls"), str):
        opened["tool_calls"] = load_container(opened["tool_calls"])
    return opened


def _read_openinference(attributes: Attributes, prefix: str) -> list[MessageFields]:
    role = "assistant" if prefix == names.OI_OUTPUT_MESSAGES else "user"
    entries = [_read_oi_entry(entry) for entry in list_mappings(nest_attributes(attributes, prefix))]
    return [message(_read_oi_message(entry), role=role) for entry in list_mappings(entries)]


def _read_oi_entry(entry: Mapping[str, Any]) -> Any:
    """Return the message in an entry; the tools' answers that AutoGen's put beside it belong to it."""
    results = list_mappings([load_container(result) for result in list_items(entry.get("function"))])
    if not results:
        return get_field(entry, "message")
    answers = [
        {"type": "tool_result", "tool_use_id": result.get("call_id"), "content": result.get("content")}
        for result in results
    ]
    return {"role": "tool", "contents": [{"message_content": answer} for answer in answers]}


def _read_oi_message(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return OpenInference's message in OpenAI's shape; what stands in `contents` twice is taken once."""
    rest = {key: value for key, value in raw.items() if key not in ("contents", "tool_calls")}
    calls = [get_field(call, "tool_call") or call for call in list_mappings(raw.get("tool_calls"))]
    pieces = [_read_oi_piece(piece) for piece in list_mappings(raw.get("contents"))]
    if calls:
        rest["tool_calls"] = calls
        pieces = [piece for piece in pieces if piece.get("type") not in ("tool_use", "tool_call")]
    if pieces:
        have = rest.get("content")
        beside = have not in EMPTY and not _check_repeats(have, pieces)
        rest["content"] = [*([{"type": "text", "text": have}] if beside else []), *pieces]
    name = rest.pop("function_call_name", None)
    arguments = rest.pop("function_call_arguments_json", None)
    if name is not None or arguments is not None:
        rest["function_call"] = {"name": name, "arguments": arguments}
    if rest.get("tool_call_id") in EMPTY:
        rest.pop("tool_call_id", None)
    elif rest.get("role") != "tool":
        return _with_answer(rest, raw.get("content"), pieces)
    return rest


def _with_answer(raw: dict[str, Any], content: Any, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a user's message with a tool's answer, as Anthropic and Amazon send, and what is beside it."""
    rest = {key: value for key, value in raw.items() if key != "tool_call_id"}
    answer = {"type": "tool_result", "tool_use_id": raw["tool_call_id"], "content": content}
    return {**rest, "role": raw.get("role") if pieces else "tool", "content": [answer, *pieces]}


def _check_repeats(content: Any, pieces: list[dict[str, Any]]) -> bool:
    """Say whether a message's content is the text of its pieces over again."""
    texts = [str(piece.get("text")) for piece in pieces if piece.get("type") in (None, "text")]
    return content in ("".join(texts), "\n".join(texts))


def _read_oi_piece(raw: Mapping[str, Any]) -> dict[str, Any]:
    content = get_field(raw, "message_content")
    piece = dict(content) if isinstance(content, Mapping) else {}
    piece |= {key: value for key, value in raw.items() if key not in ("message_content", "tool_call")}
    call = raw.get("tool_call")
    if isinstance(call, Mapping):
        return (
            {"type": "tool_call", **call}
            if piece.get("type") in (None, "tool_use")
            else {**piece, "tool_call": call}
        )
    url = get_field(get_field(piece.get("image"), "image"), "url")
    if url is not None:
        rest = {key: value for key, value in piece.items() if key not in ("image", "type")}
        return {"type": "image_url", "image_url": {"url": url}, **rest}
    return piece


def _read_texts(attributes: Attributes, prefix: str, inner: str, role: str) -> list[MessageFields]:
    """Return OpenInference's prompts and choices of the completions API."""
    texts = [
        get_field(get_field(entry, inner), "text")
        for entry in list_mappings(nest_attributes(attributes, prefix))
    ]
    return [build_message(line, role) for line in texts if isinstance(line, str)]


def _from_events(events: Sequence[SpanEvent]) -> tuple[list[MessageFields], list[MessageFields]]:
    """Return the messages in per-message events, or in one event that carries them all."""
    asked: list[MessageFields] = []
    answered: list[MessageFields] = []
    for entry in events:
        inside = entry.attributes
        if entry.name in names.MESSAGE_EVENTS:
            asked.append(message(_read_body(inside), role=entry.name.split(".")[1]))
        elif entry.name == names.EVENT_CHOICE:
            answered.append(_read_choice(inside))
        else:
            asked += _with_instructions(inside, _read_genai(inside, names.INPUT_MESSAGES))
            asked += _read_spoken(inside.get(names.INDEXED_PROMPT), "user")
            answered += _read_genai(inside, names.OUTPUT_MESSAGES)
            answered += _read_spoken(inside.get(names.INDEXED_COMPLETION), "assistant")
    return asked, answered


_EVENT_KEYS = ("event.name", names.SYSTEM, names.PROVIDER, names.EVENT_CONTENT)


def _read_body(inside: Attributes) -> dict[str, Any]:
    """Return an event's message: its attributes, or the JSON in `gen_ai.event.content`."""
    content = load_container(inside.get(names.EVENT_CONTENT))
    fields = {**content, **inside} if isinstance(content, Mapping) else dict(inside)
    body = {key: value for key, value in fields.items() if key not in _EVENT_KEYS}
    if isinstance(content, str) and "content" not in body:
        body["content"] = content
    if str(body.get("role")) == "tool" or "id" in body:
        body.setdefault("tool_call_id", body.pop("id", None))
    return _open_entry(body)


def _read_choice(inside: Attributes) -> MessageFields:
    body = _read_body(inside)
    inner = load_container(body.get("message"))
    if isinstance(inner, str):
        inner = {"content": inner}
    if not isinstance(inner, Mapping):
        inner = {key: value for key, value in body.items() if key != "tool_call_id"}
    entry = message(_open_entry(inner), role="assistant")
    reason = body.get("finish_reason")
    return entry if reason in EMPTY else {**entry, "finish_reason": str(reason)}


def add_finish_reasons(
    attributes: Attributes, answered: list[MessageFields], kind: str
) -> list[MessageFields]:
    """Give the messages their finish reasons where the span has them apart, as since v0.1.0.

    `gen_ai.response.finish_reasons` has the provider's own words, for which OpenTelemetry's messages had a
    few of theirs. Where a span has no content, or the model was stopped before it said anything, messages
    without parts have the reasons.
    """
    reasons = list_items(load_json(attributes.get(names.FINISH_REASONS)))
    own = len(reasons)
    reasons = reasons or [get_field(attributes, names.OI_FINISH, "anthropic.message.stop_reason")]
    if not answered and kind == "llm":
        answered = [{"role": "assistant", "parts": []} for reason in reasons if reason not in EMPTY]
    generations = list_generations(answered)
    if any("finish_reason" in entry for entry in answered):
        if own != len(generations):
            return answered
        reasons = [why if "finish_reason" in e else None for e, why in zip(generations, reasons, strict=True)]
    why = {id(entry): reason for entry, reason in zip(generations, reasons, strict=False)}
    return [
        {**entry, "finish_reason": str(reason)} if (reason := why.get(id(entry))) not in EMPTY else entry
        for entry in answered
    ]


def read_talk_in_values(asked: Any, answered: Any) -> Talk:
    """Return the messages of a request and response recorded whole (`input.value`); text is one message."""
    spoken = [build_message(asked, "user")] if isinstance(asked, str) and asked else messages_in(asked)
    nothing = isinstance(answered, str) and _OBJECT.fullmatch(answered) is not None
    return Talk(spoken, [] if nothing else messages_out(answered, plain=True))
