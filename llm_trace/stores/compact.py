"""Copy a store into a new file that takes its place, without the bytes of what was deleted."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace.errors import StoreError
from llm_trace.stores.columns import CALLS
from llm_trace.stores.connection import ROW_GROUP, Database, write_options
from llm_trace.stores.instances import connect
from llm_trace.stores.load import LINE_MEMORY_LIMIT, list_limits
from llm_trace.stores.migrations import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from llm_trace.stores.locks import Deadline

COMPACT = "(compact)"
"""In `_purge_later`, where files wait that hold purged calls: the store itself does."""

# A message stays while a call has it, or a spool file that is still read may name it by its number.
_USED = """
CREATE OR REPLACE TEMP TABLE used AS
SELECT id FROM (
    SELECT unnest(messages_in) AS id FROM store.calls UNION ALL SELECT unnest(messages_out) FROM store.calls
    UNION ALL SELECT id FROM store._numbers
) WHERE id IS NOT NULL GROUP BY id"""

_TABLES = {
    "calls": ", ".join(CALLS),
    "messages": "*",
    "attributions": "id, span_id, method, config_hash, time_ns, status, error, attribution",
    "scores": "id, span_id, name, value, source, comment, time_ns",
    "operations": "id, kind, subject, span_id, time_ns, body",
    "runs": "id, name, config, tags, environment, start_ns, end_ns, replay_of, fork_of",
    **dict.fromkeys(("prompts", "_files", "_numbers", "_unfinished", "_lost", "_purged", "_same"), "*"),
    **dict.fromkeys(("_purge_later", "_shipments", "_shipped", "_addresses"), "*"),
}
"""The tables, with their columns that are not computed from others."""
_STAYS = {"messages": "id IN (SELECT id FROM used)", "_purge_later": f"file <> '{COMPACT}'"}
MANY = 16 * ROW_GROUP
FEW = 4
"""Rows that are copied at a time, first, and where memory does not hold so many."""


@dataclass(frozen=True)
class _Attempt:
    """How much is copied at a time, and with which settings."""

    rows: int
    settings: dict[str, Any] = field(default_factory=dict)


def compact(database: Database) -> int:
    """Rewrite the store without dead bytes and unreferenced messages; return how many messages went.

    The caller holds `ingest.lock`. Killed midway, the old file is still there.

    Raises:
        StoreError: no attempt got through; the old file is still there.
    """
    import duckdb

    with database.alone() as deadline:
        for attempt in (_Attempt(MANY), _Attempt(FEW), _Attempt(FEW, {"memory_limit": LINE_MEMORY_LIMIT})):
            try:
                return _rewrite(database, deadline, attempt)
            except duckdb.Error as exc:  # what failed for want of memory may be damaged: all is begun anew
                cause = exc
    raise StoreError(
        f"{str(database.path)!r} cannot be rewritten without what was removed; the next ingest tries again: "
        f"{cause}"
    ) from cause


def _rewrite(database: Database, deadline: Deadline, attempt: _Attempt) -> int:
    fresh = database.file.with_name(database.file.name + ".compact")
    _remove(fresh)
    quoted = str(fresh).replace("'", "''")
    scratch = tempfile.TemporaryDirectory(prefix="work-", dir=database.lock_dir, ignore_cleanup_errors=True)
    with scratch as folder, connect(**list_limits(folder) | attempt.settings) as connection:
        try:
            with database.attach(connection, deadline):
                connection.execute(f"ATTACH '{quoted}' AS fresh ({write_options()})")
                fresh.chmod(database.file.stat().st_mode & 0o777)
                gone = _copy(connection, attempt.rows)
                connection.execute("USE memory")
                connection.execute("DETACH fresh")
        except Exception:
            connection.close()  # lets go of the file
            _remove(fresh)
            raise
        fresh.replace(database.file)
        _sync(database.file.parent)
    return gone


def _remove(fresh: Path) -> None:
    for leftover in (fresh, fresh.with_name(fresh.name + ".wal")):
        leftover.unlink(missing_ok=True)


def _copy(connection: DuckDBPyConnection, size: int) -> int:
    connection.execute(_USED)
    connection.execute("USE fresh")
    migrate(connection)
    for table in _TABLES:
        _copy_table(connection, table, size)
    row = connection.execute(
        "SELECT (SELECT count(*) FROM store.messages) - (SELECT count(*) FROM fresh.messages)"
    ).fetchone()
    return int(row[0]) if row else 0


def _copy_table(connection: DuckDBPyConnection, table: str, size: int) -> None:
    row = connection.execute(f"SELECT coalesce(max(rowid) + 1, 0) FROM store.{table}").fetchone()
    stop = int(row[0]) if row else 0
    for first in range(0, stop, size):
        _copy_rows(connection, table, first, min(first + size, stop))


def _copy_rows(connection: DuckDBPyConnection, table: str, first: int, stop: int) -> None:
    columns = _TABLES[table]
    names = "" if columns == "*" else f"({columns})"
    # a condition on `rowid`, not LIMIT: only then DuckDB unpacks just these of the rows packed together
    connection.execute(
        f"""INSERT INTO {table} {names} SELECT {columns} FROM store.{table}
        WHERE rowid BETWEEN {first} AND {stop - 1} AND {_STAYS.get(table, "true")}"""
    )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
