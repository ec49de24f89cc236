"""Traces of MLflow: `Trace.to_json()`, rows of `search_traces()`, answers of its API, `mlflow traces get`.

Source: mlflow 3.17 (`mlflow/entities/trace.py`, `span.py`, `assessment.py`); MLflow 2 calls `trace_id`
    `request_id`. A trace's feedback is scores of the span that it names, else of the trace's root.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace.imports import Broken, Imported, Origin, Said
from llm_trace.imports.otlp import read_attributes, read_identifier
from llm_trace.imports.values import list_left_over, make_span_id, parse_json, parse_nanoseconds
from llm_trace.semconv.completed_span import EndedSpan, ended_call
from llm_trace.semconv.values import list_fields, list_mappings

NAME = "mlflow"
OWN_SOURCE = "llm_trace"
"""`source_id` of what llm_trace writes there."""
_ERRORS = ("STATUS_CODE_ERROR", "ERROR")
_SOURCES = {"HUMAN": "human", "LLM_JUDGE": "model", "AI_JUDGE": "model", "CODE": "code"}
_SHOWN = ("mlflow.trace.session", "mlflow.trace.user")
_READ = {
    "trace_id", "request_id", "client_request_id", "request_preview", "response_preview", "request_time",
    "timestamp_ms", "execution_duration_ms", "execution_duration", "execution_time_ms", "state", "status",
    "trace_metadata", "request_metadata", "tags", "assessments", "trace_location", "experiment_id",
}  # fmt: skip


def recognises(record: Any) -> bool:
    """Say whether a record is a trace, a row of a frame of traces, or a page of them."""
    if not isinstance(record, dict):
        return False
    if isinstance(record.get("traces"), list) and record["traces"]:
        return recognises(record["traces"][0])
    info, spans = _open(record)
    return bool({"trace_id", "request_id"} & info.keys()) and _is_spans(spans)


def calls(record: Any, origin: Origin) -> Iterator[Imported | Said | Broken]:
    """Yield the calls of a trace, and the feedback on them."""
    if not isinstance(record, dict) or not recognises(record):
        raise ValueError("no trace: it has no `info` with a trace_id and no `data` with spans")
    if isinstance(record.get("traces"), list):
        for trace in record["traces"]:
            yield from calls(trace, origin)
        return
    info, spans = _open(record)
    about = list_fields(info.get("trace_metadata") or info.get("request_metadata"))
    shared = {name: about[name] for name in _SHOWN if name in about}
    rest = list_left_over(info, _READ) | {
        name: value for name, value in (("tags", info.get("tags")), ("trace_metadata", about)) if value
    }
    ids: dict[str, str] = {}
    root = None
    for raw in sorted(spans, key=lambda span: _get_end(span) or 0):
        try:
            span = _read_span(raw, shared)
        except ValueError as exc:
            yield Broken(raw, str(exc))
            continue
        ids[str(raw.get("span_id"))] = ids[span.span_id] = span.span_id
        root = span.span_id if span.parent_id is None else root
        yield Imported(ended_call(span), rest if span.parent_id is None else {})
    for number, assessment in enumerate(list_mappings(info.get("assessments"))):
        on = ids.get(str(assessment.get("span_id")), root)
        if (event := _read_feedback(assessment, on, number)) is not None:
            yield Said(event)


def _open(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Any]]:
    """Return what a trace says of itself, and its spans; of a row, which has all in one."""
    if isinstance(record.get("trace"), str):  # a row of a frame holds the trace as JSON text
        try:
            record = list_fields(parse_json(record["trace"].encode()))
        except ValueError:
            return {}, []
    info = list_fields(record.get("info") or record.get("trace_info")) or record
    data = list_fields(record.get("data")) or record
    spans = data.get("spans")
    return info, spans if isinstance(spans, list) else []


def _is_spans(spans: list[Any]) -> bool:
    return bool(spans) and all(
        isinstance(span, dict) and {"span_id", "context"} & span.keys() for span in spans
    )


def _read_span(raw: Mapping[str, Any], shared: Mapping[str, Any]) -> EndedSpan:
    ids = list_fields(raw.get("context")) or raw
    start = parse_nanoseconds(raw.get("start_time_unix_nano") or raw.get("start_time"))
    if start is None:
        raise ValueError(f"start_time_unix_nano is no time: {raw.get('start_time_unix_nano')!r}")
    parent = raw.get("parent_span_id") or raw.get("parent_id")
    status = list_fields(raw.get("status"))
    code = status.get("code") or raw.get("status_code")
    return EndedSpan(
        trace_id=_read_id(ids.get("trace_id"), 32, "trace_id"),
        span_id=_read_id(ids.get("span_id"), 16, "span_id"),
        parent_id=_read_id(parent, 16, "parent_span_id") if parent else None,
        name=str(raw.get("name") or "span"),
        start_ns=start,
        end_ns=max(start, _get_end(raw) or start),
        attributes={**shared, **_read_attributes(raw.get("attributes"))},
        events=[_read_event(event) for event in list_mappings(raw.get("events"))],
        failed=code in _ERRORS,
        message=status.get("message") or raw.get("status_message") or None,
    )


def _read_attributes(raw: Any) -> dict[str, Any]:
    """Return a span's attributes: files have MLflow's as JSON text, its server the values themselves."""
    if not isinstance(raw, list):
        return dict(list_fields(raw))
    attributes = read_attributes(raw)
    return {
        name: json.dumps(value) if name.startswith("mlflow.") else value for name, value in attributes.items()
    }


def _get_end(raw: Any) -> int | None:
    fields = list_fields(raw)
    return parse_nanoseconds(fields.get("end_time_unix_nano") or fields.get("end_time"))


def _read_id(value: Any, digits: int, name: str) -> str:
    """Return an id in hex: MLflow 3 writes its bytes in Base64, MLflow 2 `0x…`, its API `tr-…`.

    Raises:
        ValueError: it is none of these.
    """
    text = str(value or "").removeprefix("tr-")
    if len(text) == digits + 2:  # one of Base64, which is shorter, may begin with 0x as well
        text = text.removeprefix("0x")
    if len(text) != digits:
        try:
            text = base64.b64decode(text, validate=True).hex()
        except ValueError:
            pass
    return read_identifier(text, digits, name)


def _read_event(raw: Mapping[str, Any]) -> dict[str, Any]:
    at = parse_nanoseconds(raw.get("time_unix_nano") or raw.get("timestamp"))
    return {
        "name": str(raw.get("name", "")),
        "time_ns": at,
        "attributes": _read_attributes(raw.get("attributes")),
    }


def _read_feedback(raw: Mapping[str, Any], span_id: str | None, number: int) -> dict[str, Any] | None:
    """Return the score that an assessment is: an expected answer is a score as well, of its name.

    None for one that has no value, such as a judge's that failed, where no span can have it, and for what
    llm_trace wrote there.
    """
    body = list_fields(raw.get("feedback") or raw.get("expectation"))
    value = body.get("value")
    if value is None and isinstance(
        serialized := list_fields(body.get("serialized_value")).get("value"), str
    ):
        value = serialized
    source = list_fields(raw.get("source"))
    if value is None or span_id is None or source.get("source_id") == OWN_SOURCE:
        return None
    name = str(raw.get("assessment_name") or raw.get("name") or "feedback")
    scored = value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
    event = {
        "event": "score",
        "id": make_span_id(NAME, "assessment", raw.get("assessment_id") or f"{span_id} {name} {number}"),
        "span_id": span_id,
        "name": name,
        "value": scored,
        "time_ns": parse_nanoseconds(raw.get("create_time") or raw.get("last_update_time")),
        "source": _SOURCES.get(str(source.get("source_type")), "code"),
        "comment": raw.get("rationale") or None,
    }
    return {key: field for key, field in event.items() if field is not None}
