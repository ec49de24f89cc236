"""LiteLLM's standard logging payloads, as its callbacks, buckets and proxies write them.

Source: litellm 1.106 `StandardLoggingPayload`, 2026; times are seconds since the epoch. Rows of its spend
    logs have the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.exchanges import read_exchange
from llm_trace.imports.values import list_left_over, make_span_id, make_trace_id, parse_nanoseconds

NAME = "litellm"
_READ = {
    "id", "request_id", "trace_id", "litellm_trace_id", "call_type", "response_cost", "spend", "status",
    "status_fields", "total_tokens", "prompt_tokens", "completion_tokens", "startTime", "endTime",
    "completionStartTime", "response_time", "model", "model_id", "custom_llm_provider", "messages",
    "response", "model_parameters", "metadata", "end_user", "request_tags", "error_str",
    "error_information", "stream", "session_id", "proxy_server_request",
}  # fmt: skip


def recognises(record: Any) -> bool:
    """Say whether a record is such a payload."""
    named = isinstance(record, dict) and {"call_type", "startTime", "model"} <= record.keys()
    return named and ("response_cost" in record or "spend" in record or "custom_llm_provider" in record)


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call of a payload."""
    if not isinstance(record, dict) or not recognises(record):
        raise ValueError("no logging payload: call_type, startTime or model is missing")
    start = parse_nanoseconds(record["startTime"])
    if start is None:
        raise ValueError(f"startTime is no time: {record['startTime']!r}")
    own = record.get("id") or record.get("request_id") or origin.key
    trace = record.get("trace_id") or record.get("litellm_trace_id") or record.get("session_id") or own
    metadata = dict(record["metadata"]) if isinstance(record.get("metadata"), dict) else {}
    call_type = str(record["call_type"])
    fields = {
        "span_id": make_span_id(NAME, own),
        "trace_id": make_trace_id(NAME, trace),
        "name": call_type,
        "start_ns": start,
        "end_ns": max(start, parse_nanoseconds(record.get("endTime")) or start),
        **_read_messages(record),
        **_read_counts(record),
        "kind": "embedding" if "embedding" in call_type else "reranker" if "rerank" in call_type else "llm",
        "provider": record.get("custom_llm_provider"),
        "first_token_ns": _read_first_token(record, start),
        "session": _get_text(record.get("session_id") or metadata.get("session_id")),
        "user": _get_text(record.get("end_user") or metadata.get("user_api_key_end_user_id")),
        "tags": [tag for tag in record.get("request_tags") or () if isinstance(tag, str)] or None,
        "metadata": {name: value for name, value in metadata.items() if value not in (None, "", [], {})}
        or None,
        **_read_outcome(record),
    }
    call = {name: value for name, value in fields.items() if value not in (None, "")}
    yield Imported(call, list_left_over(record, _READ))


def _read_messages(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the request and the response say."""
    params = record["model_parameters"] if isinstance(record.get("model_parameters"), dict) else {}
    asked = {"model": record["model"], "messages": record.get("messages") or [], **params}
    if not isinstance(asked["messages"], list):
        asked["input"] = asked.pop("messages")
    answered = record.get("response")
    return read_exchange(asked, answered) | {"output": answered or None}


def _read_counts(record: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: record[name] for name in ("prompt_tokens", "completion_tokens") if record.get(name)}
    usage = semconv.response_fields(record.get("response")).get("usage")
    cost = record.get("response_cost", record.get("spend"))
    return {
        "usage": usage or semconv.usage(counts),
        "cost_usd": float(cost) if isinstance(cost, (int, float)) and not isinstance(cost, bool) else None,
    }


def _read_first_token(record: Mapping[str, Any], start: int) -> int | None:
    """Return when a stream's first chunk came; without a stream LiteLLM writes the end there."""
    at = parse_nanoseconds(record.get("completionStartTime"))
    return at if record.get("stream") and at is not None and at >= start else None


def _read_outcome(record: Mapping[str, Any]) -> dict[str, Any]:
    if record.get("status") != "failure" and not record.get("error_str"):
        return {"status": "ok"}
    details = record["error_information"] if isinstance(record.get("error_information"), dict) else {}
    error = {
        "type": str(details.get("error_class") or "error"),
        "message": _get_text(details.get("error_message") or record.get("error_str")),
        "traceback": _get_text(details.get("traceback")),
    }
    return {"status": "error", "error": {name: value for name, value in error.items() if value}}


def _get_text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
