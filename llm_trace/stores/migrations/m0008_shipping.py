"""What a store that is shipped to a lake remembers of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TABLES = (
    "CREATE TABLE _shipments (id TEXT)",
    "CREATE TABLE _shipped (span_id TEXT, start_ns BIGINT, time_ns BIGINT)",
    "CREATE TABLE _addresses (hour BIGINT, address TEXT)",
)


def apply(connection: DuckDBPyConnection) -> None:
    """Add `_shipments` (the last that left the tables), `_shipped` (calls that went lately) and `_addresses`
    (of messages that went, by the hour of their calls).
    """
    for table in _TABLES:
        connection.execute(table)
