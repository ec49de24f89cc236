"""Remove calls for good: from the tables, from the bytes of the DuckDB file, and from the spool.

A DuckDB file keeps the bytes of deleted rows until they are written over, so what stays is copied into a new
file that takes the old one's place. What a living writer still has in its spool file cannot be taken out
under its hands: it is reported, remembered, and removed by the ingest that finds the file complete.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ConfigurationError, StoreNotFoundError
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.paths import get_spool_dir, get_store_path, is_lake_address
from llm_trace.stores.compact import COMPACT, compact
from llm_trace.stores.connection import Database
from llm_trace.stores.ingest import ingest_alone
from llm_trace.stores.instances import connect
from llm_trace.stores.lake.purging import purge_lake
from llm_trace.stores.load import list_limits
from llm_trace.stores.locks import Deadline, lock_path
from llm_trace.stores.purge_conditions import PurgeReport, build_condition
from llm_trace.stores.scrub import find_files, scrub_complete, scrub_quarantine, scrub_rejected

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.filters import Moment

_ROUNDS = 5
_SUMMED = ("calls", "messages", "scores", "attributions", "runs", "spool_lines")
_RUNS = "DELETE FROM runs WHERE id = ? OR name = ?"

# The log of reviews is a chain of digests: what is left of a review proves its place and says nothing.
_EMPTY_REVIEWS = """
    UPDATE operations SET span_id = NULL, subject = '', body = json_object(
        'log', body -> '$.log', 'entry', body -> '$.entry', 'before', body -> '$.before',
        'digest', body -> '$.digest', 'gone', 'purged')
    WHERE kind = 'review' AND span_id IN (SELECT span_id FROM victims)"""


def purge(
    path: str | os.PathLike[str],
    *,
    user: str | None = None,
    run: str | None = None,
    id: str | None = None,  # noqa: A002
    older_than: Moment | None = None,
    max_bytes: int | None = None,
    timeout: float = 60.0,
) -> PurgeReport:
    """Remove the calls that match every condition, with all that is stored about them alone.

    Args:
        path: the store, or the address of a lake.
        user: of this user.
        run: of the run with this id or name; the run itself goes too.
        id: the call with this `span_id`, or all calls with this `trace_id`.
        older_than: an age (timedelta), or a moment before which the calls began, as in `Store.calls(since=)`.
        max_bytes: besides, remove the oldest calls until the DuckDB file is no larger.
        timeout: seconds to wait for others that use the store.

    Raises:
        ConfigurationError: nothing says what to remove.
        StoreNotFoundError: there is neither a store nor a spool.
    """
    condition, values = build_condition(user, run, id, older_than)
    if not condition and max_bytes is None:
        raise ConfigurationError("say what to purge: user=, run=, id=, older_than= or max_bytes=")
    store = get_store_path(path)
    if isinstance(path, str) and is_lake_address(path):
        if max_bytes is not None:
            raise ConfigurationError(
                "max_bytes= is for the store of one machine: give older_than= for a lake"
            )
        report = purge_lake(path, condition, values, run=run, timeout=timeout)
        return _purge_unshipped(
            report, store, user=user, run=run, id=id, older_than=older_than, timeout=timeout
        )
    folder = get_spool_dir(store)
    if not store.exists() and not list_spool_files(folder):
        raise StoreNotFoundError(f"there is no store at {str(store)!r} and no spool beside it")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(store, folder, timeout)
    with lock_path(folder / "ingest.lock", Deadline(timeout)):
        ingest_alone(database)
        before = database.file.stat().st_size
        report = PurgeReport(bytes_before=before, bytes_after=before)
        if condition:
            named = any(value is not None for value in (user, run, id))
            report = _remove(database, report, _What(condition, values, named, run, user))
        for _ in range(_ROUNDS if max_bytes is not None else 0):
            if (
                max_bytes is None
                or report.bytes_after <= max_bytes
                or not (cut := _cut(database, report.bytes_after, max_bytes))
            ):
                break
            report = _remove(database, report, _What("start_ns <= ?", [cut]))
    return report


def _purge_unshipped(report: PurgeReport, store: Path, **chosen: Any) -> PurgeReport:
    """Remove what matches among the calls that this machine has yet to ship; return the report of both."""
    if not store.exists() and not list_spool_files(get_spool_dir(store)):
        return report
    local = purge(store, **chosen)
    sums = {name: getattr(report, name) + getattr(local, name) for name in _SUMMED}
    pending = tuple(sorted({*report.pending, *local.pending}))
    return replace(report, **sums, pending=pending)


def count_matching(
    store: Store,
    *,
    user: str | None = None,
    run: str | None = None,
    id: str | None = None,  # noqa: A002
    older_than: Moment | None = None,
) -> int:
    """Return how many calls `purge` would remove by these conditions; all calls without any."""
    condition, values = build_condition(user, run, id, older_than)
    row = store.sql(f"SELECT count(*) FROM calls WHERE {condition or 'true'}", *values).fetchone()
    return int(row[0]) if row else 0


def _cut(database: Database, size: int, limit: int) -> int | None:
    """Return the start up to which calls must go for the file to shrink to the limit, by its bytes a call."""
    with database.reading() as connection:
        row = connection.execute("SELECT count(*) FROM calls").fetchone()
        count = row[0] if row else 0
        gone = min(count, int(count * (1 - limit / size)) + 1)
        oldest = connection.execute(
            "SELECT start_ns FROM calls ORDER BY start_ns LIMIT 1 OFFSET ?", [max(gone - 1, 0)]
        ).fetchone()
    return None if oldest is None else int(oldest[0])


@dataclass(frozen=True)
class _What:
    """Which calls go, and what else goes with them."""

    condition: str
    values: list[Any]
    named: bool = False
    """They go for what they are, not for age or room: what comes later about them is kept out."""
    run: str | None = None
    user: str | None = None


def _remove(database: Database, so_far: PurgeReport, what: _What) -> PurgeReport:
    folder = database.lock_dir
    with (
        tempfile.TemporaryDirectory(prefix="work-", dir=folder, ignore_cleanup_errors=True) as scratch,
        connect(**list_limits(scratch)) as connection,
    ):
        with database.writing(connection):
            connection.execute("BEGIN")
            spans = _choose(connection, what)
            runs = 0 if what.run is None else _count(connection, _RUNS, what.run, what.run)
            lines = scrub_quarantine(connection, folder, spans, what.user)
            lines += scrub_rejected(folder, spans, what.user)
            counts = _delete(connection, what) if spans else [0, 0, 0]
            pending = find_files(folder, spans)
            for name in (*pending, COMPACT):
                connection.execute("INSERT INTO _purge_later VALUES (?)", [name])
            connection.execute("COMMIT" if spans or runs or lines else "ROLLBACK")
        if not spans and not runs:
            return replace(so_far, spool_lines=so_far.spool_lines + lines)
        lines += scrub_complete(folder, spans)
        messages = compact(database)
    return PurgeReport(
        calls=so_far.calls + len(spans),
        messages=so_far.messages + messages,
        scores=so_far.scores + counts[0],
        attributions=so_far.attributions + counts[1],
        runs=so_far.runs + runs,
        spool_lines=so_far.spool_lines + lines,
        bytes_before=so_far.bytes_before,
        bytes_after=database.file.stat().st_size,
        pending=tuple(sorted({*so_far.pending, *pending})),
    )


def _choose(connection: DuckDBPyConnection, what: _What) -> set[str]:
    """Make the table `victims`, with the spans that they stand for; return their ids."""
    chosen = f"CREATE TEMP TABLE victims AS SELECT span_id, status FROM calls WHERE {what.condition}"
    connection.execute(chosen, what.values)
    connection.execute(
        "INSERT INTO victims SELECT s.span_id, v.status FROM _same s JOIN victims v ON v.span_id = s.kept"
    )
    return {str(row[0]) for row in connection.execute("SELECT span_id FROM victims").fetchall()}


def _delete(connection: DuckDBPyConnection, what: _What) -> list[int]:
    """Delete the victims; return how many scores and attributions they had. Some ids are remembered."""
    some = "true" if what.named else "status IN ('open', 'interrupted')"
    connection.execute(f"INSERT INTO _purged SELECT span_id, ? FROM victims WHERE {some}", [time.time_ns()])
    connection.execute("DELETE FROM _same WHERE span_id IN (SELECT span_id FROM victims)")
    connection.execute(_EMPTY_REVIEWS)
    tables = ("scores", "attributions", "operations", "_unfinished", "calls")
    return [
        _count(connection, f"DELETE FROM {t} WHERE span_id IN (SELECT span_id FROM victims)") for t in tables
    ]


def _count(connection: DuckDBPyConnection, query: str, *values: Any) -> int:
    row = connection.execute(query, list(values)).fetchone()
    return int(row[0]) if row else 0
