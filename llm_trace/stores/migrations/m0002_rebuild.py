"""What a replay needs beside input and output: the types that JSON does not tell, the chunks of a stream,
the input's keyed hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def apply(connection: DuckDBPyConnection) -> None:
    """Add the column `calls.rebuild`."""
    connection.execute("ALTER TABLE calls ADD COLUMN rebuild JSON")
