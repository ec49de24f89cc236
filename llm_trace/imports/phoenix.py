"""Phoenix exports: spans as its API gives them, or its data frames as JSON, JSON Lines, Parquet or CSV.

Source: Phoenix's REST API `/v1/projects/{id}/spans` and `get_spans_dataframe`, 2026; OpenInference's names.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from llm_trace.imports import Imported, Origin
from llm_trace.imports.otlp import read_identifier
from llm_trace.imports.values import list_left_over, parse_nanoseconds
from llm_trace.semconv import names
from llm_trace.semconv.completed_span import EndedSpan, ended_call

NAME = "phoenix"
_WHOLE = frozenset(
    {names.OI_METADATA, names.OI_TEMPLATE_VARIABLES, names.OI_PARAMS, names.OI_INPUT, names.OI_OUTPUT}
)
"""Attributes whose value is an object by right."""
_READ = {
    "id", "name", "context", "context.span_id", "context.trace_id", "span_id", "trace_id", "span_kind",
    "parent_id", "start_time", "end_time", "status_code", "status_message", "events", "attributes",
}  # fmt: skip


def recognises(record: Any) -> bool:
    """Say whether a record is a span of Phoenix, or a page of them."""
    if not isinstance(record, dict):
        return False
    if isinstance(record.get("data"), list) and record["data"]:
        return recognises(record["data"][0])
    return "start_time" in record and "span_kind" in record and _read_ids(record)[0] is not None


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call of a span."""
    if not isinstance(record, dict):
        raise ValueError("no span")
    if isinstance(record.get("data"), list):
        for row in record["data"]:
            yield from calls(row, origin)
        return
    start, end = parse_nanoseconds(record.get("start_time")), parse_nanoseconds(record.get("end_time"))
    if start is None:
        raise ValueError(f"start_time is no time: {record.get('start_time')!r}")
    span_id, trace_id = _read_ids(record)
    span = EndedSpan(
        trace_id=read_identifier(trace_id, 32, "trace_id"),
        span_id=read_identifier(span_id, 16, "span_id"),
        parent_id=read_identifier(record["parent_id"], 16, "parent_id") if record.get("parent_id") else None,
        name=str(record.get("name") or "span"),
        start_ns=start,
        end_ns=max(start, end or start),
        attributes=_read_attributes(record),
        events=[
            _read_event(entry)
            for entry in _open_value(record.get("events")) or []
            if isinstance(entry, Mapping)
        ],
        failed=record.get("status_code") == "ERROR",
        message=record.get("status_message") or None,
    )
    yield Imported(ended_call(span), list_left_over(_drop_columns(record), _READ))


def _read_ids(record: Mapping[str, Any]) -> tuple[Any, Any]:
    context = record.get("context")
    inside = context if isinstance(context, Mapping) else {}
    ids = [
        inside.get(name) or record.get(f"context.{name}") or record.get(name)
        for name in ("span_id", "trace_id")
    ]
    return ids[0], ids[1]


def _read_attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    opened = _open_value(record.get("attributes"))
    raw = dict(opened) if isinstance(opened, Mapping) else {}
    raw |= {name[11:]: value for name, value in record.items() if name.startswith("attributes.")}
    attributes: dict[str, Any] = {names.OI_KIND: str(record.get("span_kind", "UNKNOWN")).upper()}
    for name, value in raw.items():
        _flatten(
            attributes, name, value if isinstance(value, (Mapping, list)) else _read_container(value, name)
        )
    return attributes


def _flatten(attributes: dict[str, Any], name: str, value: Any) -> None:
    """Put a nested attribute under the dotted names that OpenInference gives it."""
    if name in _WHOLE:
        attributes[name] = value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(attributes, f"{name}.{key}", inner)
    elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
        for index, inner in enumerate(value):
            _flatten(attributes, f"{name}.{index}", inner)
    elif value is not None:
        attributes[name] = value.isoformat() if isinstance(value, datetime) else value


def _read_container(value: Any, name: str) -> Any:
    """Return the lists of messages and documents that a CSV holds as text."""
    return value if name in _WHOLE or not isinstance(value, str) else _open_value(value)


def _open_value(value: Any) -> Any:
    """Return the list or object in a text, as JSON or as Python writes it; other values as they are."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def _read_event(raw: Mapping[str, Any]) -> dict[str, Any]:
    message = {names.EXCEPTION_MESSAGE: raw["message"]} if "message" in raw else {}
    attributes = raw.get("attributes")
    own = dict(attributes) if isinstance(attributes, Mapping) else {}
    at = parse_nanoseconds(raw.get("timestamp"))
    return {"name": str(raw.get("name", "")), "time_ns": at, "attributes": {**message, **own}}


def _drop_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.startswith("attributes.")}
