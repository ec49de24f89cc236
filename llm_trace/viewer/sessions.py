"""A session: its traces one after the other, each with what was asked and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.errors import NotFoundError
from llm_trace.rendering.formatting import choose_input, choose_output
from llm_trace.rendering.media import name_media
from llm_trace.stores.sessions import list_session_traces
from llm_trace.viewer.page import read_offset

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.sessions import SessionTrace

TRACES = 50
"""Traces a page; the rest follows as one scrolls."""


def read_session_page(store: Store, request: Request) -> dict[str, Any]:
    """Return the traces of a session, from the number `from` on, and what all of them came to."""
    session, begin = request.path_params["session"], read_offset(request)
    traces = list_session_traces(store, session, TRACES + 1, begin)
    if not traces and not begin:
        raise NotFoundError(
            f"no session {session!r} in {str(store.path)!r}: with llm_trace.using_session({session!r}): "
            "puts calls into one"
        )
    shown = traces[:TRACES]
    calls = store.pick([trace.first for trace in shown], [trace.start_ns for trace in shown])
    firsts = {call.span_id: call for call in calls}
    return {
        "session": session,
        "summary": store.summary(session=session)._asdict(),
        "users": sorted({call.user for call in firsts.values() if call.user}),
        "begin": begin,
        "traces": [_describe_trace(trace, firsts[trace.first]) for trace in shown],
        "next": begin + TRACES if len(traces) > TRACES else None,
    }


def _describe_trace(trace: SessionTrace, first: Call) -> dict[str, Any]:
    """Return what a trace came to, the first input and the last output."""
    values = choose_input(first)
    texts = [value for value in values if isinstance(value, str)]
    return {
        **trace._asdict(),
        "failed_inside": trace.failed - (first.status not in ("ok", "open")),
        "name": first.name,
        "status": first.status,
        "duration_ns": None if trace.end_ns is None else trace.end_ns - trace.start_ns,
        "input": [name_media(value) for value in texts or values],
        "output": name_media(choose_output(first)),
    }
