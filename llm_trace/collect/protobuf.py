"""OTLP's protobuf messages as spans and log records. Needs opentelemetry-proto."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from llm_trace.collect.logs import LogRecord, choose_name
from llm_trace.collect.points import DataPoint
from llm_trace.imports.otlp import read_identifier, read_moment
from llm_trace.semconv.completed_span import EndedSpan

_ERROR = 2
_CUMULATIVE = 2


def read_spans(body: bytes) -> Iterator[tuple[str, EndedSpan | str]]:
    """Yield each span of an `ExportTraceServiceRequest` with its name, or why it is unreadable, by its end.

    Raises:
        ValueError: the bytes are no such message.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = _parse(ExportTraceServiceRequest, body)
    entries = list(_walk_entries(request.resource_spans, "scope_spans", "spans"))
    entries.sort(key=lambda entry: entry[0].end_time_unix_nano)  # senders group them by instrumentation
    for raw, scope, resource in entries:
        yield raw.name[:100], _read(raw, scope, resource)


def iter_logs(body: bytes) -> Iterator[LogRecord | None]:
    """Yield each record of an `ExportLogsServiceRequest`, None for one that cannot be read.

    Raises:
        ValueError: the bytes are no such message.
    """
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = _parse(ExportLogsServiceRequest, body)
    for raw, scope, resource in _walk_entries(request.resource_logs, "scope_logs", "log_records"):
        yield _log(raw, scope, resource)


def iter_points(body: bytes) -> Iterator[DataPoint | None]:
    """Yield each point of an `ExportMetricsServiceRequest`, None for one that is no sum or cannot be read.

    Raises:
        ValueError: the bytes are no such message.
    """
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = _parse(ExportMetricsServiceRequest, body)
    for metric, _, resource in _walk_entries(request.resource_metrics, "scope_metrics", "metrics"):
        kind = metric.WhichOneof("data")
        if kind is not None:
            for point in getattr(metric, kind).data_points:
                yield _read_point(metric, kind, point, resource)


def _read_point(metric: Any, kind: str, point: Any, resource: dict[str, Any]) -> DataPoint | None:
    value = point.sum if kind == "histogram" else None
    if kind == "sum" and (name := point.WhichOneof("value")) is not None:
        value = getattr(point, name)
    if value is None or not 0 < point.time_unix_nano < 2**63:
        return None
    return DataPoint(
        metric.name,
        float(value),
        _read_attributes(point.attributes),
        getattr(metric, kind).aggregation_temporality == _CUMULATIVE,
        point.start_time_unix_nano,
        point.time_unix_nano,
        resource,
    )


def _parse(message: Any, body: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return message.FromString(body)
    except DecodeError as exc:
        raise ValueError(f"the body is no {message.__name__}: {exc}") from exc


def _walk_entries(
    groups: Iterable[Any], parts: str, entries: str
) -> Iterator[tuple[Any, str | None, dict[str, Any]]]:
    """Yield what lies in a request's groups of one signal, with the scope and the resource that it is of."""
    for group in groups:
        resource = _read_attributes(group.resource.attributes)
        for part in getattr(group, parts):
            for raw in getattr(part, entries):
                yield raw, part.scope.name or None, resource


def _log(raw: Any, scope: str | None, resource: dict[str, Any]) -> LogRecord | None:
    attributes = _read_attributes(raw.attributes)
    body = _read_value(raw.body)
    has_span = any(raw.trace_id) and any(raw.span_id)
    try:
        return LogRecord(
            trace_id=_read_id(raw.trace_id, 16, "trace_id") if has_span else None,
            span_id=_read_id(raw.span_id, 8, "span_id") if has_span else None,
            name=choose_name(raw.event_name, attributes, body),
            time_ns=read_moment(raw.time_unix_nano or raw.observed_time_unix_nano, "time_unix_nano"),
            attributes=attributes,
            body=body,
            scope=scope,
            resource=resource,
        )
    except ValueError:
        return None


def _read(raw: Any, scope: str | None, resource: dict[str, Any]) -> EndedSpan | str:
    try:
        return EndedSpan(
            trace_id=_read_id(raw.trace_id, 16, "trace_id"),
            span_id=_read_id(raw.span_id, 8, "span_id"),
            parent_id=_read_id(raw.parent_span_id, 8, "parent_span_id") if any(raw.parent_span_id) else None,
            name=raw.name,
            start_ns=read_moment(raw.start_time_unix_nano, "start_time_unix_nano"),
            end_ns=read_moment(raw.end_time_unix_nano, "end_time_unix_nano"),
            attributes=_read_attributes(raw.attributes),
            events=[
                {"name": e.name, "time_ns": e.time_unix_nano, "attributes": _read_attributes(e.attributes)}
                for e in raw.events
            ],
            links=[
                {
                    "trace_id": link.trace_id.hex(),
                    "span_id": link.span_id.hex(),
                    "attributes": _read_attributes(link.attributes),
                }
                for link in raw.links
            ],
            failed=raw.status.code == _ERROR,
            message=raw.status.message or None,
            scope=scope,
            resource=resource,
        )
    except ValueError as exc:
        return str(exc)


def _read_id(raw: bytes, size: int, name: str) -> str:
    digits = raw.hex()
    return digits if len(raw) == size and any(raw) else read_identifier(digits, 2 * size, name)


def _read_attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or _read_value(pair.value) for pair in pairs}


def _read_value(raw: Any) -> Any:
    """Return an `AnyValue` as JSON; protobuf itself bounds how deep it nests."""
    kind = raw.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(raw, kind)
    if kind == "array_value":
        return [_read_value(entry) for entry in value.values]
    if kind == "kvlist_value":
        return _read_attributes(value.values)
    return base64.b64encode(value).decode() if kind == "bytes_value" else value
