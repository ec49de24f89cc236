"""Calls of W&B Weave: what `client.get_calls` gives, or its API streams.

Source: weave 0.51 `CallSchema`, 2026. The usage in a call's summary counts its children's too, so only that
    of model calls is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.exchanges import read_exchange
from llm_trace.imports.values import list_left_over, make_span_id, make_trace_id, parse_nanoseconds

NAME = "weave"
_KINDS = {"llm": "llm", "agent": "agent", "tool": "tool", "search": "retriever", "scorer": "evaluator"}
_MODEL_CALL = re.compile(
    r"(chat|completions?|messages|responses|generate(_content)?|embeddings?)(\.[a-z_]+)*$", re.IGNORECASE
)
_READ = {
    "id", "project_id", "op_name", "display_name", "trace_id", "parent_id", "thread_id", "turn_id",
    "started_at", "ended_at", "attributes", "inputs", "output", "exception", "summary", "wb_user_id",
    "deleted_at", "func_name",
}  # fmt: skip


def recognises(record: Any) -> bool:
    """Say whether a record is a call of Weave, or a page of them."""
    if not isinstance(record, dict):
        return False
    if isinstance(record.get("calls"), list) and record["calls"]:
        return recognises(record["calls"][0])
    return {"id", "op_name", "started_at", "inputs"} <= record.keys()


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call."""
    del origin
    if not isinstance(record, dict) or not recognises(record):
        raise ValueError("no call of Weave: id, op_name, started_at or inputs is missing")
    for call in record["calls"] if isinstance(record.get("calls"), list) else [record]:
        yield _call(call)


def _call(call: dict[str, Any]) -> Imported:
    start, end = parse_nanoseconds(call.get("started_at")), parse_nanoseconds(call.get("ended_at"))
    if start is None:
        raise ValueError(f"started_at is no time: {call.get('started_at')!r}")
    name = str(call["op_name"]).rpartition("/op/")[2].partition(":")[0]
    attributes = dict(call["attributes"]) if isinstance(call.get("attributes"), dict) else {}
    own = attributes.pop("weave", None)
    inputs = call["inputs"] if isinstance(call["inputs"], dict) else {"inputs": call["inputs"]}
    inputs = {key: value for key, value in inputs.items() if key != "self"}
    kind = _read_kind(name, attributes, own, call.get("output"))
    exchange = read_exchange(inputs, call.get("output")) if kind in ("llm", "embedding") else {}
    fields = {
        "span_id": make_span_id(NAME, call["id"]),
        "trace_id": make_trace_id(NAME, call.get("trace_id") or call["id"]),
        "parent_id": make_span_id(NAME, call["parent_id"]) if call.get("parent_id") else None,
        "name": str(call.get("display_name") or name),
        "start_ns": start,
        "end_ns": max(start, end or start),
        "input": inputs or None,
        "output": call.get("output"),
        **exchange,
        "kind": kind,
        "usage": exchange.get("usage")
        or (_read_usage(call.get("summary")) if kind in ("llm", "embedding") else None),
        "session": str(call["thread_id"]) if call.get("thread_id") else None,
        "user": str(call["wb_user_id"]) if call.get("wb_user_id") else None,
        "metadata": attributes or None,
        **_read_outcome(call, end),
    }
    call_fields = {key: value for key, value in fields.items() if value is not None}
    return Imported(call_fields, list_left_over(call, _READ), tuple(_iter_scores(call.get("summary"))))


def _read_kind(name: str, attributes: Mapping[str, Any], own: Any, output: Any) -> str:
    kind = attributes.get("kind") or (own.get("kind") if isinstance(own, Mapping) else None)
    if kind in _KINDS:
        return _KINDS[str(kind)]
    if "embedding" in name.lower():
        return "embedding"
    answered = semconv.response_fields(output)
    return "llm" if answered.get("usage") or ("." in name and _MODEL_CALL.search(name)) else "chain"


def _read_usage(summary: Any) -> dict[str, int] | None:
    by_model = summary.get("usage") if isinstance(summary, Mapping) else None
    counts = list(by_model.values()) if isinstance(by_model, Mapping) else []
    return semconv.usage(counts[0]) if len(counts) == 1 else None


def _read_outcome(call: Mapping[str, Any], end: int | None) -> dict[str, Any]:
    if call.get("exception"):
        message = str(call["exception"])
        kind = message.strip().rpartition("\n")[2].partition(":")[0].partition("(")[0]
        return {
            "status": "error",
            "error": {"type": kind if kind.replace(".", "").isidentifier() else "error", "message": message},
        }
    return {"status": "cancelled" if end is None else "ok"}


def _iter_scores(summary: Any) -> Iterator[dict[str, Any]]:
    """Yield what scorers said of a call."""
    own = summary.get("weave") if isinstance(summary, Mapping) else None
    for entry in own.get("feedback") or () if isinstance(own, Mapping) else ():
        payload = entry.get("payload") if isinstance(entry, Mapping) else None
        output = payload.get("output") if isinstance(payload, Mapping) else None
        name = str(entry.get("feedback_type")).removeprefix("wandb.runnable.") if payload else ""
        values = output if isinstance(output, Mapping) else {"": output}
        for key, value in values.items():
            if isinstance(value, (bool, int, float, str)):
                yield {"name": f"{name}.{key}" if key else name, "value": value, "source": "model"}
