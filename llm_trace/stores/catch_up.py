"""Decide whether anything is to be ingested, and where: little in this process, much in a child.

A child, because folding takes up to 400 MB, and the process that asks may be the traced one.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import llm_trace
from llm_trace import errors
from llm_trace.errors import ConfigurationError, StoreError, StoreVersionError
from llm_trace.pricing.price_file import VARIABLE
from llm_trace.spool.files import (
    FORMAT,
    SpoolFile,
    find_live_writers,
    is_needed,
    list_spool_files,
    read_positions_of_others,
)
from llm_trace.spool.losses import find_left_losses
from llm_trace.spool.paths import get_spool_dir
from llm_trace.stores.connection import Database
from llm_trace.stores.failure import clear_failure, note_failure
from llm_trace.stores.ingest import IngestReport, ingest
from llm_trace.stores.lake.database import LakeDatabase
from llm_trace.stores.lake.shipping import has_something_to_ship, ship
from llm_trace.stores.migrations import VERSION, read_version

IN_PROCESS_BYTES = 1 << 20
_ROOM_BYTES = 16 << 20
_log = logging.getLogger("llm_trace")


@dataclass(frozen=True)
class Pending:
    """What the spool holds that the store does not."""

    bytes: int = 0
    stale: bool = False
    """Whether an ingest has something else to do: a schema to migrate, interrupted calls to mark, files to
    delete, a purge to finish, a note of lost events to take.
    """

    def __bool__(self) -> bool:
        return self.bytes > 0 or self.stale


def count_pending(database: Database) -> Pending:
    """Return what an ingest would find now."""
    files = list_spool_files(database.lock_dir)
    left = find_left_losses(database.lock_dir, find_live_writers(files))
    if not database.exists():
        return Pending(sum(file.size for file in files), stale=bool(files or left))
    with database.reading() as connection:
        if read_version(connection) < VERSION:
            return Pending(sum(file.size for file in files), stale=True)
        positions = dict(connection.execute("SELECT file, position FROM _files").fetchall())
        opened = connection.execute("SELECT DISTINCT writer FROM _unfinished WHERE state = 'open'").fetchall()
        to_purge = connection.execute("SELECT file FROM _purge_later").fetchall()
    unread = sum(max(0, file.size - positions.get(file.name, 0)) for file in files)
    gone = {row[0] for row in opened} - find_live_writers(files)
    purgeable = {row[0] for row in to_purge} - {file.name for file in files if file.live}
    stale = bool(gone or purgeable or left) or _has_deletable(database.lock_dir, files, positions)
    return Pending(unread, stale)


def _has_deletable(folder: Path, files: list[SpoolFile], positions: dict[str, int]) -> bool:
    read = [f for f in files if not f.live and f.format <= FORMAT and positions.get(f.name, 0) >= f.size]
    if not read:
        return False
    cursors = read_positions_of_others(folder)
    return not all(is_needed(file, cursors) for file in read)


def catch_up(database: Database) -> Pending:
    """Ingest what there is; return, and log, what could not be: no right to write, or a full disk.

    Of a lake, what was recorded on this machine is shipped.
    """
    if isinstance(database, LakeDatabase):
        return _ship(database)
    pending = count_pending(database)
    if not pending:
        clear_failure(database.lock_dir)
        return pending
    if not is_writable(database):
        if not database.exists():
            raise StoreError(
                f"{str(database.path)!r} cannot be made from its spool: the folder cannot be written"
            )
        if pending.bytes:
            _log.warning(
                "%s cannot be written: %d bytes of its spool are not ingested and not shown",
                database.path,
                pending.bytes,
            )
        return pending
    try:
        if pending.bytes > IN_PROCESS_BYTES:
            ingest_in_child(database.path, timeout=database.timeout)
        else:
            ingest(database.path, timeout=database.timeout)
    except StoreError as exc:
        if not database.exists() or not _build_disk_full_error(database, pending):
            raise
        _log.warning("%s: %d bytes of the spool are not shown", exc, pending.bytes)
        return pending
    return Pending()


def _ship(database: LakeDatabase) -> Pending:
    """Ship what was recorded here for a lake; where it cannot be, the lake is read without."""
    if not has_something_to_ship(database):
        return Pending()
    try:
        ship(database.address, timeout=database.timeout)
    except StoreError as exc:
        if not database.exists():
            raise
        files = list_spool_files(database.lock_dir)
        pending = Pending(sum(file.size for file in files), stale=True)
        _log.warning("%s: %d bytes of the spool are not shown", exc, pending.bytes)
        return pending
    return Pending()


def _build_disk_full_error(database: Database, pending: Pending) -> bool:
    return shutil.disk_usage(database.file.parent).free < 2 * pending.bytes + _ROOM_BYTES


def is_writable(database: Database) -> bool:
    """Return whether this process may change store and spool."""
    places = [database.file.parent, database.lock_dir, database.file]
    return all(os.access(place, os.W_OK) for place in places if place.exists())


def ingest_in_child(path: Path, *, timeout: float) -> IngestReport:
    """Run `ingest` in a process of its own; raises what it raises."""
    command = [sys.executable, "-P", "-m", "llm_trace.stores.ingest", str(path), "--timeout", str(timeout)]
    source = str(Path(llm_trace.__file__).resolve().parents[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLM_TRACE_")}
    environment |= {VARIABLE: os.environ[VARIABLE]} if VARIABLE in os.environ else {}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [source, environment.get("PYTHONPATH")]))
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as exc:  # an embedded interpreter has no executable
        _log.info("llm_trace ingests in this process, for a child cannot be started: %s", exc)
        return ingest(path, timeout=timeout)
    try:
        answer = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        killed = StoreError(
            f"the ingest of {str(path)!r} ended with exit code {done.returncode}: {done.stderr[-2000:]}"
        )
        note_failure(get_spool_dir(path), killed)
        raise killed from None
    if "error" in answer:
        kind = getattr(errors, answer["error"], StoreError)
        if kind is ConfigurationError:  # of the price file
            raise kind(answer["message"])
        raise (kind if issubclass(kind, StoreError) else StoreVersionError)(answer["message"])
    return IngestReport(**answer)
