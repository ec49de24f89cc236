"""Put a call in place of other accounts of it: the spans that its end event names in `same`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.staging import SliceContents

_NAMED = """
CREATE OR REPLACE TEMP TABLE named AS
SELECT unnest(same) AS span_id, span_id AS kept FROM stage WHERE event = 'end' AND same IS NOT NULL"""

# One that stands for another may itself be stood for by a third, in this slice or an earlier one.
_KEEP_LAST = (
    "DELETE FROM named WHERE kept IN (SELECT span_id FROM named)",
    "UPDATE _same SET kept = n.kept FROM named n WHERE n.span_id = _same.kept",
    (
        "INSERT INTO _same SELECT DISTINCT span_id, kept FROM named "
        "WHERE span_id NOT IN (SELECT span_id FROM _same)"
    ),
)

# A call that was recorded without its messages takes those of the first that has some.
_FILL = """
UPDATE calls SET messages_in = coalesce(calls.messages_in, f.messages_in),
                 messages_out = coalesce(calls.messages_out, f.messages_out)
FROM (SELECT n.kept,
             first(c.messages_in ORDER BY c.start_ns) FILTER (c.messages_in IS NOT NULL) AS messages_in,
             first(c.messages_out ORDER BY c.start_ns) FILTER (c.messages_out IS NOT NULL) AS messages_out
      FROM named n JOIN calls c ON c.span_id = n.span_id GROUP BY n.kept) f
WHERE calls.span_id = f.kept AND (calls.messages_in IS NULL OR calls.messages_out IS NULL)"""

_REPLACE = (
    "DELETE FROM calls WHERE span_id IN (SELECT span_id FROM named)",
    (
        "UPDATE calls SET parent_id = n.kept FROM named n "
        "WHERE calls.parent_id = n.span_id AND calls.span_id <> n.kept"
    ),
)

_MOVE = (
    "UPDATE scores SET span_id = s.kept FROM _same s WHERE s.span_id = scores.span_id",
    "UPDATE operations SET span_id = s.kept FROM _same s WHERE s.span_id = operations.span_id",
    "UPDATE attributions SET span_id = s.kept FROM _same s WHERE s.span_id = attributions.span_id",
)
_REMARKS = frozenset(["score", "attribution", "operation"])


def fold_same(connection: DuckDBPyConnection, contents: SliceContents) -> None:
    """Merge the accounts of one call that the slice in `stage` names; calls and scores are stored already."""
    if contents.same:
        for step in (_NAMED, *_KEEP_LAST, _FILL, *_REPLACE, *_MOVE):
            connection.execute(step)
    elif not _REMARKS.isdisjoint(contents.events) and _has_any(connection):
        for step in _MOVE:
            connection.execute(step)


def _has_any(connection: DuckDBPyConnection) -> bool:
    return connection.execute("SELECT 1 FROM _same LIMIT 1").fetchone() is not None
