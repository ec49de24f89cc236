"""A call of ours as attributes of an OpenTelemetry span, under GenAI names and, when asked, OpenInference's too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv import names
from llm_trace.semconv.find import messages_in, messages_out
from llm_trace.semconv.messages import Message, message
from llm_trace.semconv.openinference import openinference_attributes
from llm_trace.semconv.values import dumps, fields, items, mappings, text

Call = Mapping[str, Any]
Attributes = dict[str, Any]

_USAGE = {
    "input_tokens": names.USAGE_INPUT,
    "output_tokens": names.USAGE_OUTPUT,
    "cache_read_tokens": names.USAGE_CACHE_READ,
    "cache_write_tokens": names.USAGE_CACHE_WRITE,
    "reasoning_tokens": names.USAGE_REASONING,
}


def span_attributes(call: Call, *, content: bool, openinference: bool = False) -> Attributes:
    """Return `gen_ai.*` attributes (with values that OpenTelemetry takes) for one of our calls.

    Args:
        call: fields of a call by the names of `llm_trace.record.Call`; absent ones give no attribute.
        content: put messages, arguments and results in; without it no text of the user or the model is among them.
        openinference: put OpenInference's attributes in as well.
    """
    spoken_in, spoken_out = asked(call), answered(call)
    made: Attributes = {
        **_what(call),
        **_params(call),
        **_counts(call),
        **_context(call),
        **_outcome(call, spoken_out),
        **(_content(call, spoken_in, spoken_out) if content else {}),
    }
    if openinference:
        made |= openinference_attributes(call, content=content, asked=spoken_in, answered=spoken_out)
        for own, same in ((names.OWN_INPUT, names.OI_INPUT), (names.OWN_OUTPUT, names.OI_OUTPUT)):
            if made.get(same) is not None:
                made.pop(own, None)
    return {name: value for name, value in made.items() if value is not None}


def _what(call: Call) -> Attributes:
    kind = str(call.get("kind") or "chain")
    name = text(call.get("name"))
    asked_for = text(fields(call.get("metadata")).get("request_model"))
    model = text(call.get("model"))
    return {
        names.OWN_KIND: kind,
        names.OPERATION: names.OPERATION_OF_KIND.get(kind),
        names.PROVIDER: text(call.get("provider")),
        names.REQUEST_MODEL: asked_for or model,
        names.RESPONSE_MODEL: model if asked_for else None,
        names.TOOL_NAME: name if kind == "tool" else None,
        names.AGENT_NAME: name if kind == "agent" else None,
    }


def _params(call: Call) -> Attributes:
    made: Attributes = {}
    other: dict[str, Any] = {}
    for name, value in fields(call.get("params")).items():
        short = names.ATTRIBUTE_OF_PARAM.get(name)
        legal = _legal([value] if short == "stop_sequences" and isinstance(value, str) else value)
        if short is None or legal is None:
            other[name] = value
        else:
            made.setdefault(names.REQUEST + short, legal)
    return {**made, names.OWN_PARAMS: dumps(other) if other else None}


def _legal(value: Any) -> Any:
    """Return a value that OpenTelemetry takes as it is, else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, (str, bool, float)):
        return value
    listed = items(value)
    return listed if listed and all(isinstance(entry, str) for entry in listed) else None


def _counts(call: Call) -> Attributes:
    told = fields(call.get("usage"))
    return {attribute: told.get(name) for name, attribute in _USAGE.items()}


def _context(call: Call) -> Attributes:
    prompt = fields(call.get("prompt"))
    tags = [tag for tag in items(call.get("tags")) if isinstance(tag, str)]
    return {
        names.CONVERSATION: text(call.get("session")),
        names.USER_ID: text(call.get("user")),
        names.OWN_TAGS: tags or None,
        names.OWN_RUN: text(call.get("run")),
        names.PROMPT_NAME: text(prompt.get("name")),
        names.OWN_PROMPT_VERSION: text(prompt.get("version")),
    }


def _outcome(call: Call, spoken_out: list[Message]) -> Attributes:
    first, start, cost = call.get("first_token_ns"), call.get("start_ns"), call.get("cost_usd")
    waited = (first - start) / 1e9 if isinstance(first, int) and isinstance(start, int) else None
    reasons = [told for entry in spoken_out if (told := text(entry.get("finish_reason")))]
    return {
        names.TIME_TO_FIRST_CHUNK: waited,
        names.OWN_COST: float(cost) if isinstance(cost, (int, float)) else None,
        names.FINISH_REASONS: reasons or None,
        names.ERROR_TYPE: text(fields(call.get("error")).get("type")),
    }


def asked(call: Call) -> list[Message]:
    """Return the messages that went in: the recorded ones, else those in a model call's input."""
    found = call.get("messages_in")
    if found is None:
        return messages_in(call.get("input")) if _is_llm(call) else []
    return _recorded(found)


def answered(call: Call) -> list[Message]:
    """Return the messages that came out: the recorded ones, else those in a model call's output."""
    found = _recorded(call.get("messages_out"))
    return found or (messages_out(call.get("output"), plain=True) if _is_llm(call) else [])


def _is_llm(call: Call) -> bool:
    return call.get("kind") == "llm"


def _recorded(value: Any) -> list[Message]:
    plain = [
        entry.model_dump(exclude_none=True) if hasattr(entry, "model_dump") else entry
        for entry in items(value)
    ]
    return [dict(entry) if "parts" in entry else message(entry) for entry in mappings(plain)]


def _content(call: Call, spoken_in: list[Message], spoken_out: list[Message]) -> Attributes:
    """Return what was said; arguments and results of calls that are no conversation stand as JSON."""
    tool = call.get("kind") == "tool"
    given, result = call.get("input"), call.get("output")
    return {
        names.INPUT_MESSAGES: dumps(spoken_in) if spoken_in else None,
        names.OUTPUT_MESSAGES: dumps(spoken_out) if spoken_out else None,
        names.TOOL_ARGUMENTS if tool else names.OWN_INPUT: None
        if given is None or spoken_in
        else dumps(given),
        names.TOOL_RESULT if tool else names.OWN_OUTPUT: None
        if result is None or spoken_out
        else dumps(result),
    }
