"""Take what is finished out of this machine's store, as the files of one shipment.

The files are written first, then a list of them, then, in the transaction that takes the rows out, the id of
the shipment: a list whose id the store does not have is of a process that died, and its rows are still there.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING

from llm_trace.spool.private import open_private
from llm_trace.stores.lake.delta import DataFile
from llm_trace.stores.lake.parts import write_part
from llm_trace.stores.lake.tables import ADDED, SHAPES, list_moved_columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

MOST_CALLS = 100_000
"""Calls of one shipment."""
_ORPHAN_NS = 3600 * 10**9
"""How long a call whose start was not seen waits for it."""
_REMEMBERED_NS = 3600 * 10**9
"""How long a call that went is known by, in case that another one comes to stand for it."""
_HOUR_NS = 3600 * 10**9
_LEVEL = 1
"""Of compression: the machine that ships has other work; compaction packs more."""
_DAY_NS = 24 * _HOUR_NS
_EPOCH = date(1970, 1, 1).toordinal()

# A call goes when no call of its trace is open: it may still come to stand for others, or others for it.
_CHOOSE = f"""
CREATE OR REPLACE TEMP TABLE going AS
SELECT span_id, start_ns FROM calls
WHERE span_id NOT IN (
    SELECT span_id FROM _unfinished WHERE state = 'open' OR (state = 'orphan' AND start_ns > ?))
AND coalesce(trace_id NOT IN (
    SELECT trace_id FROM calls WHERE status = 'open' AND trace_id IS NOT NULL), true)
ORDER BY start_ns LIMIT {MOST_CALLS}"""
_GOING = "calls SEMI JOIN going USING (span_id)"

# A message's address is the hour of its call, the shipment that it went with, and a digest of its content:
# those of one time lie together, no address comes twice, and what a chat says again is referred to again.
_REFER = f"""
CREATE OR REPLACE TEMP TABLE referred AS
SELECT span_id, start_ns // {_HOUR_NS} AS hour, out,
       unnest(ids) AS id, generate_subscripts(ids, 1) AS position
FROM (SELECT span_id, start_ns, false AS out, messages_in AS ids FROM {_GOING}
      UNION ALL SELECT span_id, start_ns, true, messages_out FROM {_GOING})"""
DIGEST = """left(sha256(CASE WHEN body IS NULL THEN 's' || strlen(role) || ':' || role || text
                       ELSE 'b' || body::TEXT END), 24)"""
"""The end of a message's address, in SQL over `messages` of a store."""
_DIGEST = f"""
CREATE OR REPLACE TEMP TABLE digests AS
SELECT id, {DIGEST} AS digest
FROM messages SEMI JOIN referred USING (id)"""
_NAME = """
CREATE OR REPLACE TEMP TABLE named AS
SELECT r.hour, r.id, coalesce(a.address, printf('%06x', r.hour) || ? || d.digest) AS address,
       a.address IS NULL AS fresh
FROM (SELECT DISTINCT hour, id FROM referred WHERE id IS NOT NULL) r JOIN digests d USING (id)
LEFT JOIN _addresses a ON a.hour = r.hour AND right(a.address, 24) = d.digest"""
_LIST = """
CREATE OR REPLACE TEMP TABLE addressed AS
SELECT span_id, out, list(n.address ORDER BY position) AS ids
FROM referred r LEFT JOIN named n ON n.hour = r.hour AND n.id = r.id GROUP BY span_id, out"""
_CALLS = """
FROM (
    SELECT c.* REPLACE (
        CASE WHEN len(c.messages_in) = 0 THEN [] ELSE i.ids END AS messages_in,
        CASE WHEN len(c.messages_out) = 0 THEN [] ELSE o.ids END AS messages_out)
    FROM (SELECT {columns} FROM calls SEMI JOIN going USING (span_id)) c
    LEFT JOIN (FROM addressed WHERE NOT out) i ON i.span_id = c.span_id
    LEFT JOIN (FROM addressed WHERE out) o ON o.span_id = c.span_id)"""
_MESSAGES = f"""
FROM (
    SELECT n.address AS id, any_value(role) AS role, any_value(text) AS text, any_value(body)::TEXT AS body,
           n.hour * {_HOUR_NS} AS first_ns
    FROM named n JOIN messages m ON m.id = n.id WHERE n.fresh GROUP BY n.address, n.hour)"""

UNUSED = """id NOT IN (
    SELECT id FROM _numbers UNION ALL SELECT unnest(messages_in) FROM calls WHERE messages_in IS NOT NULL
    UNION ALL SELECT unnest(messages_out) FROM calls WHERE messages_out IS NOT NULL)"""
"""Of messages that no call has and no spool file that is still read may name by its number."""
_OTHERS = ("runs", "prompts", "scores", "attributions", "operations", "_same", "_lost")
_TAKE_OUT = (
    "DELETE FROM calls WHERE span_id IN (SELECT span_id FROM going)",
    "DELETE FROM _unfinished WHERE span_id IN (SELECT span_id FROM going)",
    *(f"DELETE FROM {name}" for name in _OTHERS),
    "INSERT INTO _addresses SELECT DISTINCT hour, address FROM named WHERE fresh",
    f"DELETE FROM messages WHERE {UNUSED}",
    "DELETE FROM _shipments",
)


@dataclass(frozen=True)
class Shipment:
    """Files that are to be committed to a lake."""

    id: str
    """16 hex digits, drawn for it; part of its files' names and of its messages' addresses."""
    shipper: str
    """Who ships: 16 hex digits, drawn by each process."""
    number: int
    """Which of its shipments this is."""
    calls: int
    files: dict[str, list[DataFile]]
    """By table."""
    replaced: dict[str, int]
    """Calls shipped earlier in whose place others are now, with their starts."""

    @property
    def transaction(self) -> tuple[str, int]:
        """What is noted in each table that has it."""
        return f"llm_trace/{self.shipper}", self.number


