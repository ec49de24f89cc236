"""OTLP JSON: what OpenTelemetry's collector and file exporters write, and what OTLP/HTTP carries as JSON.

Ids are hex, 64-bit integers strings or numbers (opentelemetry-proto, "JSON Protobuf Encoding").
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from llm_trace.imports import Broken, Imported, Origin, Said
from llm_trace.semconv.annotations import list_evaluations, parse_annotation
from llm_trace.semconv.completed_span import EndedSpan, ended_call

NAME = "otlp"
_DEPTH = 32
_NO_PARENT = (None, "", "0" * 16)
_ERROR = (2, "STATUS_CODE_ERROR")
_NUMBER = re.compile(r"-?[0-9]{1,20}")
_KINDS = {
    "string_value": "stringValue", "bool_value": "boolValue", "int_value": "intValue",
    "double_value": "doubleValue", "array_value": "arrayValue", "kvlist_value": "kvlistValue",
    "bytes_value": "bytesValue",
}  # fmt: skip
"""Protobuf's own names, which its JSON may have too; MLflow's server writes them."""
Entry = tuple[Any, str | None, dict[str, Any] | str]
"""A span or a log record as it came, the name of its scope, and the attributes of its resource, or why what
is around it cannot be read.
"""


def recognises(record: Any) -> bool:
    """Say whether a record is an OTLP export; a collector's file may begin with metrics or logs."""
    signals = ("resourceSpans", "resourceMetrics", "resourceLogs")
    return isinstance(record, dict) and any(isinstance(record.get(name), list) for name in signals)


def calls(record: Any, origin: Origin) -> Iterator[Imported | Said | Broken]:
    """Yield the calls of an export; every span is one, but those of our own scores and attributions."""
    del origin
    for raw, scope, resource in _sort_by_end(record):
        span = _read(raw, scope, resource)
        if isinstance(span, str):
            yield Broken(raw, span)
            continue
        if (event := parse_annotation(span)) is not None:
            yield Said(event)
            continue
        yield Imported(ended_call(span))
        yield from map(Said, list_evaluations(span))


def iter_spans(request: Any) -> Iterator[tuple[str, EndedSpan | str]]:
    """Yield each span with its name, or why it cannot be read; those that ended first go first.

    Raises:
        ValueError: the request around the spans is malformed.
    """
    for raw, scope, resource in _sort_by_end(request):
        name = raw.get("name", "") if isinstance(raw, dict) else ""
        yield str(name)[:100].encode("utf-8", "replace").decode(), _read(raw, scope, resource)


def _sort_by_end(request: Any) -> list[Entry]:
    """Return a request's spans by their ends, for senders group them by instrumentation."""
    return sorted(walk_entries(request, "resourceSpans", "scopeSpans", "spans"), key=_end)


def walk_entries(request: Any, groups: str, parts: str, names: str) -> Iterator[Entry]:
    """Yield what lies in a request's groups of one signal, such as `resourceSpans`, `scopeSpans` and `spans`.

    Raises:
        ValueError: the request around it is malformed.
    """
    if not isinstance(request, dict):
        raise ValueError("the body is no JSON object")
    for group in _list(request, groups):
        resource: dict[str, Any] | str
        try:
            resource = read_attributes(_read_object(check_object(group), "resource").get("attributes"))
        except ValueError as exc:
            resource = f"its resource: {exc}"
        yield from _walk_parts(group, parts, names, resource)


def _walk_parts(group: Any, parts: str, names: str, resource: dict[str, Any] | str) -> Iterator[Entry]:
    """Yield what lies in a group; a part whose list cannot be read is one entry, with the reason."""
    try:
        inner = _list(check_object(group), parts)
    except ValueError as exc:
        yield group, None, str(exc)
        return
    for part in inner:
        scope, around = None, resource
        try:
            scope = _read_text(_read_object(check_object(part), "scope"), "name") or None
        except ValueError as exc:
            around = f"its scope: {exc}"
        try:
            entries = _list(check_object(part), names)
        except ValueError as exc:
            yield part, None, str(exc)
            continue
        yield from ((raw, scope, around) for raw in entries)


def _end(entry: Entry) -> int:
    try:
        return read_integer(check_object(entry[0]).get("endTimeUnixNano", 0))
    except ValueError:
        return 0


