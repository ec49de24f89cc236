"""A session: its traces, what each came to, and the calls that say what was asked and answered."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from llm_trace.record import ATTRIBUTION_TAG
from llm_trace.stores.totals import sum_outermost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.stores.duckdb import Store

_TRACES = """
SELECT trace_id, arg_min(span_id, (start_ns, span_id)), min(start_ns), max(end_ns), count(*),
       count(*) FILTER (status NOT IN ('ok', 'open'))
FROM calls WHERE session = ? AND trace_id IS NOT NULL AND coalesce(NOT list_contains(tags, ?), true)
GROUP BY trace_id ORDER BY 3, 1 LIMIT ? OFFSET ?"""
_COSTS = """
SELECT trace_id, span_id, parent_id, cost_usd FROM calls
WHERE session = ? AND trace_id IN (SELECT unnest(?)) ORDER BY trace_id"""


class SessionTrace(NamedTuple):
    """A trace of a session."""

    trace_id: str
    first: str
    """The call that began it."""
    start_ns: int
    end_ns: int | None
    calls: int
    failed: int
    cost_usd: float | None
    """No cost counted twice; `None` where none is known."""


def list_session_traces(store: Store, session: str, limit: int, offset: int = 0) -> list[SessionTrace]:
    """Return the traces of a session in the order of their starts."""
    rows = store.fetch(_TRACES, session, ATTRIBUTION_TAG, limit, offset)
    costs = _sum_costs(store, session, [row[0] for row in rows])
    return [SessionTrace._make((*row, costs.get(row[0]))) for row in rows]


def _sum_costs(store: Store, session: str, traces: Sequence[str]) -> dict[str, float | None]:
    costs = {}
    for trace_id, rows in groupby(store.fetch(_COSTS, session, list(traces)), key=lambda row: row[0]):
        _, spans, parents, numbers = zip(*rows, strict=True)
        costs[trace_id] = sum_outermost(
            dict(zip(spans, parents, strict=True)), dict(zip(spans, numbers, strict=True))
        )
    return costs
