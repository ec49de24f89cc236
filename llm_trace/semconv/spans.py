"""A finished span of another instrumentation, as fields of a call.

Conventions read: OpenTelemetry GenAI (current and deprecated names), OpenInference, Traceloop, Langfuse,
Logfire. Every original attribute is kept under `metadata["otel"]["attributes"]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.semconv import names
from llm_trace.semconv.fields import request_fields, response_fields
from llm_trace.semconv.shapes import Attributes
from llm_trace.semconv.span_details import DETAILS, read_details, read_metadata
from llm_trace.semconv.span_messages import Talk, add_finish_reasons, read_talk, read_talk_in_values
from llm_trace.semconv.tokens import usage
from llm_trace.semconv.unflatten import SpanEvent, nest_attributes, read_event
from llm_trace.semconv.values import (
    EMPTY,
    count,
    get_first_text,
    get_first_value,
    list_fields,
    load_container,
    load_json,
)

if TYPE_CHECKING:
    from llm_trace.semconv.messages import MessageFields


_PREFIXES = (names.GEN_AI, names.MCP, "llm.", "openinference.", names.LANGFUSE, names.OWN)
_NOTHING: tuple[Any, ...] = (None, [], {})
_PREPARATIONS = "._prepare_chat_with_tools"
"""End of the names of steps that OpenInference's LlamaIndex calls `LLM`: no model is asked in them."""
_SPREAD = frozenset({names.CONVERSATION, names.AGENT_NAME, names.WORKFLOW_NAME, "mcp.session.id"})
"""Put on every span of a request by processors, so no sign of a model call."""


def is_genai_span(attributes: Mapping[str, Any]) -> bool:
    """Say whether a span's attributes tell of a model call or of a step around one, by their names alone.

    What processors put on every span (`traceloop.association.*`, `session.id` …) does not count.
    """
    return any(
        isinstance(name, str)
        and ((name.startswith(_PREFIXES) and name not in _SPREAD) or name == names.TRACELOOP_KIND)
        for name in attributes
    )


def call_fields(
    name: str, attributes: Mapping[str, Any], events: Sequence[Any] = (), *, start_ns: int | None = None
) -> dict[str, Any]:
    """Return the fields of a `Call` that a span of another instrumentation tells; never raises.

    Times, ids and status are the span's own and not among them. Invalid JSON is kept as text.

    Args:
        name: the span's name.
        attributes: the span's attributes.
        events: OpenTelemetry's events, mappings with `name` and `attributes`, or such pairs.
        start_ns: when the span began; with it `first_token_ns` is known from
            `gen_ai.response.time_to_first_chunk`.
    """
    span_events = [read_event(entry) for entry in events]
    plain = {str(key): value.value if isinstance(value, Enum) else value for key, value in attributes.items()}
    kind = "chain" if name.endswith(_PREPARATIONS) else read_kind(plain)
    asked, answered = _read_values(plain)
    spoken = _read_talk(plain, span_events, kind, asked, answered)
    whole = response_fields(answered) if kind == "llm" and isinstance(answered, Mapping) else {}
    params = _read_params(plain)
    fields = {
        "name": name,
        "kind": kind,
        "model": _model(plain, whole) or params.model,
        "provider": _read_provider(plain) or whole.get("provider"),
        "params": params.others,
        "usage": {**whole.get("usage", {}), **(_read_usage(plain) or {})},
        "input": asked if asked is not None else _join_asked(spoken.asked),
        "output": answered if answered is not None else _join_answered(spoken.answered),
        "messages_in": spoken.asked,
        "messages_out": spoken.answered,
        **(
            read_details(name, plain, span_events, start_ns)
            if span_events or not DETAILS.isdisjoint(plain)
            else {}
        ),
    }
    present = {key: value for key, value in fields.items() if value or value not in _NOTHING}
    return {**present, "metadata": read_metadata(plain, span_events)}


