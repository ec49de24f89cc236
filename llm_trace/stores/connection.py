"""Connections to the DuckDB file, held only while a query runs.

Each has an in-memory DuckDB to itself with the file attached as `store`: a result can stay in memory after
the file is let go, nothing is shared between threads, and nothing open is inherited by a fork.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import TYPE_CHECKING, NamedTuple

from llm_trace.errors import StoreError, StoreLockedError, StoreVersionError
from llm_trace.stores.instances import MemoryInstance, close_files, get_duckdb_error, spoil, take
from llm_trace.stores.locks import Deadline, lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

ROW_GROUP = 8_192
# DuckDB keeps neither in the file, so every ATTACH that writes says them. Version 1.4 reads what newer ones
# write like this.
_OPTIONS = f"ROW_GROUP_SIZE {ROW_GROUP}, STORAGE_VERSION 'v1.4.0'"
# A write-ahead log would be readable by all. Nothing is lost without: the spool is kept until what it says is
# in the file.
_NO_LOG = "RECOVERY_MODE 'no_wal_writes'"


class Database:
    """The DuckDB file of one store and the locks around it.

    Args:
        path: absolute path of the DuckDB file, or of a link to it; the file that it leads to is `file`. What
            `open_store` finds it by is `address`.
        lock_dir: the spool folder, where the lock files are; none are made where it is absent.
        timeout: seconds to wait for whoever holds the file.
    """

    def __init__(self, path: Path, lock_dir: Path, timeout: float) -> None:
        self.path, self.address = path, str(path)
        self.file = path.resolve() if path.is_symlink() else path
        self.lock_dir = lock_dir
        self.timeout = timeout

    def exists(self) -> bool:
        """Return whether there is a file with something in it; an empty one is as good as none."""
        return self.file.exists() and self.file.stat().st_size > 0

    def read_state(self) -> tuple[object, int]:
        """Return what differs as soon as the file has changed, and its bytes."""
        files = (self.file, self.file.with_name(self.file.name + ".wal"))
        status = [file.stat() for file in files if file.exists()]
        state = tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in status)
        return state, sum(each.st_size for each in status)

    def close_files(self, connection: DuckDBPyConnection, query: str) -> None:  # noqa: ARG002
        """Keep a query from all files but the store's, which it cannot change."""
        close_files(connection)

    @contextlib.contextmanager
    def reading(self) -> Iterator[DuckDBPyConnection]:
        """Give a connection that sees the store as of now and cannot change it."""
        deadline = Deadline(self.timeout)
        with contextlib.ExitStack() as stack:
            with lock_path(self.lock_dir / "turn.lock", deadline, shared=True):
                stack.enter_context(lock_path(self.lock_dir / "store.lock", deadline, shared=True))
            with _readers.one_more(self.file) as reader:
                connection = reader.instance.connection
                if reader.is_attached:
                    connection.execute("USE store")
                else:
                    _attach(connection, self.file, deadline, "READ_ONLY")
                try:
                    yield connection
                except get_duckdb_error() as exc:
                    raise _build_unreadable_error(exc, self.path) from exc

    @contextlib.contextmanager
    def alone(self) -> Iterator[Deadline]:
        """Keep readers and other writers of llm_trace away from the file."""
        deadline = Deadline(self.timeout)
        with (
            lock_path(self.lock_dir / "turn.lock", deadline),
            lock_path(self.lock_dir / "store.lock", deadline),
        ):
            yield deadline

    @contextlib.contextmanager
    def writing(self, connection: DuckDBPyConnection) -> Iterator[None]:
        """Give `connection` the store, alone; it is made if absent. What is not committed is undone."""
        with self.alone() as deadline, self.attach(connection, deadline):
            yield

    @contextlib.contextmanager
    def attach(self, connection: DuckDBPyConnection, deadline: Deadline) -> Iterator[None]:
        """Give `connection` the store to write; the caller is alone."""
        if not self.exists():
            _make(connection, self.file)
        _attach(connection, self.file, deadline, write_options())
        try:
            yield
        except BaseException:  # what failed first is what is told: without memory a ROLLBACK may fail as well
            _try_statements(connection, "ROLLBACK", "USE memory", "DETACH store")
            raise
        _try_statements(connection, "ROLLBACK")
        connection.execute("USE memory")
        connection.execute("DETACH store")


def _try_statements(connection: DuckDBPyConnection, *statements: str) -> None:
    """Run statements, each whatever became of the one before."""
    for statement in statements:
        with contextlib.suppress(get_duckdb_error()):
            connection.execute(statement)


