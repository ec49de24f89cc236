"""Traces and spans of Opik: pages of its API, files of `opik export`, `search_traces()`, `search_spans()`.

Source: opik 2.2 (`rest_api/types/trace_public.py`, `span_public.py`). A trace is a call around its spans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.values import (
    OWN_ANNOTATION,
    list_left_over,
    list_source_ids,
    make_span_id,
    make_trace_id,
    parse_nanoseconds,
)
from llm_trace.semconv.unflatten import nest_attributes
from llm_trace.semconv.values import list_fields, list_mappings

NAME = "opik"
_KINDS = {"llm": "llm", "tool": "tool", "general": "chain", "guardrail": "guardrail"}
_SOURCES = {"ui": "human", "online_scoring": "model"}
_READ = {
    "id", "trace_id", "parent_span_id", "name", "type", "start_time", "end_time", "input", "output",
    "metadata", "tags", "usage", "model", "provider", "error_info", "feedback_scores", "thread_id", "ttft",
    "total_estimated_cost", "duration", "created_at", "last_updated_at", "created_by", "last_updated_by",
    "project_id", "span_count", "llm_span_count", "span_feedback_scores", "spans",
    "total_estimated_cost_version",
}  # fmt: skip
_SIGNS = {"feedback_scores", "span_count", "llm_span_count", "total_estimated_cost", "last_updated_by"}


def recognises(record: Any) -> bool:
    """Say whether a record is a trace, a span, a page of them, or a trace with its spans."""
    if not isinstance(record, dict):
        return False
    if isinstance(record.get("trace"), dict) and isinstance(record.get("spans"), list):
        return _is_row(record["trace"])
    if isinstance(record.get("content"), list) and record["content"] and "page" in record:
        return recognises(record["content"][0])
    return _is_row(record)


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the calls of traces and spans."""
    if not isinstance(record, dict) or not recognises(record):
        raise ValueError("no trace and no span: it has no id with a start_time")
    if isinstance(record.get("trace"), dict) and isinstance(record.get("spans"), list):
        yield _read_row(record["trace"])
        for span in list_mappings(record["spans"]):
            yield _read_row(span)
    elif isinstance(record.get("content"), list) and "page" in record:
        for row in record["content"]:
            yield from calls(row, origin)
    else:
        yield _read_row(record)


def _is_row(record: Mapping[str, Any]) -> bool:
    """Say whether a record is a span by its type, which Opik writes small, or a trace by its counts."""
    if not {"id", "start_time"} <= record.keys() or "run_type" in record:
        return False
    return (isinstance(record.get("trace_id"), str) and record.get("type") in _KINDS) or bool(
        _SIGNS & record.keys()
    )


def _read_row(row: Mapping[str, Any]) -> Imported:
    start = parse_nanoseconds(row.get("start_time"))
    if start is None:
        raise ValueError(f"start_time is no time: {row.get('start_time')!r}")
    end = parse_nanoseconds(row.get("end_time"))
    is_span = bool(row.get("trace_id"))
    trace = row["trace_id"] if is_span else row["id"]
    kind = _KINDS.get(str(row.get("type")), "chain")
    metadata = dict(list_fields(row.get("metadata")))
    fields: dict[str, Any] = {
        "span_id": make_span_id(NAME, row["id"]),
        "trace_id": make_trace_id(NAME, trace),
        "parent_id": make_span_id(NAME, row.get("parent_span_id") or trace) if is_span else None,
        "name": str(row.get("name") or ("span" if is_span else "trace")),
        "kind": kind,
        "start_ns": start,
        "end_ns": max(start, end or start),
        "first_token_ns": _find_first_token(row, start),
        "input": row.get("input") or None,
        "output": row.get("output") or None,
        "tags": [tag for tag in row.get("tags") or () if isinstance(tag, str)] or None,
        "metadata": metadata or None,
        "session": str(row["thread_id"]) if row.get("thread_id") else None,
        **(_read_model(row) if kind == "llm" else {}),
        **_read_outcome(row, end),
    }
    scores = tuple(_iter_scores(row))
    rest = list_left_over(row, _READ)
    ids = list_source_ids(fields, row["id"], trace)
    call = {name: value for name, value in fields.items() if value is not None}
    return Imported(call, rest, scores, ids=ids)


def _find_first_token(row: Mapping[str, Any], start: int) -> int | None:
    waited = row.get("ttft")
    return start + round(1e6 * waited) if isinstance(waited, (int, float)) and waited > 0 else None


def _read_model(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model's span says of the model; the provider's own counts are `original_usage.…`."""
    counts = list_fields(row.get("usage"))
    own = nest_attributes(counts, "original_usage")
    asked, answered = semconv.request_fields(row.get("input")), semconv.response_fields(row.get("output"))
    answered.pop("finish_reason", None)
    fields = {
        **asked,
        **answered,
        "model": row.get("model") or answered.get("model") or asked.get("model"),
        "provider": row.get("provider") or answered.get("provider") or asked.get("provider"),
        "usage": semconv.usage(own) or semconv.usage(counts) or answered.get("usage"),
        "cost_usd": row.get("total_estimated_cost"),
        "messages_in": semconv.messages_in(row.get("input")) or None,
        "messages_out": semconv.messages_out(row.get("output")) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _read_outcome(row: Mapping[str, Any], end: int | None) -> dict[str, Any]:
    error = list_fields(row.get("error_info"))
    if error:
        kind = str(error.get("exception_type") or "error")
        return {
            "status": "error",
            "error": {"type": kind, "message": error.get("message"), "traceback": error.get("traceback")},
        }
    return {"status": "cancelled" if end is None else "ok"}


def _iter_scores(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for score in list_mappings(row.get("feedback_scores")):
        value = score.get("value")
        if isinstance(value, (int, float)) and score.get("name") not in (None, "", OWN_ANNOTATION):
            source = _SOURCES.get(str(score.get("source")), "code")
            comment = {"comment": str(score["reason"])} if score.get("reason") else {}
            yield {"name": str(score["name"]), "value": float(value), "source": source, **comment}
