"""Numbered changes of the store's schema, applied in order when an ingest opens a store that lacks them.

Each is a module with `apply(connection)`. Add new ones to `MIGRATIONS`; never change one that was released.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llm_trace.errors import StoreVersionError
from llm_trace.stores.migrations import (
    m0001_first,
    m0002_rebuild,
    m0003_same,
    m0004_costs,
    m0005_operations,
    m0006_forks,
    m0007_platforms,
    m0008_shipping,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MIGRATIONS = (
    m0001_first,
    m0002_rebuild,
    m0003_same,
    m0004_costs,
    m0005_operations,
    m0006_forks,
    m0007_platforms,
    m0008_shipping,
)
VERSION = len(MIGRATIONS)


def read_version(connection: DuckDBPyConnection) -> int:
    """Return the number of the last migration of the store in use, 0 for an empty file.

    Raises:
        StoreVersionError: it was written by a newer llm_trace.
    """
    import duckdb

    try:
        row = connection.execute("SELECT coalesce(max(number), 0) FROM _migrations").fetchone()
    except duckdb.CatalogException:
        return 0
    version = int(row[0]) if row else 0
    if version > VERSION:
        raise StoreVersionError(
            f"the store has schema {version}, this llm_trace knows {VERSION}: it was written by a newer "
            f"version; "
            "run `pip install -U llm-trace`"
        )
    return version


def migrate(connection: DuckDBPyConnection) -> None:
    """Bring the store in use to the newest schema, in one transaction."""
    version = read_version(connection)
    if version == VERSION:
        return
    connection.execute("BEGIN")
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        migration.apply(connection)
        name = migration.__name__.rpartition(".")[2]
        connection.execute("INSERT INTO _migrations VALUES (?, ?, ?)", [number, name, time.time_ns()])
    connection.execute("COMMIT")
