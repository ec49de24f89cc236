"""Plain records: OpenAI's fine-tuning chats, and any object that has a prompt and an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.values import list_left_over, make_span_id, make_trace_id, parse_nanoseconds

NAME = "plain"
_ASKED = ("prompt", "input", "question", "query", "instruction", "request", "inputs")
_ANSWERED = ("response", "completion", "output", "answer", "chosen", "outputs")
_TIMES = ("start_ns", "start_time", "timestamp", "time", "created_at", "created", "date")
_ENDS = ("end_ns", "end_time", "completed_at")
_IDS = ("span_id", "id", "uuid", "request_id")
_PARENTS = (
    "parent_id", "parentId", "parent_run_id", "parent_span_id", "parentSpanId", "parentUuid",
    "parent_observation_id", "parentObservationId", "span_parents",
    "root_span_id", "span_attributes", "feedback_scores", "span_count",
)  # fmt: skip
_ROOTS = ("span_parents", "root_span_id", "span_attributes", "feedback_scores", "span_count")
"""Keys that a root has too, of Braintrust and Opik: its scores, times and children would be lost here."""
_GIVEN = ("model", "provider", "session", "user", "tags", "metadata", "params", "cost_usd", "name")


def recognises(record: Any) -> bool:
    """Say whether a record is a chat, or has a prompt and an answer."""
    if not isinstance(record, dict):
        return False
    if _has_parent(record):
        return False
    chat = isinstance(record.get("messages"), list) and bool(record["messages"])
    return chat or (_find_key(record, _ASKED) is not None and _find_key(record, _ANSWERED) is not None)


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call of a record."""
    if not isinstance(record, dict) or not recognises(record):
        if isinstance(record, dict) and (parent := _has_parent(record)):
            raise ValueError(f"{parent} makes it a part of a tree, which this format does not read")
        raise ValueError(
            f"neither messages, nor one of {', '.join(_ASKED)} with one of {', '.join(_ANSWERED)}"
        )
    yield _read_foreign(record, origin)


def _has_parent(record: dict[str, Any]) -> str:
    """Return the key that makes a record part of another tool's tree, whose place would be lost here."""
    return next((name for name in _PARENTS if record.get(name) or (name in record and name in _ROOTS)), "")


def _read_foreign(record: dict[str, Any], origin: Origin) -> Imported:
    identity = _find_key(record, _IDS)
    own = origin.key if identity is None else record[identity]
    start = _read_moment(record, _TIMES) or origin.time_ns
    talk, read = _read_talk(record)
    fields: dict[str, Any] = {
        "span_id": make_span_id(NAME, own),
        "trace_id": make_trace_id(NAME, own),
        "name": str(record.get("name") or "imported"),
        "kind": "llm",
        "start_ns": start,
        "end_ns": max(start, _read_moment(record, _ENDS) or start),
        "status": "ok",
        "usage": semconv.usage(record.get("usage")),
        **talk,
    }
    named, refused = _read_fields(record)
    fields |= named
    read = {*read, "usage", *named, *_TIMES, *_ENDS, *([identity] if identity else []), "name"}
    return Imported(
        {n: v for n, v in fields.items() if v is not None}, list_left_over(record, read - refused)
    )


def _read_talk(record: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return input and output, and the keys that they came from; a chat's last message is the answer."""
    asked, answered = _find_key(record, _ASKED), _find_key(record, _ANSWERED)
    chat = record.get("messages")
    if not isinstance(chat, list) or not chat:
        assert asked is not None  # `recognises` has looked
        assert answered is not None
        asks = {asked: record[asked]}
        if "instruction" in record and asked != "instruction":  # what is asked of the input
            asks = {"instruction": record["instruction"], **asks}
        return {"input": asks, "output": record[answered]}, {*asks, answered}
    tools = {"tools": record["tools"]} if record.get("tools") else {}
    last = chat[-1] if isinstance(chat[-1], dict) and chat[-1].get("role") in ("assistant", "model") else None
    if answered is None and last is not None:
        return {"input": {"messages": chat[:-1], **tools}, "output": last}, {"messages", "tools"}
    output = {} if answered is None else {"output": record[answered]}
    return {"input": {"messages": chat, **tools}, **output}, {
        "messages",
        "tools",
        *([answered] if answered else []),
    }


def _read_fields(record: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return the fields that the record names as we do, and which of them have values of another type."""
    types: dict[str, type | tuple[type, ...]] = {
        "tags": list, "metadata": dict, "params": dict, "cost_usd": (int, float), "user": (str, int),
        "session": (str, int),
    }  # fmt: skip
    fields = {}
    for name in _GIVEN:
        value = record.get(name)
        if value is not None and isinstance(value, types.get(name, str)):
            fields[name] = str(value) if name in ("user", "session") else value
    return fields, {name for name in _GIVEN if name in record and name not in fields}


def _read_moment(record: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((at for key in keys if (at := parse_nanoseconds(record.get(key))) is not None), None)


def _find_key(record: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if record.get(key) is not None), None)
