"""Runs of LangSmith: what its client lists, as JSON, JSON Lines or a page of the API, in either version.

Sources: langsmith 0.4 `schemas.Run` and the API's `/runs/query`, where a run's `session_id` is its project;
    langsmith 0.15 `types.Run` and `/api/v2/runs/query`.
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

NAME = "langsmith"
_KINDS = {"llm": "llm", "tool": "tool", "retriever": "retriever", "embedding": "embedding"}
_READ = {
    "id", "trace_id", "parent_run_id", "parent_run_ids", "name", "run_type", "start_time", "end_time",
    "inputs", "outputs", "error", "tags", "extra", "dotted_order", "child_runs", "child_run_ids",
    "direct_child_run_ids", "prompt_tokens", "completion_tokens", "total_tokens", "total_cost",
    "prompt_cost", "completion_cost", "first_token_time", "feedback_stats", "status", "serialized",
    "events", "execution_order", "inputs_preview", "outputs_preview", "project_id",
}  # fmt: skip
_SESSIONS = ("session_id", "thread_id", "conversation_id")


def recognises(record: Any) -> bool:
    """Say whether a record is a run, or a page of them."""
    if not isinstance(record, dict):
        return False
    if (page := _get_page(record)) is not None:
        return recognises(page[0])
    return {"id", "run_type", "start_time"} <= record.keys()


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call of a run and those of its child runs."""
    if not isinstance(record, dict) or not recognises(record):
        raise ValueError("no run: it has no id with a run_type and a start_time")
    for run in _get_page(record) or [record]:
        yield _run(run)
        for child in run.get("child_runs") or ():
            yield from calls(child, origin)


def _get_page(record: dict[str, Any]) -> list[Any] | None:
    """Return the runs of a page that has some."""
    rows = record.get("runs") or (record.get("items") if "next_cursor" in record else None)
    return rows if isinstance(rows, list) and rows else None


def _run(run: dict[str, Any]) -> Imported:
    start = parse_nanoseconds(run.get("start_time"))
    if start is None:
        raise ValueError(f"start_time is no time: {run.get('start_time')!r}")
    end = parse_nanoseconds(run.get("end_time"))
    parent = run.get("parent_run_id") or next(reversed(run.get("parent_run_ids") or ()), None)
    extra = run["extra"] if isinstance(run.get("extra"), dict) else {}
    metadata = extra["metadata"] if isinstance(extra.get("metadata"), dict) else {}
    kind = _KINDS.get(str(run["run_type"]).lower(), "chain")
    fields = {
        "span_id": make_span_id(NAME, run["id"]),
        "trace_id": make_trace_id(NAME, _trace(run)),
        "parent_id": make_span_id(NAME, parent) if parent else None,
        "name": str(run.get("name") or run["run_type"]),
        "kind": kind,
        "start_ns": start,
        "end_ns": max(start, end or start),
        "first_token_ns": parse_nanoseconds(run.get("first_token_time")),
        "input": run.get("inputs") or None,
        "output": run.get("outputs") or None,
        "tags": [tag for tag in run.get("tags") or () if isinstance(tag, str)] or None,
        "metadata": metadata or None,
        "session": next((str(metadata[name]) for name in _SESSIONS if metadata.get(name)), None),
        "user": str(metadata["user_id"]) if metadata.get("user_id") else None,
        **(_model(run, extra, metadata) if kind in ("llm", "embedding") else {}),
        **_read_outcome(run, end),
    }
    others = {name: value for name, value in extra.items() if name not in ("metadata", "invocation_params")}
    rest = list_left_over(run, _READ) | ({"extra": others} if others else {})
    scores = tuple(_iter_scores(run.get("feedback_stats")))
    ids = list_source_ids(fields, run["id"], _trace(run))
    call = {name: value for name, value in fields.items() if value is not None}
    return Imported(call, rest, scores, ids=ids)


def _trace(run: Mapping[str, Any]) -> Any:
    """Return the id of a run's trace: that of its root, which begins `dotted_order`."""
    first = str(run.get("dotted_order") or "").partition(".")[0].partition("Z")[2]
    return run.get("trace_id") or first or run.get("parent_run_id") or run["id"]


def _model(run: Mapping[str, Any], extra: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    params = extra.get("invocation_params") or {}
    asked, answered = semconv.request_fields(params), semconv.response_fields(run.get("outputs"))
    answered.pop("finish_reason", None)
    cost = run.get("total_cost")
    counts = {name: run[name] for name in ("prompt_tokens", "completion_tokens") if run.get(name)}
    fields = {
        "model": metadata.get("ls_model_name"),
        "provider": metadata.get("ls_provider"),
        **asked,
        **answered,
        "cost_usd": float(cost) if cost not in (None, "") else answered.get("cost_usd"),
        "usage": semconv.usage(_read_usage(run.get("outputs")))
        or answered.get("usage")
        or semconv.usage(counts),
        "messages_in": semconv.messages_in(run.get("inputs")) or None,
        "messages_out": semconv.messages_out(run.get("outputs")) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _read_usage(outputs: Any) -> Any:
    """Return the token counts that LangChain's or LangSmith's own answers carry."""
    if isinstance(outputs, Mapping):
        for name in ("usage_metadata", "token_usage"):
            if isinstance(outputs.get(name), Mapping) and outputs[name]:
                return outputs[name]
        inner = [outputs.get(name) for name in ("generations", "message", "kwargs", "output")]
        inner.append(outputs.get("llm_output"))
    else:
        inner = outputs if isinstance(outputs, list) else []
    return next((counts for each in inner if (counts := _read_usage(each))), None)


def _read_outcome(run: Mapping[str, Any], end: int | None) -> dict[str, Any]:
    if run.get("error"):
        message = str(run["error"])
        kind = message.partition("(")[0].strip()
        return {
            "status": "error",
            "error": {"type": kind if kind.isidentifier() else "error", "message": message},
        }
    return {"status": "cancelled" if end is None else "ok"}


def _iter_scores(stats: Any) -> Iterator[dict[str, Any]]:
    """Yield the feedback on a run: its mean, or the one label that was given."""
    for name, feedback in stats.items() if isinstance(stats, Mapping) else ():
        if not isinstance(feedback, Mapping) or name == OWN_ANNOTATION:
            continue
        labels = feedback.get("values")
        label = next(iter(labels), None) if isinstance(labels, Mapping) else None
        value = feedback.get("avg") if feedback.get("avg") is not None else label
        if isinstance(value, (int, float, str)):
            comments = [text for text in feedback.get("comments") or () if text]
            yield {"name": str(name), "value": value, **({"comment": str(comments[0])} if comments else {})}
