"""A trace as a tree over time, and one of its calls with all that is known of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llm_trace.errors import NotFoundError
from llm_trace.rendering.waterfall import arrange_lines, measure_duration
from llm_trace.stores.lookup import choose_call, count_trace, find_run_name, read_trace_rows
from llm_trace.viewer.attributions import describe_call_attributions, describe_call_certainty

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.record import Message
    from llm_trace.rendering.waterfall import WaterfallLine
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.lookup import TreeRow

MOST = 10_000
"""Calls of a trace that are read."""
LINES = 500
"""Lines of the tree a page; the rest follows as one scrolls."""


def read_trace(store: Store, request: Request) -> dict[str, Any]:
    """Return the first lines of a trace's tree, and the call that is asked for or that matters most."""
    trace_id = request.path_params["trace_id"]
    lines = _list_lines(store, trace_id)
    span_id = request.query_params.get("call") or choose_call(store, trace_id, [line.row for line in lines])
    shown = [asdict(line) for line in lines[:LINES]]
    return {
        "trace_id": trace_id,
        "calls": len(lines) if len(lines) < MOST else count_trace(store, trace_id),
        "lines": shown,
        "next": LINES if len(lines) > LINES else None,
        "duration_ns": measure_duration([line.row for line in lines]),
        "selected": span_id,
        **read_call_details(store, span_id, request.query_params.get("by", "")),
    }


def read_trace_lines(store: Store, request: Request) -> dict[str, Any]:
    """Return further lines of a trace's tree, from the number `from` on."""
    trace_id, text = request.path_params["trace_id"], request.query_params.get("from", "0")
    begin = int(text) if text.isdigit() else 0
    lines = _list_lines(store, trace_id)
    return {
        "trace_id": trace_id,
        "lines": [asdict(line) for line in lines[begin : begin + LINES]],
        "next": begin + LINES if len(lines) > begin + LINES else None,
        "selected": request.query_params.get("call", ""),
    }


def read_call(store: Store, request: Request) -> dict[str, Any]:
    """Return one call with all that is known of it."""
    return read_call_details(store, request.path_params["span_id"], request.query_params.get("by", ""))


def read_call_details(store: Store, span_id: str, by: str = "") -> dict[str, Any]:
    """Return a call, its conversation, attributions (by the parts that are named) and scores."""
    call = store.call(span_id)
    return {
        "call": call,
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


def _list_lines(store: Store, trace_id: str) -> list[WaterfallLine[TreeRow]]:
    """Return the calls of a trace, each below the one around it, in the order of their starts."""
    rows = read_trace_rows(store, trace_id, MOST)
    if not rows:
        raise NotFoundError(f"no trace {trace_id!r} in {str(store.path)!r}")
    return arrange_lines(rows)
