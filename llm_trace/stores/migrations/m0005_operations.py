"""What gates, rules, reviews and monitors decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def apply(connection: DuckDBPyConnection) -> None:
    """Add `operations`."""
    connection.execute(
        "CREATE TABLE operations (id TEXT, kind TEXT, subject TEXT, span_id TEXT, time_ns BIGINT, body JSON)"
    )