def _make(connection: DuckDBPyConnection, path: Path) -> None:
    """Make an empty DuckDB file that only its owner can read; a full disk leaves nothing behind."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    quoted = str(fresh).replace("'", "''")
    try:
        connection.execute(f"ATTACH '{quoted}' AS fresh ({write_options()})")
        connection.execute("DETACH fresh")
        fresh.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o600)
        fresh.replace(path)
    except get_duckdb_error() as exc:
        raise StoreError(f"{str(path)!r} cannot be made: {exc}") from exc
    finally:
        fresh.unlink(missing_ok=True)


def write_options() -> str:
    """Return the options of an ATTACH that writes."""
    import duckdb

    return _OPTIONS if duckdb.__version__.startswith("1.") else f"{_OPTIONS}, {_NO_LOG}"


def _attach(connection: DuckDBPyConnection, path: Path, deadline: Deadline, options: str) -> None:
    quoted = str(path).replace("'", "''")
    while True:
        try:
            connection.execute(f"ATTACH '{quoted}' AS store ({options})")
            break
        except get_duckdb_error() as exc:
            if not _is_held(exc):
                raise _explain_error(exc, path) from exc
            if deadline.is_over():
                raise StoreLockedError(_build_held_error(exc, path, deadline.seconds)) from exc
            deadline.pause()
    connection.execute("USE store")


def _is_held(exc: Exception) -> bool:
    return "Could not set lock" in str(exc) or "Unique file handle conflict" in str(exc)


def _build_held_error(exc: Exception, path: Path, seconds: float) -> str:
    match = re.search(r"\(PID (\d+)\)", str(exc))
    who = f"process {match[1]}" if match else "a DuckDB connection in this process"
    return (
        f"{str(path)!r} has been held by {who} for {seconds:g} s: close it there, or pass a longer timeout="
    )


def _explain_error(exc: Exception, path: Path) -> StoreError:
    text = str(exc)
    if "newer" in text or "version" in text.lower():
        return StoreVersionError(f"{str(path)!r} was written by another version of DuckDB: {text}")
    return StoreError(f"{str(path)!r} cannot be opened: {text}")


def _build_unreadable_error(exc: Exception, path: Path) -> StoreError:
    return StoreError(
        f"{str(path)!r} cannot be read, as if it were cut off or damaged: {exc}; put a copy in its place, "
        f"or move it away "
        "and what the spool still holds is read anew"
    )


class StoreReader(NamedTuple):
    """A DuckDB that is to answer a question."""

    instance: MemoryInstance
    is_attached: bool = False
    """Whether it still has the file: it has answered before, and another has been at the file since."""


class _Readers:
    """Counts this process's open readers, so that the file is let go of by all of them at once.

    POSIX drops every lock that a process has on a file as soon as it closes any descriptor of it: the first
    of two readers to finish would let a foreign writer in under the second.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        # Taken anew by a thread that has it, where garbage is collected that holds a store.
        self._mutex = threading.RLock()
        self._open: dict[str, set[MemoryInstance]] = {}
        self._parked: dict[str, list[MemoryInstance]] = {}

    @contextlib.contextmanager
    def one_more(self, path: Path) -> Iterator[StoreReader]:
        """Give a DuckDB; let go of the file after the body, or when the last reader beside it ends."""
        key = str(path)
        reader = self._begin(key)
        instance = reader.instance
        try:
            yield reader
        except BaseException:
            spoil(instance.connection)
            raise
        finally:
            if not instance.is_inherited:
                self._end(key, instance)

    def _begin(self, key: str) -> StoreReader:
        with self._mutex:
            parked = self._parked.get(key, [])
            place = next((i for i, instance in enumerate(parked) if instance.renew()), None)
            if place is not None:
                reader = StoreReader(parked.pop(place), is_attached=True)
                self._open[key].add(reader.instance)
                return reader
        instance = take()
        with self._mutex:
            self._open.setdefault(key, set()).add(instance)
        return StoreReader(instance)

    def _end(self, key: str, instance: MemoryInstance) -> None:
        # A transaction that a query of the user's own began would keep the file.
        _try_statements(instance.connection, "COMMIT", "USE memory")
        with self._mutex:
            self._parked.setdefault(key, []).append(instance)
            self._open[key].discard(instance)
            if not self._open[key]:
                del self._open[key]
                for parked in self._parked.pop(key):
                    parked.give_back("store")


_readers = _Readers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_readers.reset)
