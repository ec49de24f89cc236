"""Connections to the DuckDB file, held only while a query runs.

Each is an in-memory DuckDB of its own with the file attached as `store`: a result can stay in memory after the file is let go,
nothing is shared between threads, and nothing open is inherited by a fork.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.errors import StoreError, StoreLockedError, StoreVersionError
from llm_trace.stores.locks import Deadline, locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

ROW_GROUP = 8_192
# DuckDB keeps neither in the file, so every ATTACH that writes says them. Version 1.4 reads what newer ones write like this.
WRITE_OPTIONS = f"ROW_GROUP_SIZE {ROW_GROUP}, STORAGE_VERSION 'v1.4.0'"


class Database:
    """The DuckDB file of one store and the locks around it.

    Args:
        path: absolute path of the DuckDB file.
        lock_dir: the spool folder, where the lock files are; none are made where it is absent.
        timeout: seconds to wait for whoever holds the file.
    """

    def __init__(self, path: Path, lock_dir: Path, timeout: float) -> None:
        self.path = path
        self.lock_dir = lock_dir
        self.timeout = timeout

    @contextlib.contextmanager
    def reading(self) -> Iterator[DuckDBPyConnection]:
        """Give a connection that sees the store as of now and cannot change it."""
        deadline = Deadline(self.timeout)
        with contextlib.ExitStack() as stack:
            with locked(self.lock_dir / "turn.lock", deadline, shared=True):
                stack.enter_context(locked(self.lock_dir / "store.lock", deadline, shared=True))
            connection = connect()
            with _readers.one_more(self.path, connection):
                _attach(connection, self.path, deadline, read_only=True)
                yield connection

    @contextlib.contextmanager
    def alone(self) -> Iterator[Deadline]:
        """Keep readers and other writers of llm_trace away from the file."""
        deadline = Deadline(self.timeout)
        with (
            locked(self.lock_dir / "turn.lock", deadline),
            locked(self.lock_dir / "store.lock", deadline),
        ):
            yield deadline

    @contextlib.contextmanager
    def writing(self, connection: DuckDBPyConnection) -> Iterator[None]:
        """Give `connection` the store, alone; the file is made if absent. What was not committed is taken back."""
        with self.alone() as deadline, self.attached(connection, deadline):
            yield

    @contextlib.contextmanager
    def attached(self, connection: DuckDBPyConnection, deadline: Deadline) -> Iterator[None]:
        """Give `connection` the store to write; the caller is alone."""
        _attach(connection, self.path, deadline, read_only=False)
        try:
            yield
        finally:
            with contextlib.suppress(_duckdb_error()):
                connection.execute("ROLLBACK")
            connection.execute("USE memory")
            connection.execute("DETACH store")


def connect(**config: Any) -> DuckDBPyConnection:
    """Return a new in-memory DuckDB that loads nothing from the network and spills into the temporary folder."""
    import duckdb

    settings = {
        "autoinstall_known_extensions": False,
        "temp_directory": str(Path(tempfile.gettempdir()) / f"llm_trace-{os.getpid()}.spill"),
        **config,
    }
    connection = duckdb.connect(":memory:", config=settings)
    quiet(connection)
    with contextlib.suppress(duckdb.CatalogException):  # DuckDB 1 has no such setting
        connection.execute(
            "SET write_buffer_row_group_count = 1"
        )  # write a row group when it is full, not five at a time
    return connection


def quiet(connection: DuckDBPyConnection) -> None:
    """Keep DuckDB from drawing a progress bar on the user's terminal; each cursor has the setting for itself."""
    connection.execute("SET enable_progress_bar = false")


def _duckdb_error() -> type[Exception]:
    import duckdb

    return duckdb.Error


def _attach(connection: DuckDBPyConnection, path: Path, deadline: Deadline, *, read_only: bool) -> None:
    quoted = str(path).replace("'", "''")
    options = "READ_ONLY" if read_only else WRITE_OPTIONS
    while True:
        try:
            connection.execute(f"ATTACH '{quoted}' AS store ({options})")
            break
        except _duckdb_error() as exc:
            if not _is_held(exc):
                raise _explained(exc, path) from exc
            if deadline.passed():
                raise StoreLockedError(_held_by(exc, path, deadline.seconds)) from exc
            deadline.pause()
    connection.execute("USE store")


def _is_held(exc: Exception) -> bool:
    return "Could not set lock" in str(exc) or "Unique file handle conflict" in str(exc)


def _held_by(exc: Exception, path: Path, seconds: float) -> str:
    found = re.search(r"\(PID (\d+)\)", str(exc))
    who = f"process {found[1]}" if found else "a DuckDB connection in this process"
    return (
        f"{str(path)!r} has been held by {who} for {seconds:g} s: close it there, or pass a longer timeout="
    )


def _explained(exc: Exception, path: Path) -> StoreError:
    text = str(exc)
    if "newer" in text or "version" in text.lower():
        return StoreVersionError(f"{str(path)!r} was written by another version of DuckDB: {text}")
    return StoreError(f"{str(path)!r} cannot be opened: {text}")


class _Readers:
    """Counts this process's open readers, so that the file is let go of by all of them at once.

    POSIX drops every lock that a process has on a file as soon as it closes any descriptor of it: the first of two readers
    to finish would let a foreign writer in under the second.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._mutex = threading.Lock()
        self._open: dict[str, int] = {}
        self._parked: dict[str, list[DuckDBPyConnection]] = {}

    @contextlib.contextmanager
    def one_more(self, path: Path, connection: DuckDBPyConnection) -> Iterator[None]:
        """Let go of the file after the body, or when the last reader beside it ends."""
        key = str(path)
        with self._mutex:
            self._open[key] = self._open.get(key, 0) + 1
        try:
            yield
        finally:
            connection.execute("USE memory")
            with self._mutex:
                self._parked.setdefault(key, []).append(connection.cursor())
                self._open[key] -= 1
                if not self._open[key]:
                    del self._open[key]
                    for parked in self._parked.pop(key):
                        parked.execute("DETACH DATABASE IF EXISTS store")
                        parked.close()


_readers = _Readers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_readers.reset)
