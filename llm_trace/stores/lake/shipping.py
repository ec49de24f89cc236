"""Ship what a machine recorded to a lake, each call once whatever is killed and when.

A shipment is taken out of this machine's store and written to disk before anything of it is committed; each
table notes which shipments it has. Killed anywhere, the next one who ships goes on with the same shipment.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_trace.errors import LLMTraceError, StoreError
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.paths import find_lake_root, get_spool_dir, get_store_path
from llm_trace.stores.compact import compact
from llm_trace.stores.connection import Database
from llm_trace.stores.failure import clear_failure, note_failure
from llm_trace.stores.ingest import ingest_alone
from llm_trace.stores.instances import lend
from llm_trace.stores.lake.delta import CommitConflictError, LakeTable, TableChange
from llm_trace.stores.lake.outbox import UNUSED, Outbox
from llm_trace.stores.lake.rewriting import Workshop, remove_calls
from llm_trace.stores.lake.storage import LakeStorage
from llm_trace.stores.lake.tables import SHAPES, list_lake_columns
from llm_trace.stores.load import list_limits
from llm_trace.stores.locks import Deadline, lock_path
from llm_trace.stores.migrations import migrate

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.lake.outbox import Shipment

MEMORY_LIMIT = "600MB"
CLOCKS_APART_MS = 60_000
_ATTEMPTS = 10


@dataclass
class ShipReport:
    """What one shipping did."""

    calls: int = 0
    shipments: int = 0
    bytes: int = 0
    """Of the files that were committed."""
    held: int = 0
    """Calls that stay for now, since one of their trace is open."""
    seconds: float = 0.0
    notices: list[str] = field(default_factory=list)
    """What should be looked at, such as a clock that is wrong."""


def ship(address: str, store: str | os.PathLike[str] | None = None, *, timeout: float = 60.0) -> ShipReport:
    """Move what was recorded on this machine to a lake.

    Calls that are open stay, and with them their traces.

    Args:
        address: `delta://FOLDER` or `delta+s3://BUCKET/PREFIX`.
        store: whose spool and calls are moved; if absent, what was recorded by `configure(store=address)`.
        timeout: seconds to wait for another process that ships or ingests.

    Raises:
        StoreError: the lake cannot be reached; everything is still here.
        StoreLockedError: another process shipped until the time-out.
    """
    path = get_store_path(address if store is None else store)
    folder = get_spool_dir(path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    began = time.perf_counter()
    with lock_path(folder / "ingest.lock", Deadline(timeout)):
        try:
            report = Shipper(address, Database(path, folder, timeout)).ship()
        except LLMTraceError as exc:
            note_failure(folder, exc)
            raise
        clear_failure(folder)
    report.seconds = time.perf_counter() - began
    return report


class Shipper:
    """Ships to one lake from one store; the caller holds `ingest.lock`.

    Args:
        address: of the lake.
        database: the store.
    """

    def __init__(self, address: str, database: Database) -> None:
        self.root = find_lake_root(address)
        self._database = database
        self._outbox = Outbox(database.lock_dir)
        self._storage = LakeStorage(self.root)
        self._tables = {name: LakeTable(self.root, name, shape.time) for name, shape in SHAPES.items()}
        self._id = os.urandom(8).hex()
        self.report = ShipReport()
        self._has_unused = False

    def ship(self) -> ShipReport:
        """Ship until nothing is left that can go."""
        self._open()
        folder = self._database.lock_dir
        with tempfile.TemporaryDirectory(prefix="work-", dir=folder, ignore_cleanup_errors=True) as scratch:
            limits = list_limits(scratch) | {"memory_limit": MEMORY_LIMIT}
            with lend("store", **limits) as connection:
                self._resume(connection)
                ingest_alone(self._database)
                while (shipment := self._take(connection)) is not None:
                    self._deliver(connection, shipment)
        if self.report.shipments or self._has_unused:
            compact(self._database)  # leaves unused messages out, and the bytes of rows that left
        return self.report

    def _open(self) -> None:
        """Make the lake if it is absent; nothing has left the spool so far.

        Raises:
            StoreError: it cannot be reached.
        """
        for name, table in self._tables.items():
            table.create(list_lake_columns(name))
        last = self._tables["calls"].get_last_commit_ms()
        ahead = 0 if last is None else last - time.time() * 1000
        if ahead > CLOCKS_APART_MS:
            self.report.notices.append(
                f"the lake's last commit is {ahead / 60_000:.0f} min in the future: this machine's clock or "
                f"that of who made it is wrong, and calls stand at times that are; set both by NTP"
            )

    def _resume(self, connection: DuckDBPyConnection) -> None:
        """Finish the shipment of a process that was killed, if there is one."""
        if not self._database.exists():
            return
        with self._database.writing(connection):
            migrate(connection)
            shipment = self._outbox.load(connection)
        if shipment is not None:
            self._deliver(connection, shipment)

    def _take(self, connection: DuckDBPyConnection) -> Shipment | None:
        with self._database.writing(connection):
            shipment = self._outbox.fill(connection, self._id, self.report.shipments + 1)
            if shipment is None:
                left = connection.execute(f"SELECT EXISTS (FROM messages WHERE {UNUSED})").fetchone()
                self._has_unused = bool(left and left[0])  # of a writer that has ended since
                row = connection.execute("SELECT count(*) FROM calls").fetchone()
                self.report.held = int(row[0]) if row else 0
            return shipment

    def _deliver(self, connection: DuckDBPyConnection, shipment: Shipment) -> None:
        for name in SHAPES:
            if files := shipment.files.get(name):
                self._commit(name, shipment)
                self.report.bytes += sum(file.bytes for file in files)
        if shipment.replaced:
            self._storage.attach(connection)
            shop = Workshop(self._storage, connection, self._outbox.folder)
            remove_calls(self._tables["calls"], shop, shipment.replaced)
        self._outbox.clear()
        self.report.shipments += 1
        self.report.calls += shipment.calls

    def _commit(self, name: str, shipment: Shipment) -> None:
        """Put the files of a table in place and commit them, unless that is done already."""
        table, files = self._tables[name], shipment.files[name]
        change = TableChange(
            add=files, transaction=shipment.transaction, notes={"llm_trace.shipment": shipment.id}
        )
        for _ in range(_ATTEMPTS):
            table.load()
            if table.has_committed(shipment.transaction):
                return
            for file in files:
                self._storage.put(self._outbox.open_file(name, file), f"{name}/{file.path}")
            try:
                table.commit(change)
            except CommitConflictError:
                continue
            return
        raise StoreError(
            f"the table {name!r} of the lake {self.root!r} was changed by others all the time: ship again; "
            f"what was recorded stays here"
        )


def has_something_to_ship(database: Database) -> bool:
    """Say whether anything that was recorded for a lake may still be on this machine."""
    return database.file.exists() or bool(list_spool_files(database.lock_dir))
