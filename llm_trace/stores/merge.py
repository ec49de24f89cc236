"""Fold a staged slice into the tables, in SQL: number the messages, join start and end, insert.

Works inside the caller's transaction. The usual case, a start with its end in the same slice, takes one join;
what is rare (repeated lines, an end in a later slice or file, an end without a start) is looked for on narrow
columns and only then handled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.stores import costs
from llm_trace.stores.columns import CALLS, FIRST_WINS, LATER_WINS, LISTS
from llm_trace.stores.merge_events import fold_others
from llm_trace.stores.messages import fold_messages
from llm_trace.stores.same import fold_same
from llm_trace.stores.staging import TABLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.staging import Staged

_COLUMNS = ", ".join(CALLS)
_OLD_COLUMNS = ", ".join(costs.KEPT.get(name, name) for name in CALLS)
_GONE = {
    "_purged": "span_id IS NULL OR span_id NOT IN (SELECT span_id FROM store._purged)",
    "_same": (
        "event IS DISTINCT FROM 'start' AND event IS DISTINCT FROM 'end' OR span_id NOT IN (SELECT span_id "
        "FROM store._same)"
    ),
}
"""Tables of calls that are no more, and what may still be said about them."""

# Starts that the store has seen, looked for where starts of that time are; ends without a start here.
_SEEN = """
    WITH starts AS (SELECT span_id, start_ns FROM stage WHERE event = 'start')
    SELECT span_id FROM calls SEMI JOIN starts USING (span_id)
    WHERE start_ns BETWEEN (SELECT min(start_ns) FROM starts) AND (SELECT max(start_ns) FROM starts)
    UNION SELECT span_id FROM _unfinished SEMI JOIN starts USING (span_id)"""
_LATE = """
    SELECT span_id FROM stage
    WHERE event = 'end' AND span_id NOT IN (SELECT span_id FROM stage WHERE event = 'start')"""
_FIND_LATE = (
    f"CREATE OR REPLACE TEMP TABLE seen AS {_SEEN}",
    f"CREATE OR REPLACE TEMP TABLE late AS {_LATE}",
    "CREATE OR REPLACE TEMP TABLE skip (row BIGINT)",
    f"CREATE OR REPLACE TEMP TABLE old AS SELECT {_COLUMNS}, false AS orphan FROM calls LIMIT 0",
)

# A start of a call that is there says nothing new, save for an orphan, which lacks it; an end of a call that
# has one neither.
_SKIP_KNOWN = (
    """INSERT INTO skip SELECT row FROM stage WHERE event = 'start' AND span_id IN (SELECT span_id FROM seen)
    AND span_id NOT IN (SELECT span_id FROM _unfinished WHERE state = 'orphan')""",
    """INSERT INTO skip SELECT row FROM stage WHERE event = 'end' AND (
        span_id IN (SELECT span_id FROM _unfinished WHERE state = 'orphan')
        OR span_id IN (SELECT span_id FROM calls
                       SEMI JOIN (SELECT span_id FROM late UNION SELECT span_id FROM seen) USING (span_id)
                       WHERE span_id NOT IN (SELECT span_id FROM _unfinished)))""",
)

# The rows that this slice completes are taken out, to go back in merged.
_TAKE_OUT = (
    f"""INSERT INTO old
    SELECT {_OLD_COLUMNS}, span_id IN (SELECT span_id FROM _unfinished WHERE state = 'orphan') FROM calls
    WHERE span_id IN (SELECT u.span_id FROM _unfinished u JOIN stage s ON s.span_id = u.span_id
                      AND s.event = CASE u.state WHEN 'orphan' THEN 'start' ELSE 'end' END)
    AND start_ns IN (SELECT start_ns FROM _unfinished)""",
    "DELETE FROM calls WHERE span_id IN (SELECT span_id FROM old) AND start_ns IN (SELECT start_ns FROM old)",
    "DELETE FROM _unfinished WHERE span_id IN (SELECT span_id FROM old)",
)

_NOTE_ORPHANS = """
INSERT INTO _unfinished SELECT span_id, end_ns, NULL, 'orphan' FROM stage
WHERE event = 'end' AND row NOT IN (SELECT row FROM skip) AND span_id NOT IN (SELECT span_id FROM old)
AND span_id NOT IN (SELECT span_id FROM stage WHERE event = 'start' AND row NOT IN (SELECT row FROM skip))"""

_UNKNOWN = "AND row NOT IN (SELECT row FROM skip) AND span_id NOT IN (SELECT span_id FROM old)"
_NOTE_OPEN = """
INSERT INTO _unfinished SELECT s.span_id, s.start_ns, p.writer, 'open'
FROM (
    SELECT row, span_id, start_ns FROM stage WHERE event = 'start'
    AND span_id NOT IN (SELECT span_id FROM stage WHERE event = 'end') {}
) s JOIN pieces p ON s.row >= p.first AND s.row < p.stop"""

_IDS = {"messages_in": "li.ids", "messages_out": "lo.ids"}
_NO_IDS = "NULL::BIGINT[]"
_JOIN_IDS = """LEFT JOIN (SELECT * FROM lists WHERE NOT out) li ON li.row = s.row
    LEFT JOIN (SELECT * FROM lists WHERE out) lo ON lo.row = s.row"""


class Fold:
    """Folds staged slices, one after the other.

    Args:
        connection: has the store in use whenever `fold` is called.
    """

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self._execute("CREATE TEMP TABLE numbers (file TEXT, n BIGINT, id BIGINT)")

    def resume(self, file: str) -> None:
        """Take up the message numbers of a file that was read in part before."""
        self._execute("INSERT INTO numbers SELECT * FROM _numbers WHERE file = ?", file)

    def fold(self, staged: Staged) -> None:
        """Add what a staged slice says to the tables."""
        contents = staged.contents
        self._show(staged.schema)
        fold_messages(self._connection, contents)
        lists = contents.message_lists > 0
        if self._value(f"SELECT EXISTS ({_SEEN}) OR EXISTS ({_LATE})"):
            self._merge_late(lists)
        else:
            if staged.bad or not contents.is_even:
                self._execute(_NOTE_OPEN.format(""))
            starts, ends = (_shape_events(event, lists) for event in ("start", "end"))
            self._insert(starts, "LEFT", ends, costs.NEEDED_BY_NEW if contents.models else None)
        fold_others(self._connection, contents)
        fold_same(self._connection, contents)

    def _show(self, schema: str) -> None:
        """Make the slice's tables visible, without events of calls that were purged or have a substitute."""
        left = [f"({_GONE[table]})" for table in _GONE if self._value(f"SELECT count(*) FROM {table}")]
        for table in TABLES:
            row = "rowid AS row, " if table in ("stage", "bodies") else ""
            where = f"WHERE {' AND '.join(left)}" if left and table == "stage" else ""
            self._execute(
                f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT {row}* FROM {schema}.{table} {where}"
            )

    def keep_numbers(self, done: list[str]) -> None:
        """Store the message numbers of files that are not read to their end; forget those of the others."""
        for file in done:
            self._execute("DELETE FROM numbers WHERE file = ?", file)
            self._execute("DELETE FROM _numbers WHERE file = ?", file)
        self._execute(
            """INSERT INTO _numbers SELECT m.file, n, id FROM numbers m
            LEFT JOIN (SELECT file, max(n) AS last FROM _numbers GROUP BY file) o ON o.file = m.file
            WHERE n > coalesce(last, -1)"""
        )

    def _merge_late(self, lists: bool) -> None:
        """Insert the calls of a slice together with the earlier rows that it completes."""
        for step in (*_FIND_LATE, *_SKIP_KNOWN, *_TAKE_OUT, _NOTE_ORPHANS, _NOTE_OPEN.format(_UNKNOWN)):
            self._execute(step)
        new = "row NOT IN (SELECT row FROM skip)"
        starts, ends = (
            f"SELECT {_COLUMNS} FROM ({_shape_events(event, lists, new)}) "
            f"UNION ALL SELECT {_COLUMNS} FROM old WHERE {side}"
            for event, side in (("start", "NOT orphan"), ("end", "orphan"))
        )
        self._insert(starts, "FULL", ends, costs.NEEDED_BY_ALL)

    def _insert(self, starts: str, side: str, ends: str, prices: str | None) -> None:
        """Insert calls put together of their starts and ends.

        Args:
            prices: a query for the prices that they need; `None` where none has a model.
        """
        columns = {
            "span_id": "coalesce(s.span_id, e.span_id)",
            "status": "coalesce(e.status, 'open')",
            "end_ns": "e.end_ns",
            **{name: f"s.{name}" for name in FIRST_WINS},
            "trace_id": "coalesce(s.trace_id, e.trace_id)",
            "kind": "coalesce(s.kind, 'chain')",
            "start_ns": "coalesce(s.start_ns, e.end_ns)",
            **{name: f"coalesce(e.{name}, s.{name})" for name in (*LATER_WINS, *LISTS)},
        }
        merged = ", ".join(f"{columns[name]} AS {name}" for name in CALLS)
        calls = f"SELECT {merged} FROM ({starts}) s {side} JOIN ({ends}) e ON s.span_id = e.span_id"
        picks = costs.REPORTED
        if prices is not None:
            picks, join = costs.PICKS, costs.JOIN.format(costs.load_rates(self._connection, prices))
            calls = f"SELECT c.*, r.basis, {costs.TOTAL} AS total FROM ({calls}) c {join}"
        priced = ", ".join(picks.get(name, name) for name in CALLS)
        self._execute(f"INSERT INTO calls ({_COLUMNS}) SELECT {priced} FROM ({calls}) ORDER BY start_ns")

    def _execute(self, query: str, *values: object) -> None:
        self._connection.execute(query, list(values))

    def _value(self, query: str) -> object:
        row = self._connection.execute(query).fetchone()
        return row[0] if row else None


def _shape_events(event: str, lists: bool, condition: str = "true") -> str:
    """Return a query that gives the events of one kind the columns of `calls`.

    Args:
        lists: whether events of the slice refer to messages.
    """
    plain = ("span_id", "status", "end_ns", *FIRST_WINS)
    fields = [
        *(f"s.{name}" for name in plain),
        *(f"{source} AS {name}" for name, source in LATER_WINS.items()),
        *(f"{source if lists else _NO_IDS} AS {name}" for name, source in _IDS.items()),
    ]
    joins = _JOIN_IDS if lists else ""
    return f"""SELECT {", ".join(fields)}
        FROM (SELECT * FROM stage WHERE event = '{event}' AND {condition}) s {joins}"""