_KIND_TABLES = (
    (names.OWN_KIND, {kind: kind for kind in sorted(names.KINDS)}),
    (names.OI_KIND, names.KIND_OF_OPENINFERENCE),
    (names.LANGFUSE_KIND, names.KIND_OF_LANGFUSE),
    (names.OPERATION, names.KIND_OF_OPERATION),
    (names.MCP_METHOD, names.KIND_OF_MCP_METHOD),
    (names.TRACELOOP_KIND, names.KIND_OF_TRACELOOP),
    (names.REQUEST_TYPE, names.KIND_OF_REQUEST_TYPE),
    (names.LANGSMITH_KIND, names.KIND_OF_LANGSMITH),
)


def read_kind(attributes: Attributes) -> str:
    """Return the kind of call that a span's attributes tell of."""
    for name, table in _KIND_TABLES:
        spelling = attributes.get(name)
        if isinstance(spelling, str):
            kind = table.get(spelling.upper() if name == names.OI_KIND else spelling.lower())
            if kind is not None:
                return kind
    if get_first_text(attributes, (*names.RESPONSE_MODELS, *names.REQUEST_MODELS)) is not None:
        return "llm"
    return "tool" if names.TOOL_NAME in attributes else "chain"


def _read_provider(attributes: Attributes) -> str | None:
    name = get_first_text(attributes, names.PROVIDERS)
    return None if name is None else names.PROVIDER_OF.get(name.lower(), name.lower())


def _model(attributes: Attributes, whole: Mapping[str, Any]) -> str | None:
    """Return the model that answered, as the span or its answer says, else the one that was asked for."""
    answered = get_first_text(attributes, names.RESPONSE_MODELS)
    model = answered or whole.get("model") or get_first_text(attributes, names.REQUEST_MODELS)
    return None if model is None else str(model)


class _Params(NamedTuple):
    """The request's parameters; OpenInference keeps the model of a call that failed nowhere else."""

    model: str | None
    others: dict[str, Any]


def _read_params(attributes: Attributes) -> _Params:
    model: str | None = None
    params: dict[str, Any] = {}
    for name in filter(attributes.__contains__, (names.OI_PARAMS, names.LANGFUSE_PARAMS, names.OWN_PARAMS)):
        value_group = load_container(attributes[name])
        if isinstance(value_group, Mapping):
            known = request_fields(value_group)
            model = model or known.get("model")
            params.update(known.get("params", {}) if name != names.OWN_PARAMS else value_group)
    if names.RETRIEVAL_TOP_K in attributes:
        params["top_k"] = attributes[names.RETRIEVAL_TOP_K]
    for name, value in attributes.items():
        if name.startswith(names.REQUEST) and name != names.REQUEST_MODEL:
            short = name[len(names.REQUEST) :]
            params[names.PARAM_OF_ATTRIBUTE.get(short, short)] = (
                list(value) if isinstance(value, tuple) else value
            )
    return _Params(model, params)


_PLAIN_USAGE = {names.USAGE_INPUT: "input_tokens", names.USAGE_OUTPUT: "output_tokens"}


def _read_usage(attributes: Attributes) -> dict[str, Any] | None:
    counts = {name: value for name, value in attributes.items() if name.startswith(names.USAGE_PREFIXES)}
    if counts.keys() <= _PLAIN_USAGE.keys():
        tokens = {_PLAIN_USAGE[name]: n for name, value in counts.items() if (n := count(value)) is not None}
    else:
        tokens = usage(counts) or {}
    if (own := load_container(attributes.get(names.OWN_USAGE))) is not None and tokens:
        return usage({**tokens, **list_fields(own)})
    if tokens and "tier" not in tokens and (tier := get_first_text(attributes, names.TIERS)) is not None:
        return usage({**tokens, "tier": tier})
    return tokens or usage(load_container(attributes.get(names.LANGFUSE_USAGE)))


