"""Calls as records, read by their ids or by a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.stores import paging, rows
from llm_trace.stores.columns import CALLS
from llm_trace.stores.filters import slice_in_order
from llm_trace.stores.retrieved import add_documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from llm_trace.record import Call
    from llm_trace.stores.filters import Filter
    from llm_trace.stores.search import Match

_BY_ID = "FROM calls WHERE span_id IN (SELECT unnest(?)) AND start_ns IN (SELECT unnest(?))"
_DETAILS = (
    "params", "metadata", "rebuild", "code_function", "code_file", "code_line", "code_commit",
    "error_traceback", "usage_details", "cost_basis", "replay_of",
)  # fmt: skip
"""Columns that no table shows."""
NEAR = 16_384
"""The newest calls, which are looked through before all others."""
# Without any condition DuckDB reads the last row groups alone; with one it sorts everything.
_BEGIN_OF_NEAR = "SELECT start_ns FROM calls ORDER BY start_ns DESC LIMIT 1 OFFSET ?"


def list_columns(*, brief: bool = False) -> str:
    """Return the columns that a record is made of, in SQL; `brief` without those that no table shows."""
    return ", ".join(f"NULL AS {name}" if brief and name in _DETAILS else name for name in CALLS)


def pick_calls(connection: DuckDBPyConnection, condition: str, value: object) -> list[Call]:
    """Return the calls that match, by their starts: a thin scan finds them, then they are read whole."""
    matches = connection.execute(f"SELECT span_id, start_ns FROM calls WHERE {condition}", [value]).fetchall()
    return read_at(connection, matches, "ORDER BY start_ns, span_id")


def find_in_order(
    connection: DuckDBPyConnection, chosen: Filter, order: str, limit: int, offset: int
) -> list[Match]:
    """Return id and start of `limit` calls that match, after the first `offset` ones of an order.

    What holds for one call in a hundred is found among the newest ones, however dear the condition is.
    """
    query = f"SELECT span_id, start_ns FROM calls WHERE {{}} {slice_in_order(order, limit, offset)}"
    if order == "newest":
        row = connection.execute(_BEGIN_OF_NEAR, [NEAR - 1]).fetchone()
        near = chosen.and_("start_ns >= ?", row[0] if row else 0)
        matches = connection.execute(query.format(near.sql), near.values).fetchall()
        if row is None or len(matches) == limit:
            return matches
    return connection.execute(query.format(chosen.sql), chosen.values).fetchall()


def read_at(
    connection: DuckDBPyConnection, matches: Sequence[Match], order: str, *, brief: bool = False
) -> list[Call]:
    """Return the calls of these ids and starts, in an order of SQL."""
    if not matches:
        return []
    ids, starts = zip(*matches, strict=True)
    query = f"SELECT {list_columns(brief=brief)} {_BY_ID} {order}"
    return read_calls(connection, query, [list(ids), list(starts)], brief=brief)


def read_dicts(connection: DuckDBPyConnection, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows of a query by the names of its columns."""
    cursor = connection.execute(query, list(values))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def read_calls(
    connection: DuckDBPyConnection, query: str, values: Sequence[Any], *, brief: bool = False
) -> list[Call]:
    """Return the calls of a query for `list_columns`, with their documents unless `brief`."""
    records = read_dicts(connection, query, values)
    ids = {
        i
        for row in records
        for name in ("messages_in", "messages_out")
        for i in row[name] or ()
        if i is not None
    }
    known = paging.load_bodies(connection, ids)
    runs = set() if brief else {row["run"] for row in records if row["run"] is not None}
    commits = _read_commits(connection, runs)
    calls = [
        rows.build_call(row | {"code_commit": row["code_commit"] or commits.get(row["run"])}, known)
        for row in records
    ]
    return calls if brief else add_documents(connection, calls)


def _read_commits(connection: DuckDBPyConnection, runs: set[str]) -> dict[str | None, str | None]:
    """Return the git commit that each run was made from."""
    if not runs:
        return {}
    query = "SELECT id, environment ->> '$.git_commit' FROM runs WHERE id IN (SELECT unnest(?))"
    return dict(connection.execute(query, [sorted(runs)]).fetchall())
