"""Which calls of a trace try again what had failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.lookup import TreeRow

_TRIED = """
WITH failed AS (SELECT DISTINCT parent_id, name FROM calls
                WHERE trace_id = $1 AND start_ns BETWEEN $2 AND $3 AND status = 'error')
SELECT c.span_id, c.status, c.start_ns, c.end_ns,
       (c.parent_id, c.name, md5(concat(CAST(c.input AS TEXT), CAST(c.messages_in AS TEXT))))::TEXT
FROM calls c JOIN failed f ON c.name = f.name AND c.parent_id IS NOT DISTINCT FROM f.parent_id
WHERE c.trace_id = $1 AND c.start_ns BETWEEN $2 AND $3 ORDER BY c.start_ns, c.span_id"""


def find_retries(store: Store, trace_id: str, rows: Sequence[TreeRow]) -> dict[str, int]:
    """Return the calls of a trace that began after the same call had failed, with the same input inside the
    same one: which try each is, 2 for the first one again.

    Args:
        rows: the calls of the trace that are looked at, in the order of their starts.
    """
    if all(row.status != "error" for row in rows):
        return {}
    tried = store.fetch(_TRIED, trace_id, rows[0].start_ns, rows[-1].start_ns)
    attempts: dict[str, int] = {}
    last: dict[str, tuple[Any, ...]] = {}
    for span_id, status, start_ns, end_ns, same in tried:
        before = last.get(same)
        if before is not None and before[1] == "error" and (before[2] or 0) <= start_ns:
            attempts[span_id] = attempts.get(before[0], 1) + 1
        last[same] = (span_id, status, end_ns)
    return attempts
