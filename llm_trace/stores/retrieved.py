"""What was retrieved before a call of a model, in its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.semconv.documents import RETRIEVING
from llm_trace.stores import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from llm_trace.record import Call, Document

_FIND = f"""
    SELECT span_id, start_ns FROM calls
    WHERE kind IN {RETRIEVING} AND end_ns IS NOT NULL AND start_ns <= ? AND trace_id IN (SELECT unnest(?))"""
_READ = """
    SELECT trace_id, span_id, kind, end_ns, output, metadata FROM calls
    WHERE span_id IN (SELECT unnest(?)) AND start_ns IN (SELECT unnest(?)) ORDER BY end_ns, span_id"""
_NAMES = ("trace_id", "span_id", "kind", "end_ns", "output", "metadata")


def add_documents(connection: DuckDBPyConnection, calls: Sequence[Call]) -> list[Call]:
    """Return the calls, those that a model answered with the documents that were given before they began."""
    traces = {call.trace_id for call in calls if _asks_model(call)} - {rows.NO_TRACE}
    if not traces:
        return list(calls)
    last = max(call.start_ns for call in calls)
    matches = connection.execute(_FIND, [last, sorted(traces)]).fetchall()  # a thin scan, then outputs alone
    if not matches:
        return list(calls)
    retrieved: dict[str, list[tuple[int, tuple[Document, ...]]]] = {}
    for values in connection.execute(_READ, [list(ids) for ids in zip(*matches, strict=True)]).fetchall():
        row: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
        if documents := rows.parse_documents(row):
            retrieved.setdefault(row["trace_id"], []).append((row["end_ns"], documents))
    return [add_documents_before(call, retrieved.get(call.trace_id, [])) for call in calls]


def _asks_model(call: Call) -> bool:
    return call.kind not in RETRIEVING and (call.kind == "llm" or bool(call.messages_in) or bool(call.prompt))


def add_documents_before(call: Call, retrieved: Sequence[tuple[int, tuple[Document, ...]]]) -> Call:
    """Return a call with the documents that were given before it began, if it asked a model.

    Args:
        retrieved: when each retrieval ended, and what it gave, in that order.
    """
    earlier = [document for end, documents in retrieved if end <= call.start_ns for document in documents]
    return call.model_copy(update={"documents": tuple(earlier)}) if earlier and _asks_model(call) else call
