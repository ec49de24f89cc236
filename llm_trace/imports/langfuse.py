"""Langfuse exports: traces with their observations, observations alone; from the API, the UI or blob storage.

Source: Langfuse's public API, `GET /api/public/traces/{traceId}` and `/observations`, 2026; blob storage
    writes the same in snake_case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.values import (
    list_left_over,
    list_source_ids,
    make_span_id,
    make_trace_id,
    parse_nanoseconds,
)
from llm_trace.semconv import names

NAME = "langfuse"
_SOURCES = {"ANNOTATION": "human", "EVAL": "model", "API": "code"}
_ATTRIBUTES = {
    "type": names.LANGFUSE_KIND, "input": names.LANGFUSE_INPUT, "output": names.LANGFUSE_OUTPUT,
    "model": names.LANGFUSE_MODEL, "provided_model_name": names.LANGFUSE_MODEL,
    "model_parameters": names.LANGFUSE_PARAMS, "usage": names.LANGFUSE_USAGE,
    "usage_details": names.LANGFUSE_USAGE, "cost_details": names.LANGFUSE_COST,
    "completion_start_time": names.LANGFUSE_FIRST_TOKEN, "metadata": names.LANGFUSE_METADATA,
    "prompt_name": names.LANGFUSE_PROMPT, "prompt_version": names.LANGFUSE_PROMPT_VERSION,
    "session_id": "langfuse.session.id", "user_id": "langfuse.user.id", "tags": "langfuse.trace.tags",
}  # fmt: skip
_READ = {
    *_ATTRIBUTES, "id", "trace_id", "parent_observation_id", "name", "start_time", "end_time",
    "timestamp", "level", "status_message", "observations", "scores", "calculated_total_cost", "latency",
    "total_cost", "unit",
}  # fmt: skip


def recognises(record: Any) -> bool:
    """Say whether a record is a trace, an observation, or a page of them."""
    pages = record.get("data") if isinstance(record, dict) else None
    if isinstance(pages, list) and pages and "meta" in record:
        return recognises(pages[0])
    row = _convert_names(record) if isinstance(record, dict) else {}
    return _is_observation(row) or (
        "id" in row
        and "timestamp" in row
        and ("observations" in row or "bookmarked" in row or "html_path" in row)
    )


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call of an observation; or of a trace, and of the observations in it."""
    if not isinstance(record, dict):
        raise ValueError("neither a trace nor an observation")
    if isinstance(record.get("data"), list):
        for row in record["data"]:
            yield from calls(row, origin)
        return
    row = _convert_names(record)
    if _is_observation(row):
        yield _read_observation(row, None)
    elif "timestamp" in row and "id" in row:
        yield from _trace(row)
    else:
        raise ValueError(
            "neither a trace nor an observation: it has no id with a timestamp, no traceId with a startTime"
        )


def _trace(row: dict[str, Any]) -> Iterator[Imported]:
    observations = [
        _convert_names(entry) for entry in row.get("observations") or [] if isinstance(entry, dict)
    ]
    root = make_span_id(NAME, "trace", row["id"])
    start = _read_time(row, "timestamp")
    ends = [end for entry in observations if (end := parse_nanoseconds(entry.get("end_time"))) is not None]
    if not ends and (took := _read_seconds(row.get("latency"))) is not None:
        ends = [start + round(took * 1e9)]
    scores = [score for score in row.get("scores") or [] if isinstance(score, dict)]
    fields = _read_fields({**row, "type": "span"}, root, None, start, max(ends, default=start))
    fields["trace_id"] = make_trace_id(NAME, row["id"])
    mine = tuple(_score(_convert_names(score)) for score in scores if not _read_score(score))
    yield Imported(fields, list_left_over(row, _READ), mine)
    shared = {name: row[name] for name in ("session_id", "user_id", "tags") if row.get(name)}
    for entry in observations:
        feedback = [_convert_names(score) for score in scores if _read_score(score) == entry.get("id")]
        observation = _read_observation({"trace_id": row["id"], **shared, **entry}, root)
        yield replace(observation, scores=tuple(map(_score, feedback)))


def _read_observation(row: dict[str, Any], root: str | None) -> Imported:
    parent = row.get("parent_observation_id")
    own = make_span_id(NAME, row["id"])
    start = _read_time(row, "start_time")
    end, took = parse_nanoseconds(row.get("end_time")), _read_seconds(row.get("latency"))
    if end is None and took is not None:
        end = start + round(took * 1e9)
    fields = _read_fields(
        row, own, make_span_id(NAME, parent) if parent else root, start, start if end is None else end
    )
    fields["trace_id"] = make_trace_id(NAME, row.get("trace_id"))
    ids = list_source_ids(fields, row["id"], row.get("trace_id"))
    return Imported(fields, list_left_over(row, _READ), ids=ids)


def _read_fields(row: dict[str, Any], own: str, parent: str | None, start: int, end: int) -> dict[str, Any]:
    """Return a call, read as the span that Langfuse's own SDK would have sent."""
    attributes = {
        target: row[name] for name, target in _ATTRIBUTES.items() if row.get(name) not in (None, "", [], {})
    }
    attributes[names.LANGFUSE_KIND] = str(row.get("type", "span")).lower()
    cost = row.get("calculated_total_cost")
    if isinstance(cost, (int, float)):
        attributes[names.OWN_COST] = cost
    fields = semconv.call_fields(str(row.get("name") or row["id"]), attributes, start_ns=start)
    fields["metadata"].pop("otel", None)
    failed = row.get("level") == "ERROR"
    if failed:
        fields["error"] = {"type": "error", "message": row.get("status_message")}
    elif row.get("status_message"):
        fields["metadata"]["status_message"] = row["status_message"]
    if not fields["metadata"] and isinstance(row.get("metadata"), dict):
        fields["metadata"] = row["metadata"]
    ids = {"span_id": own, "parent_id": parent}
    return {
        **fields,
        **ids,
        "start_ns": start,
        "end_ns": max(end, start),
        "status": "error" if failed else "ok",
    }


def _read_seconds(value: Any) -> float | None:
    """Return a latency, which a CSV writes as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _score(row: dict[str, Any]) -> dict[str, Any]:
    value = row.get("string_value") if row.get("data_type") == "CATEGORICAL" else row.get("value")
    if value is None or not isinstance(value, (str, int, float)):
        raise ValueError(f"score {row.get('name')!r} has no value")
    fields = {
        "id": make_span_id(NAME, "score", row.get("id") or row.get("name")),
        "name": str(row.get("name")),
        "value": bool(value) if row.get("data_type") == "BOOLEAN" else value,
        "source": _SOURCES.get(str(row.get("source")), "code"),
        "comment": row.get("comment"),
        "time_ns": parse_nanoseconds(row.get("timestamp")),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _read_score(score: dict[str, Any]) -> Any:
    return score.get("observationId", score.get("observation_id"))


def _is_observation(row: dict[str, Any]) -> bool:
    return {"id", "trace_id", "start_time", "type"} <= row.keys()


def _read_time(row: dict[str, Any], name: str) -> int:
    time_ns = parse_nanoseconds(row.get(name))
    if time_ns is None:
        raise ValueError(f"{name} is no time: {row.get(name)!r}")
    return time_ns


def _convert_names(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with its own names (not those inside) in snake_case."""
    return {
        re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m[1].lower(), str(name)): v
        for name, v in record.items()
    }
