"""Remove calls from a lake for good: its files are written anew without them, and the old files deleted."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.spool.files import list_spool_files
from llm_trace.stores.connection import Database
from llm_trace.stores.lake.database import LakeDatabase
from llm_trace.stores.lake.outbox import DIGEST
from llm_trace.stores.lake.rewriting import Workshop, remove_rows
from llm_trace.stores.lake.shipping import has_something_to_ship, ship
from llm_trace.stores.purge_conditions import PurgeReport
from llm_trace.stores.scrub import find_files

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from duckdb import DuckDBPyConnection

_HOUR_NS = 3600 * 10**9
_ABOUT = "span_id IN (SELECT span_id FROM victims)"
_SAID = "unnest(list_concat(coalesce(messages_in, []), coalesce(messages_out, []))) AS id"

# Messages belong to calls of one hour: what no other call of that hour has goes with its calls.
_GONE = f"""
CREATE OR REPLACE TEMP TABLE gone AS
SELECT {_SAID} FROM calls WHERE {{place}} AND {_ABOUT}
EXCEPT
SELECT {_SAID} FROM calls WHERE {{place}} AND NOT {_ABOUT}"""

# The log of reviews is a chain of digests: what is left of a review proves its place and says nothing.
_EMPTY = f"""* REPLACE (
    CASE WHEN {_ABOUT} THEN NULL ELSE span_id END AS span_id,
    CASE WHEN {_ABOUT} THEN '' ELSE subject END AS subject,
    CASE WHEN {_ABOUT} THEN json_object(
        'log', body::JSON -> '$.log', 'entry', body::JSON -> '$.entry', 'before', body::JSON -> '$.before',
        'digest', body::JSON -> '$.digest', 'gone', 'purged')::TEXT ELSE body END AS body)"""


@dataclass(frozen=True)
class _Victims:
    """The calls that go."""

    count: int
    days: frozenset[str]
    first_ns: int
    last_ns: int


def purge_lake(
    address: str, condition: str, values: Sequence[Any], *, run: str | None, timeout: float
) -> PurgeReport:
    """Remove the calls that match, with all that is stored about them alone, from a lake's files.

    What this machine recorded is shipped first; what others have not shipped yet is not found.

    Args:
        address: of the lake.
        condition: over `calls`, in SQL.
        values: of its parameters.
        run: id or name of a run that goes too.
        timeout: seconds to wait for another process of this machine that ships.
    """
    database = LakeDatabase(address, timeout)
    if has_something_to_ship(database):
        ship(address, timeout=timeout)
    with tempfile.TemporaryDirectory(prefix="llm_trace-purge-") as scratch, database.reading() as connection:
        before = database.read_state()[1]
        purge = _Purge(database, Workshop(database.storage, connection, Path(scratch)))
        counts = purge.run(condition, values, run)
        files = {*find_files(database.lock_dir, purge.spans), *_find_numbered(database, purge.digests)}
    with database.reading():
        after = database.read_state()[1]
    report = PurgeReport(bytes_before=before, bytes_after=after, pending=tuple(sorted(files)))
    return replace(report, **counts)


def _find_numbered(database: LakeDatabase, digests: set[str]) -> list[str]:
    """Return the spool files that may still name messages by their numbers: they stay on this machine."""
    here = Database(database.file, database.lock_dir, database.timeout)
    if not here.exists() or not digests:
        return []
    query = f"SELECT DISTINCT file FROM _numbers JOIN messages USING (id) WHERE list_contains($1, {DIGEST})"
    with here.reading() as connection:
        return [str(row[0]) for row in connection.execute(query, [sorted(digests)]).fetchall()]


class _Purge:
    def __init__(self, database: LakeDatabase, shop: Workshop) -> None:
        self._tables = database.tables
        self._folder = database.lock_dir
        self._shop = shop
        self._connection = shop.connection
        self.spans: set[str] = set()
        """Ids of the calls that went, where writers of this machine may still hold them."""
        self.digests: set[str] = set()
        """Of the messages that went."""

    def run(self, condition: str, values: Sequence[Any], run: str | None) -> dict[str, Any]:
        """Remove, the calls at last: killed before, the next purge finds them again."""
        counts: dict[str, Any] = {"runs": 0 if run is None else self._remove_run(run)}
        victims = _choose(self._connection, condition, values) if condition else None
        if victims is not None and victims.count:
            counts |= {name: self._remove(name, _ABOUT) for name in ("scores", "attributions")}
            self._remove("operations", _ABOUT, columns=_EMPTY, stays="kind = 'review'")
            self._remove("_same", f"{_ABOUT} OR kept IN (SELECT span_id FROM victims)")
            if any(file.live for file in list_spool_files(self._folder)):
                rows = self._connection.execute("SELECT span_id FROM victims").fetchall()
                self.spans = {str(row[0]) for row in rows}
            counts["messages"] = self._remove_messages(victims)
            place = f"start_ns BETWEEN {victims.first_ns} AND {victims.last_ns}"
            counts["calls"] = self._remove("calls", f"{place} AND {_ABOUT}", victims.days)
        for table in self._tables.values():
            table.vacuum(0)
        return counts

    def _remove(self, name: str, condition: str, days: Collection[str] | None = None, **options: str) -> int:
        return remove_rows(self._tables[name], self._shop, condition, days=days, **options)

    def _remove_messages(self, victims: _Victims) -> int:
        first, last = (ns // _HOUR_NS * _HOUR_NS for ns in (victims.first_ns, victims.last_ns + _HOUR_NS))
        self._connection.execute(_GONE.format(place=f"start_ns >= {first} AND start_ns < {last}"))
        rows = self._connection.execute("SELECT DISTINCT right(id, 24) FROM gone").fetchall()
        self.digests = {str(row[0]) for row in rows}
        return self._remove("messages", "id IN (SELECT id FROM gone)", victims.days)

    def _remove_run(self, run: str) -> int:
        chosen = "CREATE OR REPLACE TEMP TABLE named AS SELECT id FROM runs WHERE id = $1 OR name = $1"
        self._connection.execute(chosen, [run])
        (count,) = self._connection.execute("SELECT count(*) FROM named").fetchone() or (0,)
        self._remove("runs", "id IN (SELECT id FROM named)")
        return int(count)


def _choose(connection: DuckDBPyConnection, condition: str, values: Sequence[Any]) -> _Victims:
    """Make the table `victims`; a span that a call stands for goes with it."""
    chosen = f"CREATE OR REPLACE TEMP TABLE victims AS SELECT span_id, start_ns FROM calls WHERE {condition}"
    connection.execute(chosen, list(values))
    query = """
        SELECT count(*), coalesce(min(start_ns), 0), coalesce(max(start_ns), 0),
               coalesce(list(DISTINCT strftime(make_timestamp(start_ns // 1000), '%Y-%m-%d')), [])
        FROM victims"""
    count, first, last, days = connection.execute(query).fetchone() or (0, 0, 0, [])
    connection.execute(
        "INSERT INTO victims SELECT s.span_id, NULL FROM _same s JOIN victims v ON v.span_id = s.kept"
    )
    return _Victims(int(count), frozenset(days), int(first), int(last))
