"""A span of any instrumentation that has ended, as a whole call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llm_trace.semconv import names
from llm_trace.semconv.agents import rename_span_attributes
from llm_trace.semconv.mlflow import rename_mlflow_attributes
from llm_trace.semconv.spans import call_fields
from llm_trace.semconv.values import get_text, load_container

OWN_FIELDS = ("metadata", "code", "prompt", "replay_of", "cost_basis")
"""Fields of a call that our exporter sends as one JSON object."""


class EndedSpan(NamedTuple):
    """What OpenTelemetry tells of a span, however it came here."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    parent_id: str | None
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    events: Sequence[Any] = ()
    """Mappings with `name`, `time_ns` and `attributes`."""
    links: Sequence[Mapping[str, Any]] = ()
    """Spans that it points to, as `trace_id`, `span_id` and `attributes`."""
    failed: bool = False
    message: str | None = None
    """The status' description."""
    scope: str | None = None
    """Name of the instrumentation."""
    resource: Mapping[str, Any] = {}
    """Attributes of the process that made it, where it is not this one."""


def ended_call(span: EndedSpan) -> dict[str, Any]:
    """Return the fields of a `Call`, ids, times and status included."""
    plain = rename_mlflow_attributes(span.attributes)
    attributes = rename_span_attributes(span.name, plain)
    fields = call_fields(span.name, attributes, span.events, start_ns=span.start_ns)
    details = fields["metadata"].setdefault("otel", {})
    for name in plain.keys() - span.attributes.keys():  # the same under another name
        details.get("attributes", {}).pop(name, None)
    if span.scope:
        details["scope"] = span.scope
    if span.resource:
        details["resource"] = dict(span.resource)
    if span.links:
        details["links"] = [{name: value for name, value in link.items() if value} for link in span.links]
    if span.failed:
        kind = str(attributes.get(names.ERROR_TYPE, "error"))
        fields.setdefault("error", {"type": kind, "message": span.message})
    return {
        "span_id": span.span_id,
        "trace_id": span.trace_id,
        "parent_id": span.parent_id,
        "start_ns": span.start_ns,
        "end_ns": span.end_ns,
        "status": "error" if span.failed else "ok",
        **fields,
        **_read_ours(span.attributes),
    }


def _read_ours(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what our own exporter's span says beyond the conventions, so that a call is as it was."""
    status = attributes.get(names.OWN_STATUS)
    if not isinstance(status, str):
        return {}
    rest = load_container(attributes.get(names.OWN_REST))
    own = {name: rest[name] for name in OWN_FIELDS if name in rest} if isinstance(rest, Mapping) else {}
    fields = {"name": get_text(attributes.get(names.OWN_NAME)), "metadata": {}, **own}
    fields["status"] = status if status in ("ok", "error") else "cancelled"
    return {name: value for name, value in fields.items() if value is not None}
