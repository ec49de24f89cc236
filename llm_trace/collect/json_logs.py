"""OTLP's log records in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_trace.collect.logs import LogRecord, choose_name
from llm_trace.imports import otlp


def iter_json_logs(request: Any) -> Iterator[LogRecord | None]:
    """Yield each record of an OTLP/JSON request, None for one that cannot be read.

    Raises:
        ValueError: the request around the records is malformed.
    """
    for raw, scope, resource in otlp.walk_entries(request, "resourceLogs", "scopeLogs", "logRecords"):
        yield None if isinstance(resource, str) else _log(raw, scope, resource)


def _log(raw: Any, scope: str | None, resource: dict[str, Any]) -> LogRecord | None:
    try:
        attributes = otlp.read_attributes(otlp.check_object(raw).get("attributes"))
        has_span = all(str(raw.get(name) or "").strip("0") for name in ("traceId", "spanId"))
        body = otlp.read_any_value(raw.get("body"))
        at = otlp.read_integer(raw.get("timeUnixNano") or raw.get("observedTimeUnixNano") or 0)
        return LogRecord(
            trace_id=otlp.read_identifier(raw["traceId"], 32, "traceId") if has_span else None,
            span_id=otlp.read_identifier(raw["spanId"], 16, "spanId") if has_span else None,
            name=choose_name(raw.get("eventName"), attributes, body),
            time_ns=otlp.read_moment(at, "timeUnixNano"),
            attributes=attributes,
            body=body,
            scope=scope,
            resource=resource,
        )
    except ValueError:
        return None
