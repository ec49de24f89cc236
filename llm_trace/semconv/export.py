"""A call of ours as attributes of an OpenTelemetry span: GenAI names, and OpenInference's if asked."""

from __future__ import annotations

from typing import Any

from llm_trace.semconv import names
from llm_trace.semconv.documents import build_retrieval_attributes
from llm_trace.semconv.extract_messages import messages_in, messages_out
from llm_trace.semconv.messages import MessageFields, list_generations, message
from llm_trace.semconv.openinference import build_openinference_attributes
from llm_trace.semconv.shapes import AttributeDict, CallFields
from llm_trace.semconv.values import dump_json, get_text, list_fields, list_items, list_mappings

_USAGE = {
    names.USAGE_INPUT: "input_tokens",
    names.USAGE_OUTPUT: "output_tokens",
    names.USAGE_CACHE_READ: "cache_read_tokens",
    names.USAGE_CACHE_WRITE: "cache_write_tokens",
    names.USAGE_CACHE_CREATION: "cache_write_tokens",
    names.USAGE_REASONING: "reasoning_tokens",
}


def span_attributes(call: CallFields, *, content: bool, openinference: bool = False) -> AttributeDict:
    """Return `gen_ai.*` attributes (with values that OpenTelemetry takes) for one of our calls.

    Args:
        call: fields of a call by the names of `llm_trace.record.Call`; absent ones give no attribute.
        content: put messages, arguments and results in; without it no text of the user or the model is among
            them.
        openinference: put OpenInference's attributes in as well.
    """
    spoken_in, spoken_out = list_input_messages(call), list_output_messages(call)
    attributes: AttributeDict = {
        **_build_what(call),
        **_build_params(call),
        **build_counts(call),
        **_build_context(call),
        **_build_outcome(call, spoken_out),
        **(_build_content(call, spoken_in, spoken_out) if content else {}),
    }
    if openinference:
        attributes |= build_openinference_attributes(
            call, content=content, asked=spoken_in, answered=spoken_out
        )
        for own, same in ((names.OWN_INPUT, names.OI_INPUT), (names.OWN_OUTPUT, names.OI_OUTPUT)):
            if attributes.get(same) is not None:
                attributes.pop(own, None)
    return {name: value for name, value in attributes.items() if value is not None}


def _build_what(call: CallFields) -> AttributeDict:
    kind = str(call.get("kind") or "chain")
    name = get_text(call.get("name"))
    asked_for = get_text(list_fields(call.get("metadata")).get("request_model"))
    model = get_text(call.get("model"))
    return {
        names.OWN_KIND: kind,
        names.OPERATION: names.OPERATION_OF_KIND.get(kind),
        names.PROVIDER: get_text(call.get("provider")),
        names.REQUEST_MODEL: asked_for or model,
        names.RESPONSE_MODEL: model if asked_for else None,
        names.TOOL_NAME: name if kind == "tool" else None,
        names.AGENT_NAME: name if kind == "agent" else None,
    }


def _build_params(call: CallFields) -> AttributeDict:
    attributes: AttributeDict = {}
    other: dict[str, Any] = {}
    for name, value in list_fields(call.get("params")).items():
        short = names.ATTRIBUTE_OF_PARAM.get(name)
        legal = _convert_legal([value] if short == "stop_sequences" and isinstance(value, str) else value)
        if short is None or legal is None:
            other[name] = value
        else:
            attributes.setdefault(names.REQUEST + short, legal)
    if call.get("kind") == "retriever" and names.REQUEST + "top_k" in attributes:
        attributes[names.RETRIEVAL_TOP_K] = attributes[names.REQUEST + "top_k"]
    return {**attributes, names.OWN_PARAMS: dump_json(other) if other else None}


def _convert_legal(value: Any) -> Any:
    """Return a value that OpenTelemetry takes as it is, else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, (str, bool, float)):
        return value
    listed = list_items(value)
    return listed if listed and all(isinstance(entry, str) for entry in listed) else None


def build_counts(call: CallFields) -> AttributeDict:
    counts = list_fields(call.get("usage"))
    others = {name: counts[name] for name in ("details", "tier") if counts.get(name)}
    return {
        **{attribute: counts.get(name) for attribute, name in _USAGE.items()},
        names.OWN_USAGE: dump_json(others) if others else None,
    }


def _build_context(call: CallFields) -> AttributeDict:
    prompt = list_fields(call.get("prompt"))
    tags = [tag for tag in list_items(call.get("tags")) if isinstance(tag, str)]
    return {
        names.CONVERSATION: get_text(call.get("session")),
        names.USER_ID: get_text(call.get("user")),
        names.OWN_TAGS: tags or None,
        names.OWN_RUN: get_text(call.get("run")),
        names.PROMPT_NAME: get_text(prompt.get("name")),
        names.PROMPT_VERSION: (version := get_text(prompt.get("version"))),
        names.OWN_PROMPT_VERSION: version,
    }


def _build_outcome(call: CallFields, spoken_out: list[MessageFields]) -> AttributeDict:
    first, start, cost = call.get("first_token_ns"), call.get("start_ns"), call.get("cost_usd")
    waited = (first - start) / 1e9 if isinstance(first, int) and isinstance(start, int) else None
    return {
        names.TIME_TO_FIRST_CHUNK: waited,
        names.OWN_COST: float(cost) if isinstance(cost, (int, float)) else None,
        names.FINISH_REASONS: _list_finish_reasons(spoken_out),
        names.ERROR_TYPE: get_text(list_fields(call.get("error")).get("type")),
    }


def _list_finish_reasons(spoken: list[MessageFields]) -> list[str] | None:
    """Return why each answer ended, in order; of one that did not come to its end `error`, as the convention
    has it.
    """
    reasons = [get_text(entry.get("finish_reason")) for entry in list_generations(spoken)]
    return [reason or "error" for reason in reasons] if any(reasons) else None


def list_input_messages(call: CallFields) -> list[MessageFields]:
    """Return the messages that went in: the recorded ones, else those in a model call's input."""
    messages = call.get("messages_in")
    if messages is None:
        return messages_in(call.get("input")) if _is_llm(call) else []
    return _list_recorded(messages)


def list_output_messages(call: CallFields) -> list[MessageFields]:
    """Return the messages that came out: the recorded ones, else those in a model call's output."""
    messages = _list_recorded(call.get("messages_out"))
    return messages or (messages_out(call.get("output"), plain=True) if _is_llm(call) else [])


def _is_llm(call: CallFields) -> bool:
    return call.get("kind") == "llm"


def _list_recorded(value: Any) -> list[MessageFields]:
    plain = [
        entry.model_dump(exclude_none=True) if hasattr(entry, "model_dump") else entry
        for entry in list_items(value)
    ]
    return [dict(entry) if "parts" in entry else message(entry) for entry in list_mappings(plain)]


def _build_content(
    call: CallFields, spoken_in: list[MessageFields], spoken_out: list[MessageFields]
) -> AttributeDict:
    """Return what was said; arguments and results of calls that are no conversation stand as JSON."""
    tool = call.get("kind") == "tool"
    arguments, result = call.get("input"), call.get("output")
    return {
        **build_retrieval_attributes(call),
        names.INPUT_MESSAGES: dump_json(spoken_in) if spoken_in else None,
        names.OUTPUT_MESSAGES: dump_json(spoken_out) if spoken_out else None,
        names.TOOL_ARGUMENTS if tool else names.OWN_INPUT: None
        if arguments is None or spoken_in
        else dump_json(arguments),
        names.TOOL_RESULT if tool else names.OWN_OUTPUT: None
        if result is None or spoken_out
        else dump_json(result),
    }
