"""Of which run a run is a fork."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def apply(connection: DuckDBPyConnection) -> None:
    """Add `fork_of` to `runs`."""
    connection.execute("ALTER TABLE runs ADD COLUMN fork_of TEXT")
