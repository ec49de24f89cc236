"""Which calls of a trace try again what had failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

_TRIED = """
WITH failed AS (SELECT DISTINCT parent_id, name FROM calls WHERE trace_id = $1 AND status = 'error')
SELECT c.span_id, c.status, c.start_ns, c.end_ns,
       (c.parent_id, c.name, md5(concat(CAST(c.input AS TEXT), CAST(c.messages_in AS TEXT))))::TEXT
FROM calls c JOIN failed f ON c.name = f.name AND c.parent_id IS NOT DISTINCT FROM f.parent_id
WHERE c.trace_id = $1 ORDER BY c.start_ns, c.span_id"""


def find_retries(store: Store, trace_id: str) -> dict[str, int]:
    """Return the calls that began after the same call, with the same input inside the same one, had failed:
    which try each is, 2 for the first one again.
    """
    attempts: dict[str, int] = {}
    last: dict[str, tuple[Any, ...]] = {}
    for span_id, status, start_ns, end_ns, same in store.fetch(_TRIED, trace_id):
        before = last.get(same)
        if before is not None and before[1] == "error" and (before[2] or 0) <= start_ns:
            attempts[span_id] = attempts.get(before[0], 1) + 1
        last[same] = (span_id, status, end_ns)
    return attempts
