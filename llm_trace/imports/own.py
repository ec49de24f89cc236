"""Our own exports: calls in JSON Lines or Parquet, with runs, prompts, scores and attributions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_trace.imports import Imported, Origin, Said
from llm_trace.imports.values import list_left_over
from llm_trace.record import Call

NAME = "llm_trace"
_EVENTS = {
    "run": ("id",),
    "prompt": ("name", "version"),
    "score": ("id", "span_id", "name", "value"),
    "attribution": ("span_id", "method"),
    "operation": ("id", "kind", "subject", "body"),
}
_FIELDS = frozenset(name for name, field in Call.model_fields.items() if not field.exclude)
_TALK = (("input", "messages_in"), ("output", "messages_out"))


def recognises(record: Any) -> bool:
    """Say whether a record is a call of ours or something said about calls."""
    return isinstance(record, dict) and (_is_event(record) or _is_call(record))


def calls(record: Any, origin: Origin) -> Iterator[Imported | Said]:
    """Yield the call, run, prompt, score or attribution of a record."""
    del origin
    if not isinstance(record, dict) or not recognises(record):
        raise ValueError("neither a call nor a run, prompt, score or attribution of ours")
    if _is_event(record):
        yield Said(record)
    elif isinstance(stored := record.get("stored"), dict):
        yield _restore_row(record, stored)
    else:
        yield _call(record)


def _is_event(record: dict[str, Any]) -> bool:
    needed = _EVENTS.get(str(record.get("event")))
    return needed is not None and all(record.get(name) is not None for name in needed)


def _is_call(record: dict[str, Any]) -> bool:
    return {"span_id", "trace_id", "start_ns", "name", "status"} <= record.keys()


def _call(record: dict[str, Any]) -> Imported:
    """Return a call that says nothing of its row, without what was derived of its input and output."""
    known = {name: record[name] for name in _FIELDS if record.get(name) is not None}
    if known.get("status") not in ("ok", "error", "cancelled"):
        known["status"] = "cancelled"
        known.setdefault("end_ns", known["start_ns"])
    return Imported(known, list_left_over(record, _FIELDS))


def _restore_row(record: dict[str, Any], stored: dict[str, Any]) -> Imported:
    """Return a call as its row had it: columns that were NULL, messages apart from input and output."""
    Call.model_validate({name: item for name, item in record.items() if name != "stored"})
    call: dict[str, Any] = {name: record.get(name) for name in _FIELDS}
    call |= {name: stored.get(name) for name in ("rebuild", "same")}
    for name in stored.get("absent") or ():
        outer, _, inner = name.partition("_")
        if name in call:
            call[name] = None
        elif isinstance(whole := call.get(outer), dict):
            call[outer] = {**whole, inner: None}
    for name, list_name in _TALK:
        call[list_name] = None
        if isinstance(bodies := stored.get(list_name), list):
            call[list_name] = _restore_bodies(stored.get(name), record.get(name), bodies)
            call[name] = stored.get(name, record.get(name))
    closed = call["trace_id"] is not None and call["status"] in ("ok", "error", "cancelled")
    if not closed and call["messages_in"] and call["messages_out"]:  # one event has room for one list
        call |= {"messages_in": None, "input": record.get("input")}
    return Imported({name: item for name, item in call.items() if item is not None}, again=True)


def _restore_bodies(cut: Any, whole: Any, bodies: list[Any]) -> list[Any]:
    """Return the messages of a list, those that stand at places of the value taken from there."""
    filled = list(bodies)
    try:
        _fill(cut, whole, filled)
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        raise ValueError(f"its messages do not fit its input or output: {exc!r}") from exc
    if not all(isinstance(body, dict) for body in filled):
        raise ValueError("one of its messages is missing")
    return filled


def _fill(cut: Any, whole: Any, bodies: list[Any]) -> None:
    if isinstance(cut, dict):
        match cut:
            case {"$messages": [int(begin), int(end)]} if len(cut) == 1 and isinstance(whole, list):
                bodies[begin:end] = whole
                return
        for name, item in cut.items():
            _fill(item, whole[name], bodies)
    elif isinstance(cut, list):
        for item, other in zip(cut, whole, strict=True):
            _fill(item, other, bodies)
