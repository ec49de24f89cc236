"""Calls that were put in place of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def apply(connection: DuckDBPyConnection) -> None:
    """Add the table `_same`: spans that a call stands for besides its own."""
    connection.execute("CREATE TABLE _same (span_id TEXT, kept TEXT)")
