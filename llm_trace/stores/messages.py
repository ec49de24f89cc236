"""Store each message of a slice once, and turn the numbers that the spool gives them into ids.

A 64-bit hash finds candidates and the text decides: two bodies that share a hash become two messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.staging import SliceContents

_CANDIDATES = """
CREATE OR REPLACE TEMP TABLE candidates AS
SELECT f.first, m.id FROM messages m JOIN (SELECT first, hash FROM firsts WHERE row = first) f USING (hash)"""

_KNOWN = """
CREATE OR REPLACE TEMP TABLE known AS
SELECT c.first, min(c.id) AS id FROM candidates c JOIN messages m USING (id) JOIN bodies b ON b.row = c.first
WHERE (m.role, m.text, m.body) IS NOT DISTINCT FROM (b.role, b.text, b.rest) GROUP BY c.first"""

_IDS = """
CREATE OR REPLACE TEMP TABLE ids AS
SELECT first, id, false AS fresh FROM known
UNION ALL
SELECT first, row_number() OVER (ORDER BY first) + (SELECT coalesce(max(id), 0) FROM messages), true
FROM (SELECT first FROM firsts WHERE row = first) ANTI JOIN known USING (first)"""

_INSERT = """
INSERT INTO messages (id, hash, role, text, body, first_ns)
SELECT i.id, b.hash, b.role, b.text, b.rest, b.ns
FROM bodies b JOIN ids i ON i.first = b.row WHERE i.fresh ORDER BY i.id"""

_NUMBERS = """
INSERT INTO numbers SELECT b.file, b.n, min(i.id)
FROM bodies b JOIN firsts f ON f.row = b.row JOIN ids i ON i.first = f.first GROUP BY b.file, b.n"""

# The ranges of message numbers of each event as a list of ids. A number whose message was lost stays in the
# list, as NULL. Lines that were set aside have no event: their ranges may be of any length.
_LISTS = """
CREATE OR REPLACE TEMP TABLE lists AS
WITH ranges AS (
    SELECT row, false AS out, messages_in AS r FROM stage WHERE messages_in IS NOT NULL AND event IS NOT NULL
    UNION ALL SELECT row, true, messages_out FROM stage WHERE messages_out IS NOT NULL AND event IS NOT NULL
), flat AS (
    SELECT row, out, flatten(list_transform(r, lambda x: range(x[1], x[2] + 1))) AS ns FROM ranges
), spread AS (SELECT row, out, unnest(ns) AS n, generate_subscripts(ns, 1) AS position FROM flat)
SELECT s.row, s.out, list(m.id ORDER BY s.position) AS ids
FROM spread s JOIN pieces p ON s.row >= p.first AND s.row < p.stop
LEFT JOIN numbers m ON m.file = p.file AND m.n = s.n GROUP BY s.row, s.out"""


def fold_messages(connection: DuckDBPyConnection, contents: SliceContents) -> None:
    """Insert the new messages of the slice, and make `lists`: the ids of each event's messages."""
    bodies = (_CANDIDATES, _KNOWN, _IDS, _INSERT, _NUMBERS) if contents.messages else ()
    lists = (_LISTS,) if contents.message_lists else ()
    for step in (*bodies, *lists):
        connection.execute(step)