class Outbox:
    """The folder of shipments that are under way, at most one.

    Args:
        folder: the spool folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outbox"
        self._list = self.folder / "shipment.json"

    def open_file(self, name: str, file: DataFile) -> Path:
        """Return where a file of the shipment is on this machine."""
        return self._name_file(name, file.path)

    def _name_file(self, name: str, place: str) -> Path:
        return self.folder / f"{name}-{place.replace('/', '-')}"

    def load(self, connection: DuckDBPyConnection) -> Shipment | None:
        """Return the shipment that is under way; remove one whose rows never left the store."""
        try:
            stored = json.loads(self._list.read_bytes())
        except FileNotFoundError:
            self.clear()
            return None
        row = connection.execute("SELECT count(*) FROM _shipments WHERE id = ?", [stored["id"]]).fetchone()
        if not row or not row[0]:
            self.clear()
            return None
        files = {
            name: [DataFile(**each | {"columns": frozenset(each["columns"])}) for each in part]
            for name, part in stored.pop("files").items()
        }
        return Shipment(files=files, **stored)

    def clear(self) -> None:
        """Remove the files: they are in the lake, or their rows are in the store."""
        self._list.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def fill(self, connection: DuckDBPyConnection, shipper: str, number: int) -> Shipment | None:
        """Take what is finished out of the store in use; return `None` where nothing is.

        The caller holds the store alone.
        """
        now = time.time_ns()
        connection.execute(_CHOOSE, [now - _ORPHAN_NS])
        if not _has_any(connection):
            return None
        self.clear()
        self.folder.mkdir(mode=0o700, parents=True)
        identity = os.urandom(8).hex()
        connection.execute("BEGIN")
        for step in (_REFER, _DIGEST):
            connection.execute(step)
        connection.execute(_NAME, [identity[:12]])
        connection.execute(_LIST)
        files = {name: list(self._write(connection, name, identity, now)) for name in SHAPES}
        calls, replaced = _count_going(connection), _find_replaced(connection)
        shipment = Shipment(identity, shipper, number, calls, files, replaced)
        self._save(shipment)
        _take_out(connection, shipment, now)
        connection.execute("COMMIT")
        return shipment

    def _write(
        self, connection: DuckDBPyConnection, name: str, identity: str, now: int
    ) -> Iterator[DataFile]:
        """Write the files of a table, one for each day."""
        query, time_column = _build_query(name, now)
        days = connection.execute(
            f"SELECT DISTINCT ({time_column}) // {_DAY_NS} AS day FROM ({query}) ORDER BY day"
        ).fetchall()
        for (number,) in days:
            day = date.fromordinal(_EPOCH + number).isoformat()
            place = f"day={day}/{identity}.parquet"
            of_day = f"{query} WHERE ({time_column}) // {_DAY_NS} = {number} ORDER BY {SHAPES[name].order}"
            file = write_part(connection, name, of_day, self._name_file(name, place), place, level=_LEVEL)
            if file is not None:
                yield file

    def _save(self, shipment: Shipment) -> None:
        files = {
            name: [asdict(each) | {"columns": sorted(each.columns)} for each in part]
            for name, part in shipment.files.items()
        }
        part = self._list.with_suffix(".part")
        with open_private(part, "w", encoding="utf-8") as file:
            json.dump(asdict(shipment) | {"files": files}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._list)


def _has_any(connection: DuckDBPyConnection) -> bool:
    tables = " OR ".join(f"EXISTS (FROM {name})" for name in ("going", *_OTHERS))
    row = connection.execute(f"SELECT {tables}").fetchone()
    return bool(row and row[0])


def _count_going(connection: DuckDBPyConnection) -> int:
    row = connection.execute("SELECT count(*) FROM going").fetchone()
    return int(row[0]) if row else 0


def _find_replaced(connection: DuckDBPyConnection) -> dict[str, int]:
    """Return the calls that went earlier and that a call of this shipment stands for."""
    query = "SELECT span_id, start_ns FROM _shipped WHERE span_id IN (SELECT span_id FROM _same)"
    return {str(row[0]): int(row[1]) for row in connection.execute(query).fetchall()}


def _build_query(name: str, now: int) -> tuple[str, str]:
    """Return the query for the rows of a table that go, and when each is from, in nanoseconds."""
    columns = list_moved_columns(name)
    if name == "calls":
        return _CALLS.format(columns=columns), "start_ns"
    if name == "messages":
        return _MESSAGES, "first_ns"
    known = {"runs": "start_ns, end_ns, ", "_same": ""}.get(name, f"{SHAPES[name].time}, ")
    extra = "".join(f", {now} AS {column}" for column in ADDED.get(name, ()))
    return f"SELECT {columns}{extra} FROM {name}", f"greatest(0, coalesce({known}{now}))"


def _take_out(connection: DuckDBPyConnection, shipment: Shipment, now: int) -> None:
    """Remove from the store what the shipment has."""
    connection.execute("INSERT INTO _shipped SELECT span_id, start_ns, ? FROM going", [now])
    for step in _TAKE_OUT:
        connection.execute(step)
    connection.execute("DELETE FROM _shipped WHERE time_ns < ?", [now - _REMEMBERED_NS])
    connection.execute("DELETE FROM _addresses WHERE hour < ?", [now // _HOUR_NS - 2])
    connection.execute("INSERT INTO _shipments VALUES (?)", [shipment.id])
