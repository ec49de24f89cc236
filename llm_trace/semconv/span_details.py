"""The lesser fields of another instrumentation's span: prompt, cost, first token, error, tags …"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_trace.semconv import names
from llm_trace.semconv.shapes import Attributes
from llm_trace.semconv.values import (
    get_field,
    get_first_text,
    get_number,
    get_text,
    list_items,
    load_container,
)

if TYPE_CHECKING:
    from llm_trace.semconv.unflatten import SpanEvent


_PROPERTIES = (names.TRACELOOP_PROPERTIES, names.LANGFUSE_METADATA + ".")
_PROMPTS = (names.PROMPT_NAME, names.LANGFUSE_PROMPT, "traceloop.prompt.key", "prompt.id")
_FIRST_TOKENS = (names.TIME_TO_FIRST_CHUNK, names.LANGFUSE_FIRST_TOKEN)
_ERRORS = (names.EXCEPTION_TYPE, names.ERROR_TYPE)
DETAILS = frozenset(
    {
        *names.SESSIONS, *names.USERS, *names.TAGS, *names.COSTS, *_PROMPTS, *_FIRST_TOKENS, *_ERRORS,
        names.OI_TEMPLATE, names.OWN_RUN, names.LANGFUSE_COST,
    }
)  # fmt: skip
"""Without any of these attributes and without events, a span has no details; most have none."""


def read_details(
    span: str, attributes: Attributes, events: Sequence[SpanEvent], start_ns: int | None
) -> dict[str, Any]:
    """Return the lesser fields of a call, None or empty where the span named `span` does not tell them."""
    return {
        "session": get_first_text(attributes, names.SESSIONS),
        "user": get_first_text(attributes, names.USERS),
        "tags": _read_tags(attributes),
        "prompt": _read_prompt(span, attributes),
        "run": get_text(attributes.get(names.OWN_RUN)),
        "cost_usd": _read_cost(attributes),
        "first_token_ns": _read_first_token(attributes, events, start_ns),
        "error": _read_error(attributes, events),
    }


def _read_cost(attributes: Attributes) -> float | None:
    costs = load_container(attributes.get(names.LANGFUSE_COST))
    totals = [attributes.get(name) for name in names.COSTS]
    if isinstance(costs, Mapping):
        totals += [costs.get("total"), _sum_costs(costs)]
    return next((cost for value in totals if (cost := get_number(value)) is not None), None)


def _sum_costs(costs: Mapping[str, Any]) -> float | None:
    """Return the sum of Langfuse's costs by type, which its server makes where there is no `total`."""
    parts = [cost for value in costs.values() if (cost := get_number(value)) is not None]
    return math.fsum(parts) if parts else None


def _read_first_token(
    attributes: Attributes, events: Sequence[SpanEvent], start_ns: int | None
) -> int | None:
    for entry in events:
        if entry.name in names.FIRST_TOKEN_EVENTS and entry.time_ns is not None:
            return entry.time_ns
    waited = get_number(attributes.get(names.TIME_TO_FIRST_CHUNK))
    if waited is not None and start_ns is not None and waited < 1e9:
        return start_ns + round(waited * 1e9)
    return _parse_moment(attributes.get(names.LANGFUSE_FIRST_TOKEN))


def _parse_moment(value: Any) -> int | None:
    """Return Langfuse's time, ISO 8601 in JSON quotes, as nanoseconds since 1970."""
    text = value.strip('"') if isinstance(value, str) else ""
    if not text:
        return None
    from datetime import UTC, datetime, timedelta

    try:
        at = datetime.fromisoformat(text)
        since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return since // timedelta(microseconds=1) * 1000


def _read_tags(attributes: Attributes) -> list[str]:
    tags: list[str] = []
    for name in filter(attributes.__contains__, names.TAGS):
        value = load_container(attributes[name])
        tags += [
            tag for tag in (list_items(value) or [value]) if isinstance(tag, str) and tag and tag not in tags
        ]
    return tags


