"""From which platform a call was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STEPS = (
    "ALTER TABLE calls ADD COLUMN platform TEXT",
    "UPDATE calls SET platform = metadata ->> '$.import.from' WHERE metadata ->> '$.import.from' IS NOT NULL",
)


def apply(connection: DuckDBPyConnection) -> None:
    """Add `platform` to `calls`, which tells without a look into each call's metadata."""
    for step in _STEPS:
        connection.execute(step)