_INPUTS = (
    names.OWN_INPUT, names.LANGFUSE_INPUT, names.OI_INPUT, names.TRACELOOP_INPUT, names.TOOL_ARGUMENTS,
    names.RETRIEVAL_QUERY, names.MEMORY_QUERY, names.LOGFIRE_REQUEST, "mlflow.spanInputs",
    "langfuse.trace.input",
)  # fmt: skip
_OUTPUTS = (
    names.OWN_OUTPUT, names.LANGFUSE_OUTPUT, names.OI_OUTPUT, names.TRACELOOP_OUTPUT, names.TOOL_RESULT,
    names.RETRIEVAL_DOCUMENTS, names.MEMORY_RECORDS, names.LOGFIRE_RESPONSE, "mlflow.spanOutputs",
    "langfuse.trace.output",
)  # fmt: skip


def _read_values(attributes: Attributes) -> tuple[Any, Any]:
    """Return input and output where the span has them whole; documents rather than their names."""
    asked = _load_value(attributes, get_first_value(attributes, _INPUTS), names.OI_INPUT_MIME)
    answered = _load_value(attributes, get_first_value(attributes, _OUTPUTS), names.OI_OUTPUT_MIME)
    if answered is None or _is_list_of_texts(answered):
        documents = nest_attributes(attributes, names.OI_DOCUMENTS)
        if _is_list_of_mappings(documents):
            answered = [entry.get("document", entry) for entry in documents]
    return asked, answered


def _load_value(attributes: Attributes, value: Any, mime_type: str) -> Any:
    """Return a value read from JSON; text in quotes only where the span says that it is JSON."""
    if isinstance(value, str) and value[:1] == '"' and attributes.get(mime_type) == "application/json":
        return load_json(value)
    return load_container(value)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, Mapping) for entry in value)


def _read_talk(attributes: Attributes, events: list[SpanEvent], kind: str, asked: Any, answered: Any) -> Talk:
    spoken = read_talk(attributes, events)
    if kind == "llm" and (asked is not None or answered is not None):
        whole = read_talk_in_values(asked, answered)
        spoken = Talk(
            _choose_fuller(spoken.asked, whole.asked), _choose_fuller(spoken.answered, whole.answered)
        )
    return Talk(spoken.asked, add_finish_reasons(attributes, spoken.answered, kind))


def _choose_fuller(spoken: list[MessageFields], whole: list[MessageFields]) -> list[MessageFields]:
    """Return what a span's messages say, or what the request or answer in it says where that is more.

    OpenInference's messages have no reasoning, no answers of a provider's own tools and no reason why a
    Responses answer ended; the answer beside them has.
    """
    if _count_understood(whole) > _count_understood(spoken):
        spoken, whole = whole, spoken
    reasons = [entry.get("finish_reason") for entry in whole]
    return [
        {**entry, "finish_reason": reason} if reason and not entry.get("finish_reason") else entry
        for entry, reason in zip(spoken, [*reasons, *[None] * len(spoken)], strict=False)
    ]


_TELLING = ("content", "id", "name", "arguments", "response", "uri")


def _count_understood(spoken: list[MessageFields]) -> int:
    """Return how many things are said that are understood: parts, and what each of them holds."""
    parts = [piece for entry in spoken for piece in entry["parts"]]
    known = [piece for piece in parts if piece.get("type") not in ("unknown", "provider_data")]
    return len(known) + sum(piece.get(field) not in EMPTY for piece in known for field in _TELLING)


def _join_asked(spoken: list[MessageFields]) -> dict[str, Any] | None:
    return {"messages": spoken} if spoken else None


def _join_answered(spoken: list[MessageFields]) -> Any:
    """Return the answer's text where it is all text, else the messages."""
    if not spoken:
        return None
    parts = [piece for entry in spoken for piece in entry["parts"]]
    if not parts:  # the span has no content but why the model stopped
        return None
    if len(spoken) == 1 and all(piece.get("type") == "text" for piece in parts):
        lines = [piece.get("content") for piece in parts]
        if all(isinstance(line, str) for line in lines) and lines not in EMPTY:
            return "\n".join(lines)
    return {"messages": spoken}