def _read_prompt(span: str, attributes: Attributes) -> dict[str, Any] | None:
    """Return which prompt was used; a template without a version has the hash of its text as one."""
    template = get_text(attributes.get(names.OI_TEMPLATE))
    named = _get_first(attributes, _PROMPTS)
    if named is None and template is None:
        return None
    version = _get_first(
        attributes,
        (
            names.OWN_PROMPT_VERSION,
            names.PROMPT_VERSION,
            names.OI_TEMPLATE_VERSION,
            names.LANGFUSE_PROMPT_VERSION,
            "traceloop.prompt.version",
        ),
    )
    whole = load_container(attributes.get(names.OI_TEMPLATE_VARIABLES))
    variables = dict(whole) if isinstance(whole, Mapping) else _list_variables(attributes)
    prompt: dict[str, Any] = {"name": named or span, "version": version or _hash(template)}
    return {**prompt, "variables": variables} if variables else prompt


def _list_variables(attributes: Attributes) -> dict[str, Any]:
    """Return the prompt's variables where each is an attribute of its own."""
    start = len(names.PROMPT_VARIABLE)
    return {name[start:]: v for name, v in attributes.items() if name.startswith(names.PROMPT_VARIABLE)}


def _get_first(attributes: Attributes, wanted: tuple[str, ...]) -> str | None:
    value = next((attributes[name] for name in wanted if attributes.get(name) not in (None, "")), None)
    return None if value is None else str(value)


def _hash(template: str | None) -> str:
    if template is None:
        return ""
    from hashlib import sha256

    return sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _read_error(attributes: Attributes, events: Sequence[SpanEvent]) -> dict[str, Any] | None:
    """Return the exception that ended the call, of the last event that tells of one."""
    raised = [entry.attributes for entry in events if entry.name == names.EXCEPTION]
    source = raised[-1] if raised else attributes
    kind = get_text(source.get(names.EXCEPTION_TYPE)) or get_text(attributes.get(names.ERROR_TYPE))
    if kind is None:
        return None
    error = {
        "type": kind,
        "message": get_text(source.get(names.EXCEPTION_MESSAGE)) or get_text(attributes.get("error.message")),
        "traceback": get_text(source.get(names.EXCEPTION_STACKTRACE)),
    }
    return {key: value for key, value in error.items() if value is not None}


def read_metadata(attributes: Attributes, events: Sequence[SpanEvent]) -> dict[str, Any]:
    """Return the user's metadata, the model that was asked for, and under `otel` all that came."""
    metadata: dict[str, Any] = {}
    for name in filter(attributes.__contains__, (names.OI_METADATA, names.LANGFUSE_METADATA)):
        source = load_container(attributes[name])
        if isinstance(source, Mapping):
            metadata.update({str(key): value for key, value in source.items()})
    for name, value in attributes.items():
        if name.startswith(_PROPERTIES) and name not in _PROPERTIES:
            metadata[name.removeprefix(_PROPERTIES[0]).removeprefix(_PROPERTIES[1])] = value
    asked = next((get_text(attributes[name]) for name in names.REQUEST_MODELS if name in attributes), None)
    if asked is None and names.OI_MODEL in attributes and names.OI_PARAMS in attributes:
        asked = get_text(get_field(load_container(attributes[names.OI_PARAMS]), "model"))
    answered = get_first_text(attributes, (*names.RESPONSE_MODELS, names.OI_MODEL))
    if asked is not None and (answered or asked) != asked:
        metadata["request_model"] = asked
    metadata["otel"] = {
        "attributes": {n: list(v) if isinstance(v, tuple) else v for n, v in attributes.items()}
    }
    if events:
        metadata["otel"]["events"] = [_read_event(entry) for entry in events]
    return metadata


def _parse_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _read_event(entry: SpanEvent) -> dict[str, Any]:
    event: dict[str, Any] = {"name": entry.name}
    if entry.attributes:
        event["attributes"] = {str(name): _parse_json(value) for name, value in entry.attributes.items()}
    return event if entry.time_ns is None else {**event, "time_ns": entry.time_ns}
