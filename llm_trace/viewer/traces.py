"""Two traces side by side, and where they part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.comparison.alignment import align_steps, describe_divergence, find_parting
from llm_trace.errors import NotFoundError
from llm_trace.rendering.steps import choose_steps
from llm_trace.stores.lookup import count_trace, find_beginning, read_trace_rows
from llm_trace.stores.retries import find_retries
from llm_trace.viewer.steps import read_steps_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.rendering.steps import AgentStep
    from llm_trace.stores.duckdb import Store

STEPS = 500
"""Steps of each trace that are compared."""
MOST = 10_000


def read_traces(store: Store, request: Request) -> dict[str, Any]:
    """Return the steps of two traces in pairs, and in words where they part; nothing of that where not both
    are named.
    """
    query = request.query_params
    names = {side: query.get(side, "").strip() for side in ("left", "right")}
    sides = {side: _read_side(store, name) if name else None for side, name in names.items()}
    left, right = sides["left"], sides["right"]
    page = {**names, "sides": sides, "pairs": None, "words": None, "parting": None}
    if left is None or right is None:
        return page
    ours, theirs = left["steps"], right["steps"]
    pairs = align_steps(ours, theirs)
    parting = find_parting(ours, theirs)
    return {
        **page,
        "pairs": pairs,
        "words": describe_divergence(ours, theirs),
        "parting": parting if parting < len(pairs) else None,
    }


def _read_side(store: Store, name: str) -> dict[str, Any]:
    """Return a trace and its steps."""
    trace_id = find_trace(store, name)
    rows = read_trace_rows(store, trace_id, MOST)
    chosen = choose_steps(rows)
    steps: list[AgentStep] = read_steps_of(store, chosen[:STEPS], find_retries(store, trace_id, rows))
    return {
        "trace_id": trace_id,
        "name": rows[0].name,
        "start_ns": rows[0].start_ns,
        "status": rows[0].status,
        "steps": steps,
        "left_out": len(chosen) - len(steps),
    }


def find_trace(store: Store, name: str) -> str:
    """Return the trace of an id, of the beginning of one, or of a call's.

    Raises:
        NotFoundError: there is none, or several begin so.
    """
    if count_trace(store, name):
        return name
    traces = sorted({trace_id for _, trace_id in find_beginning(store, name) if trace_id})
    if len(traces) != 1:
        why = f"several traces begin with {name!r}: {', '.join(traces)}" if traces else f"no trace {name!r}"
        raise NotFoundError(f"{why} in {str(store.path)!r}: copy the id from the page of a trace")
    return traces[0]
