"""Requests to providers and what they answered: logs of gateways, results of batches, stored completions.

Sources: OpenAI's batch and stored-completions files, Anthropic's message batches, `{"request": …, "response":
    …}` lines, 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.values import find_first_time, get_seconds, list_left_over, make_span_id, make_trace_id

NAME = "exchange"
_ASKED = ("request", "request_body", "req", "requestBody", "kwargs")
_ANSWERED = ("response", "response_body", "res", "responseBody", "completion", "result")
_STARTS = ("start_time", "startTime", "timestamp", "created_at", "createdAt", "time", "date", "request_time")
_ENDS = ("end_time", "endTime", "completed_at", "response_time")
_IDS = ("id", "request_id", "requestId", "uuid")
_LEAST_ID = 8
"""Characters; shorter ids are numbers of lines, which other files have too."""
_GIVEN = ("provider", "session", "user", "tags")
_READ = {
    *_ASKED, *_ANSWERED, *_STARTS, *_ENDS, *_IDS, *_GIVEN,
    "name", "error", "status", "latency_ms", "latency", "duration_ms", "duration",
}  # fmt: skip
_SIGNS = ("model", "messages", "contents", "prompt", "input", "modelId")


def recognises(record: Any) -> bool:
    """Say whether a record holds a provider's request and answer, or an answer alone."""
    if not isinstance(record, dict):
        return False
    if _is_batch(record) or _is_answer(record):
        return True
    asked, answered = _read_body(_get_first(record, _ASKED)), _answer(_get_first(record, _ANSWERED))
    return isinstance(asked, dict) and any(name in asked for name in _SIGNS) and isinstance(answered, dict)


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call of an exchange."""
    if not isinstance(record, dict) or not recognises(record):
        raise ValueError("no request with its response, and no response of a provider")
    if "body" in record and _is_batch(record):
        raise ValueError("a batch's request has no answer: import the batch's output file")
    alone = _is_answer(record)
    reply = None if alone else _get_first(record, _ANSWERED)
    asked = {} if alone else _read_body(_get_first(record, _ASKED)) or {}
    answered = record if alone else _answer(reply) or {}
    ids = [*(record.get(name) for name in _IDS), answered.get("id")]
    own = next((i for i in ids if isinstance(i, str) and len(i) >= _LEAST_ID), origin.key)
    start = (
        find_first_time(record, _STARTS)
        or find_first_time(answered, ("created", "created_at"))
        or origin.time_ns
    )
    end = find_first_time(record, _ENDS) or start + round(1e9 * (get_seconds(record) or 0.0))
    fields = {
        "span_id": make_span_id(NAME, own),
        "trace_id": make_trace_id(NAME, own),
        "name": str(record.get("name") or answered.get("object") or answered.get("type") or "exchange"),
        "start_ns": start,
        "end_ns": max(start, end),
        **read_exchange(asked, answered),
        **_read_outcome({} if alone else record, answered, None if alone else _read_status(record, reply)),
        **{
            name: record[name]
            for name in _GIVEN
            if isinstance(record.get(name), list if name == "tags" else str)
        },
    }
    rest = {} if alone else list_left_over(record, _READ)
    yield Imported({name: value for name, value in fields.items() if value is not None}, rest)


def read_exchange(asked: Any, answered: Any) -> dict[str, Any]:
    """Return the fields that a request to a model and its answer give; absent ones are `None` or empty."""
    requested, responded = semconv.request_fields(asked), semconv.response_fields(answered)
    responded.pop("finish_reason", None)
    spoken_in, spoken_out = semconv.messages_in(asked), semconv.messages_out(answered)
    kind = "embedding" if isinstance(answered, Mapping) and answered.get("object") == "list" else "llm"
    fields = {
        **requested,
        **responded,
        "kind": kind,
        "input": asked or None,
        "output": answered or None,
        "messages_in": spoken_in or None,
        "messages_out": spoken_out or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _read_outcome(record: Mapping[str, Any], answered: Mapping[str, Any], status: Any) -> dict[str, Any]:
    error = record.get("error") or answered.get("error")
    if isinstance(error, Mapping) and isinstance(error.get("error"), Mapping):
        error = error["error"]
    if not error and not (isinstance(status, int) and status >= 400):
        return {"status": "ok"}
    details = error if isinstance(error, Mapping) else {"message": error}
    kind = details.get("type") or details.get("code") or (f"HTTP {status}" if status else "error")
    message = details.get("message")
    return {
        "status": "error",
        "error": {"type": str(kind), "message": None if message is None else str(message)},
    }


def _is_batch(record: Mapping[str, Any]) -> bool:
    if "custom_id" not in record:
        return False
    result = record.get("result")
    return (
        ("response" in record and "error" in record)
        or {"method", "url", "body"} <= record.keys()
        or (isinstance(result, Mapping) and "type" in result)
    )


def _is_answer(record: Mapping[str, Any]) -> bool:
    """Say whether a record is a provider's answer itself."""
    if any(name in record for name in (*_ASKED, "response")):
        return False
    shown = (record.get("object"), record.get("type"))
    whole = shown[0] in ("chat.completion", "response", "text_completion") or (
        shown[1] == "message" and "content" in record
    )
    return whole and "model" in record


def _get_first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _read_body(raw: Any) -> Any:
    """Return the body of a request or answer that may stand in an envelope or as JSON text."""
    body = _load_json(raw)
    if isinstance(body, Mapping) and not any(name in body for name in (*_SIGNS, "choices", "content")):
        inner = _load_json(
            next(
                (body[name] for name in ("body", "json", "data", "content", "message") if name in body),
                None,
            )
        )
        return inner if isinstance(inner, (dict, list)) else body
    return body


def _answer(raw: Any) -> dict[str, Any] | None:
    """Return what a provider answered, whole; the chunks of a stream are put together."""
    body = _read_body(raw)
    if isinstance(body, str) and body.lstrip().startswith(("data:", "event:")):
        lines = (line[5:].strip() for line in body.splitlines() if line.startswith("data:"))
        body = [_load_json(line) for line in lines if line and line != "[DONE]"]
    if isinstance(body, list) and body and all(isinstance(chunk, dict) for chunk in body):
        body = semconv.reduce_stream(body)
    return body if isinstance(body, dict) else None


def _read_status(record: Mapping[str, Any], reply: Any) -> Any:
    inside = reply if isinstance(reply, Mapping) else {}
    statuses = (
        inside.get("status_code"),
        inside.get("status"),
        record.get("status_code"),
        record.get("status"),
    )
    return next((status for status in statuses if isinstance(status, int)), None)


def _load_json(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
