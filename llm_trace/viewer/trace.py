"""A trace as a tree over time, and one of its calls with all that is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.errors import NotFoundError
from llm_trace.rendering.guards import describe_guard
from llm_trace.rendering.steps import choose_steps, is_agent_trace
from llm_trace.rendering.waterfall import arrange_lines, measure_duration
from llm_trace.stores.lookup import choose_call, count_trace, find_run_name, read_trace_rows
from llm_trace.stores.retries import find_retries
from llm_trace.viewer.attributions import describe_call_attributions, describe_call_certainty
from llm_trace.viewer.page import read_offset
from llm_trace.viewer.steps import describe_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from llm_trace.record import Call, Message
    from llm_trace.rendering.waterfall import WaterfallLine
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.lookup import TreeRow

MOST = 10_000
"""Calls of a trace that are read."""
LINES = 250
"""Lines of the tree a page; the rest follows as one scrolls."""


def read_trace(store: Store, request: Request) -> dict[str, Any]:
    """Return the first lines of a trace's tree, and beside it the call that is asked for, or the steps of an
    agent, or the call that matters most.
    """
    trace_id, query = request.path_params["trace_id"], request.query_params
    rows = _read_rows(store, trace_id)
    attempts = find_retries(store, trace_id, rows)
    lines = arrange_lines(rows)
    page = {
        "trace_id": trace_id,
        "calls": len(lines) if len(lines) < MOST else count_trace(store, trace_id),
        "lines": [_describe_line(line, attempts) for line in lines[:LINES]],
        "next": LINES if len(lines) > LINES else None,
        "duration_ns": None if lines[0].row.end_ns is None else measure_duration(rows),
        "step_count": len(choose_steps(rows)),
        "session": next((row.session for row in rows if row.session), None),
    }
    if "call" not in query and (query.get("view") == "steps" or is_agent_trace(rows)):
        return {**page, "selected": "", **describe_steps(store, rows, attempts, 0)}
    span_id = query.get("call") or choose_call(store, rows)
    return {
        **page,
        "selected": span_id,
        "steps": None,
        **describe_call(store, _get_call(store, span_id, rows), query.get("by", "")),
    }


def _get_call(store: Store, span_id: str, rows: Sequence[TreeRow]) -> Call:
    """Return a call, by its start where it is one of the rows."""
    starts = [row.start_ns for row in rows if row.span_id == span_id]
    return store.pick([span_id], starts)[0] if starts else store.call(span_id)


def read_steps(store: Store, request: Request) -> dict[str, Any]:
    """Return the steps of a trace, from the number `from` on."""
    trace_id = request.path_params["trace_id"]
    rows = _read_rows(store, trace_id)
    attempts = find_retries(store, trace_id, rows)
    begin = read_offset(request)
    return {"trace_id": trace_id, **describe_steps(store, rows, attempts, begin)}


def read_trace_lines(store: Store, request: Request) -> dict[str, Any]:
    """Return further lines of a trace's tree, from the number `from` on."""
    trace_id, begin = request.path_params["trace_id"], read_offset(request)
    rows = _read_rows(store, trace_id)
    attempts = find_retries(store, trace_id, rows)
    lines = arrange_lines(rows)
    return {
        "trace_id": trace_id,
        "lines": [_describe_line(line, attempts) for line in lines[begin : begin + LINES]],
        "next": begin + LINES if len(lines) > begin + LINES else None,
        "selected": request.query_params.get("call", ""),
    }


def read_call(store: Store, request: Request) -> dict[str, Any]:
    """Return one call with all that is known of it."""
    return read_call_details(store, request.path_params["span_id"], request.query_params.get("by", ""))


def read_call_details(store: Store, span_id: str, by: str = "") -> dict[str, Any]:
    """Return `describe_call` of the call of an id."""
    return describe_call(store, store.call(span_id), by)


def describe_call(store: Store, call: Call, by: str = "") -> dict[str, Any]:
    """Return a call, its conversation, attributions (by the parts that are named) and scores."""
    span_id = call.span_id
    return {
        "call": call,
        "guard": describe_guard(call),
        "explainable": call.status == "ok"
        and (call.kind == "llm" or bool(call.messages_in or call.messages_out)),
        "scorable": True,
        "rating": "rating",
        "back": f"/trace/{call.trace_id}?call={span_id}",
        "run_name": find_run_name(store, call.run),
        "messages": [_describe_message(message) for message in (*call.messages_in, *call.messages_out)],
        "answers": len(call.messages_out),
        "first_token_ns": None if call.first_token_ns is None else call.first_token_ns - call.start_ns,
        "scores": store.scores(span_id),
        **describe_call_attributions(store, call, by),
        "certainty": describe_call_certainty(call),
        "documents": call.documents,
    }


def _describe_message(message: Message) -> dict[str, Any]:
    """Return the role and the parts of a message, texts apart from tool calls and the rest."""
    parts = [part.model_dump(mode="json") for part in message.parts]
    return {"role": message.role, "name": message.name, "parts": parts, "finish": message.finish_reason}


def _read_rows(store: Store, trace_id: str) -> Sequence[TreeRow]:
    rows = read_trace_rows(store, trace_id, MOST)
    if not rows:
        raise NotFoundError(f"no trace {trace_id!r} in {str(store.path)!r}")
    return rows


def _describe_line(line: WaterfallLine[TreeRow], attempts: Mapping[str, int]) -> dict[str, Any]:
    return {**vars(line), "row": vars(line.row), "attempt": attempts.get(line.row.span_id, 1)}
