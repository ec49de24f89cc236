"""Calls as records, read by their ids or by a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.stores import paging, rows
from llm_trace.stores.columns import CALLS
from llm_trace.stores.retrieved import add_documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from llm_trace.record import Call
    from llm_trace.stores.search import Match

COLUMNS = ", ".join(CALLS)
"""What a record is made of."""
_BY_ID = f"SELECT {COLUMNS} FROM calls WHERE span_id IN (SELECT unnest(?)) AND start_ns IN (SELECT unnest(?))"


def pick_calls(connection: DuckDBPyConnection, condition: str, value: str) -> list[Call]:
    """Return the calls that match, by their starts: a thin scan finds them, then they are read whole."""
    matches = connection.execute(f"SELECT span_id, start_ns FROM calls WHERE {condition}", [value]).fetchall()
    return read_at(connection, matches, "ORDER BY start_ns, span_id")


def read_at(connection: DuckDBPyConnection, matches: Sequence[Match], order: str) -> list[Call]:
    """Return the calls of these ids and starts, in an order of SQL."""
    if not matches:
        return []
    ids, starts = zip(*matches, strict=True)
    return read_calls(connection, f"{_BY_ID} {order}", [list(ids), list(starts)])


def read_dicts(connection: DuckDBPyConnection, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows of a query by the names of its columns."""
    cursor = connection.execute(query, list(values))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def read_calls(connection: DuckDBPyConnection, query: str, values: Sequence[Any]) -> list[Call]:
    """Return the calls of a query for `COLUMNS`."""
    records = read_dicts(connection, query, values)
    ids = {
        i
        for row in records
        for name in ("messages_in", "messages_out")
        for i in row[name] or ()
        if i is not None
    }
    known = paging.load_bodies(connection, ids)
    commits = _read_commits(connection, {row["run"] for row in records if row["run"] is not None})
    calls = [
        rows.build_call(row | {"code_commit": row["code_commit"] or commits.get(row["run"])}, known)
        for row in records
    ]
    return add_documents(connection, calls)


def _read_commits(connection: DuckDBPyConnection, runs: set[str]) -> dict[str | None, str | None]:
    """Return the git commit that each run was made from."""
    if not runs:
        return {}
    query = "SELECT id, environment ->> '$.git_commit' FROM runs WHERE id IN (SELECT unnest(?))"
    return dict(connection.execute(query, [sorted(runs)]).fetchall())
