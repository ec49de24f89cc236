"""Copy a store into a new file that takes its place, without the bytes of what was deleted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llm_trace.stores.columns import CALLS
from llm_trace.stores.connection import Database, write_options
from llm_trace.stores.migrations import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

COMPACT = "(compact)"
"""In `_purge_later`, where files wait that hold purged calls: the store itself does."""
_COLUMNS = ", ".join(CALLS)

# A message stays while a call has it, or a spool file that is still read may name it by its number.
_USED = """
CREATE OR REPLACE TEMP TABLE used AS
SELECT id FROM (
    SELECT unnest(messages_in) AS id FROM store.calls UNION ALL SELECT unnest(messages_out) FROM store.calls
    UNION ALL SELECT id FROM store._numbers
) WHERE id IS NOT NULL GROUP BY id"""

_COPIES = (
    f"INSERT INTO calls ({_COLUMNS}) SELECT {_COLUMNS} FROM store.calls",
    "INSERT INTO messages SELECT * FROM store.messages WHERE id IN (SELECT id FROM used)",
    """INSERT INTO attributions (id, span_id, method, config_hash, time_ns, status, error, attribution)
       SELECT id, span_id, method, config_hash, time_ns, status, error, attribution FROM store.attributions""",
    """INSERT INTO scores (id, span_id, name, value, source, comment, time_ns)
       SELECT id, span_id, name, value, source, comment, time_ns FROM store.scores""",
    """INSERT INTO runs (id, name, config, tags, environment, start_ns, end_ns, replay_of)
       SELECT id, name, config, tags, environment, start_ns, end_ns, replay_of FROM store.runs""",
    *(
        f"INSERT INTO {table} SELECT * FROM store.{table}"
        for table in ("prompts", "_files", "_numbers", "_unfinished", "_lost", "_purged", "_same")
    ),
    f"INSERT INTO _purge_later SELECT * FROM store._purge_later WHERE file <> '{COMPACT}'",
)


def compact(database: Database, connection: DuckDBPyConnection) -> int:
    """Rewrite the store's file without dead bytes and without messages that nothing refers to; return how many those were.

    The caller holds `ingest.lock`. Killed midway, the old file is still there.
    """
    fresh = database.file.with_name(database.file.name + ".compact")
    for leftover in (fresh, fresh.with_name(fresh.name + ".wal")):
        leftover.unlink(missing_ok=True)
    quoted = str(fresh).replace("'", "''")
    with database.alone() as deadline:
        with database.attached(connection, deadline):
            connection.execute(f"ATTACH '{quoted}' AS fresh ({write_options()})")
            fresh.chmod(database.file.stat().st_mode & 0o777)
            try:
                gone = _copy(connection)
            finally:
                connection.execute("USE memory")
                connection.execute("DETACH fresh")
        fresh.replace(database.file)
        _sync(database.file.parent)
    return gone


def _copy(connection: DuckDBPyConnection) -> int:
    connection.execute(_USED)
    connection.execute("USE fresh")
    migrate(connection)
    for copy in _COPIES:
        connection.execute(copy)
    row = connection.execute(
        "SELECT (SELECT count(*) FROM store.messages) - (SELECT count(*) FROM fresh.messages)"
    ).fetchone()
    return int(row[0]) if row else 0


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