def _read(raw: Any, scope: str | None, resource: dict[str, Any] | str) -> EndedSpan | str:
    if isinstance(resource, str):
        return resource
    try:
        status = _read_object(check_object(raw), "status")
        return EndedSpan(
            trace_id=read_identifier(raw.get("traceId"), 32, "traceId"),
            span_id=read_identifier(raw.get("spanId"), 16, "spanId"),
            parent_id=read_identifier(raw["parentSpanId"], 16, "parentSpanId")
            if raw.get("parentSpanId") not in _NO_PARENT
            else None,
            name=_read_text(raw, "name"),
            start_ns=read_moment(read_integer(raw.get("startTimeUnixNano", 0)), "startTimeUnixNano"),
            end_ns=read_moment(read_integer(raw.get("endTimeUnixNano", 0)), "endTimeUnixNano"),
            attributes=read_attributes(raw.get("attributes")),
            events=[_read_event(entry) for entry in _read_objects(raw, "events")],
            links=[_link(entry) for entry in _read_objects(raw, "links")],
            failed=status.get("code") in _ERROR,
            message=_read_text(status, "message") or None,
            scope=scope,
            resource=resource,
        )
    except ValueError as exc:
        return str(exc)


def _read_event(raw: dict[str, Any]) -> dict[str, Any]:
    at = read_integer(raw.get("timeUnixNano", 0))
    return {
        "name": _read_text(raw, "name"),
        "time_ns": at,
        "attributes": read_attributes(raw.get("attributes")),
    }


def _link(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a link; ids that are not OpenTelemetry's stay as they are, for nothing refers to them."""
    ids = {"trace_id": _read_text(raw, "traceId").lower(), "span_id": _read_text(raw, "spanId").lower()}
    return {**ids, "attributes": read_attributes(raw.get("attributes"))}


def read_identifier(value: Any, digits: int, name: str) -> str:
    """Return a hex id in lower case.

    Raises:
        ValueError: it has another length, other digits, or is all zero, which OpenTelemetry calls invalid.
    """
    identifier = value.lower() if isinstance(value, str) else ""
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", identifier) or not identifier.strip("0"):
        raise ValueError(f"{name} is no id of {digits} hex digits: {str(value)[:80]!r}")
    return identifier


def read_moment(value: int, name: str) -> int:
    """Return a time in nanoseconds.

    Raises:
        ValueError: it is absent or beyond the year 2262, the last that 63 bits hold.
    """
    if not 0 < value < 2**63:
        raise ValueError(f"{name} is no time in nanoseconds since 1970: {value}")
    return value


def read_attributes(raw: Any) -> dict[str, Any]:
    """Return OTLP's list of keys and values as a mapping; of a key that stands twice the last."""
    if raw is None:
        return {}
    if not isinstance(raw, list):
        raise ValueError("attributes are no list")
    return {
        _read_text(entry, "key"): _read_value(entry.get("value"), _DEPTH) for entry in map(check_object, raw)
    }


def read_any_value(raw: Any) -> Any:
    """Return an `AnyValue` as JSON; bytes stay base64."""
    return _read_value(raw, _DEPTH)


def _read_value(raw: Any, depth: int) -> Any:
    """Return an `AnyValue` as JSON; bytes stay base64."""
    if raw is None or raw == {}:
        return None
    if depth == 0:
        raise ValueError(f"an attribute is nested deeper than {_DEPTH}")
    kind, value = next(iter(check_object(raw).items()))
    kind = _KINDS.get(kind, kind)
    if kind == "stringValue" or kind == "boolValue":
        return value if isinstance(value, (str, bool)) else str(value)
    if kind == "intValue":
        return read_integer(value)
    if kind == "doubleValue":
        return _read_double(value)
    if kind == "arrayValue":
        return [_read_value(entry, depth - 1) for entry in _read_objects(check_object(value), "values")]
    if kind == "kvlistValue":
        entries = _read_objects(check_object(value), "values")
        return {_read_text(entry, "key"): _read_value(entry.get("value"), depth - 1) for entry in entries}
    if kind == "bytesValue":
        return base64.b64encode(base64.b64decode(_read_text({"bytes": value}, "bytes"))).decode()
    return None


def read_integer(value: Any) -> int:
    """Return a 64-bit integer, which OTLP's JSON may write as text."""
    if isinstance(value, int):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise ValueError(f"{str(value)[:80]!r} is no integer")


def _read_double(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{str(value)[:80]!r} is no number") from exc


def _read_text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text: {str(value)[:80]!r}")
    return value


def _read_object(raw: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object under a key, an empty one where it is absent."""
    return check_object(raw.get(key) or {})


def _read_objects(raw: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects in a list under a key, none where it is absent."""
    return [check_object(entry) for entry in _list(raw, key)]


def _list(raw: dict[str, Any], key: str) -> list[Any]:
    value = raw.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"{key} is no list")
    return value


def check_object(raw: Any) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"an object is expected, not {str(raw)[:80]!r}")
    return raw
