"""Which calls are meant: the arguments of `Store.calls`, and the table of the calls that match them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.record import Run
from llm_trace.stores.filters import Filter
from llm_trace.stores.instances import spoil
from llm_trace.stores.parquet import CHOSEN, MAKE_CHOSEN
from llm_trace.stores.search import search

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def select_calls(connection: DuckDBPyConnection, run: str | Run | None, filters: dict[str, Any]) -> Filter:
    """Return the filter that the arguments of `Store.calls` stand for."""
    if isinstance(filters.get("where"), str):  # the user's own
        spoil(connection)
    return Filter.of(runs=None if run is None else _run_ids(connection, run), **filters)


def fill_chosen(connection: DuckDBPyConnection, chosen: Filter, text: str | None, limit: int | None) -> None:
    """Make the table of the calls that match."""
    connection.execute(f"{MAKE_CHOSEN} (span_id TEXT)")
    if text:
        span_ids = [span_id for span_id, _ in search(connection, chosen, text, limit)]
        connection.execute(f"INSERT INTO {CHOSEN} SELECT unnest(?)", [span_ids])
        return
    newest = f"ORDER BY start_ns DESC, span_id {'' if limit is None else f'LIMIT {int(limit)}'}"
    query = f"INSERT INTO {CHOSEN} SELECT span_id FROM calls WHERE {chosen.sql} {newest}"
    connection.execute(query, list(chosen.values))


def _run_ids(connection: DuckDBPyConnection, run: str | Run) -> list[str]:
    """Return the ids of the runs meant; what no run has as its name or id is taken for an id.

    One id more would cost a look at every call: DuckDB passes over what a single one is not in.
    """
    if isinstance(run, Run):
        return [run.id]
    query = "SELECT DISTINCT id FROM runs WHERE name = $1 OR id = $1 ORDER BY id"
    return [str(row[0]) for row in connection.execute(query, [run]).fetchall()] or [run]
