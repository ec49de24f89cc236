"""OTLP's log records in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_trace.collect.logs import LogRecord
from llm_trace.imports import otlp


def iter_json_logs(request: Any) -> Iterator[LogRecord | None]:
    """Yield each record of an OTLP/JSON request, None for one that belongs to no span or cannot be read.

    Raises:
        ValueError: the request around the records is malformed.
    """
    for raw, scope, resource in otlp.walk_entries(request, "resourceLogs", "scopeLogs", "logRecords"):
        yield _log(raw, scope, resource)


def _log(raw: Any, scope: str | None, resource: dict[str, Any]) -> LogRecord | None:
    try:
        attributes = otlp.read_attributes(otlp.check_object(raw).get("attributes"))
        name = raw.get("eventName") or attributes.pop("event.name", "")
        at = otlp.read_integer(raw.get("timeUnixNano") or raw.get("observedTimeUnixNano") or 0)
        return LogRecord(
            trace_id=otlp.read_identifier(raw.get("traceId"), 32, "traceId"),
            span_id=otlp.read_identifier(raw.get("spanId"), 16, "spanId"),
            name=str(name),
            time_ns=otlp.read_moment(at, "timeUnixNano"),
            attributes=attributes,
            body=otlp.read_any_value(raw.get("body")),
            scope=scope,
            resource=resource,
        )
    except ValueError:
        return None
