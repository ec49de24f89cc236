"""DuckDBs in memory, each used by one thread at a time; a few are kept for later questions.

Making one takes 25 ms, since it registers three thousand functions; attaching a store to it takes 2. Those
that are kept have no file open, no table, and the settings of a new one. They are closed before a fork, for
a child would have none of their threads, and none is kept that a query of the user's own may have changed,
whose question failed, or that spilled to disk.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import stat
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from duckdb import DuckDBPyConnection

MOST_QUESTIONS = 1_000
"""After so many a DuckDB is closed: each leaves some hundred bytes in it."""
MOST_SPARE = 4
"""DuckDBs that are kept: what a browser asks at a time, or one that is held with others beside it."""


class MemoryInstance:
    """A DuckDB for one question.

    Args:
        root: a connection to it with nothing attached.
        settings: those that only this question has.
    """

    def __init__(self, root: DuckDBPyConnection, settings: Mapping[str, Any]) -> None:
        self._root = root
        self._settings = settings
        self._pid = os.getpid()
        self.connection = self._connect()
        """The question's own: temporary tables and what is set for it alone end with it."""

    def _connect(self) -> DuckDBPyConnection:
        connection = self._root.cursor()
        hide_progress(connection)
        _open.add(connection)
        return connection

    @property
    def is_inherited(self) -> bool:
        """Whether it is a parent process's: asked in a child it would wait for threads that are not there."""
        return self._pid != os.getpid()

    def renew(self) -> bool:
        """Begin another question on what is attached; return whether that is possible: it is not spoiled."""
        if self.connection in _spoiled:
            return False
        self.connection.close()
        self.connection = self._connect()
        return True

    def give_back(self, database: str) -> None:
        """Detach a database, and keep the DuckDB for the next question unless it is spoiled."""
        if self.is_inherited:
            return
        try:
            self._root.execute(f"DETACH DATABASE IF EXISTS {database}")
            if self.connection in _spoiled:  # an answer may still be in it
                return
            self.connection.close()
            for name in self._settings:
                self._root.execute(f"RESET {name}")
        except get_duckdb_error():  # interrupted, or its temporary folder was used
            self.close()
            return
        _spare.keep(self._root)

    def close(self) -> None:
        """End it: what it had in memory is free."""
        if not self.is_inherited:
            self.connection.close()
            self._root.close()


def take(**settings: Any) -> MemoryInstance:
    """Return a DuckDB as `connect` makes it: one that was kept, if there is one."""
    root = _spare.take()
    if root is not None:
        try:  # DuckDB refuses another folder, even the same, where it has spilled into one
            _apply(root, {"temp_directory": _make_spill_folder(), **settings})
        except get_duckdb_error():
            root.close()
            root = None
    return MemoryInstance(connect(**settings) if root is None else root, settings)


@contextlib.contextmanager
def lend(database: str, **settings: Any) -> Iterator[DuckDBPyConnection]:
    """Give a DuckDB for as long as the body runs; `database` is what the body attaches and leaves."""
    instance = take(**settings)
    try:
        yield instance.connection
    except BaseException:
        instance.close()
        raise
    instance.give_back(database)


def spoil(connection: DuckDBPyConnection) -> None:
    """Say that the DuckDB of a connection is not to be used by another question."""
    _spoiled.add(connection)


def _apply(root: DuckDBPyConnection, settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        quoted = str(value).replace("'", "''")
        root.execute(f"SET {name} = '{quoted}'")


def connect(**config: Any) -> DuckDBPyConnection:
    """Return a new in-memory DuckDB without network access that spills into the temporary folder."""
    import duckdb

    settings = {
        "autoinstall_known_extensions": False,
        "temp_directory": _make_spill_folder(),
        **config,
    }
    connection = duckdb.connect(":memory:", config=settings)
    _open.add(connection)
    hide_progress(connection)
    with contextlib.suppress(duckdb.CatalogException):  # DuckDB 1 has no such setting
        # Write a row group when it is full, not five at a time.
        connection.execute("SET write_buffer_row_group_count = 1")
    return connection


@contextlib.contextmanager
def limit_time(connection: DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Stop the query of a connection that is not done in time; `None` lets it go on.

    Raises:
        StoreError: it was stopped.
    """
    if seconds is None:
        yield
        return
    late = threading.Event()

    def stop() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (get_duckdb_error(), RuntimeError) as exc:
        if not late.is_set():
            raise
        raise StoreError(
            f"the query took more than {seconds:g} s and was stopped: ask about fewer calls, or less of each"
        ) from exc
    finally:
        timer.cancel()


def interrupt_queries() -> None:
    """Stop the queries that run now in this process's other threads, with DuckDB's InterruptException."""
    open_now = list(_open)
    if not open_now:
        return
    import duckdb

    for connection in open_now:
        with contextlib.suppress(duckdb.ConnectionException):  # its own thread has closed it by now
            connection.interrupt()


def _make_spill_folder() -> str:
    """Return a private folder for what does not fit into memory; an empty text where there can be none."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    private = Path(tempfile.gettempdir()) / f"llm_trace-{user}"
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        status = private.lstat()
    except OSError:
        return ""
    is_private = stat.S_ISDIR(status.st_mode) and (
        os.name != "posix" or (status.st_uid, status.st_mode & 0o077) == (user, 0)
    )
    return str(private / f"{os.getpid()}.spill") if is_private else ""


def hide_progress(connection: DuckDBPyConnection) -> None:
    """Keep DuckDB from drawing a progress bar on the user's terminal; each cursor has its own setting."""
    import duckdb

    with contextlib.suppress(duckdb.InvalidInputException):  # a notebook without ipywidgets: there is no bar
        connection.execute("SET enable_progress_bar = false")


def close_files(connection: DuckDBPyConnection) -> None:
    """Keep a connection from all files but its store's, and from every setting that would open them again."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def get_duckdb_error() -> type[Exception]:
    """Return the class of all that DuckDB raises, which is imported only now."""
    import duckdb

    return duckdb.Error


class _Spare:
    """The DuckDBs that are kept for the next questions.

    Nobody waits for them: where another thread, or a fork, is at them, there are none.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._pid = os.getpid()
        self._questions = 0
        self._roots: list[DuckDBPyConnection] = []

    def take(self) -> DuckDBPyConnection | None:
        with self._try_lock() as is_mine:
            return self._roots.pop() if is_mine and self._roots else None

    def keep(self, root: DuckDBPyConnection) -> None:
        self._questions += 1
        with self._try_lock() as is_mine:
            if is_mine and self._questions % MOST_QUESTIONS and len(self._roots) < MOST_SPARE:
                self._roots.append(root)
                return
        root.close()

    def close(self) -> None:
        while (root := self.take()) is not None:
            root.close()

    @contextlib.contextmanager
    def _try_lock(self) -> Iterator[bool]:
        """Say whether the list is this thread's until the end."""
        if self._pid != os.getpid():  # a fork that Python does not know of
            self.start_anew()
        is_mine = self._mutex.acquire(blocking=False)
        try:
            yield is_mine
        finally:
            if is_mine:
                self._mutex.release()

    def begin_fork(self) -> None:
        """Close them, and let no other thread bring another one before the child is there."""
        self._mutex.acquire()
        while self._roots:
            self._roots.pop().close()

    def end_fork(self) -> None:
        self._mutex.release()

    def start_anew(self) -> None:
        """Have none, in a child."""
        _keep_inherited()
        self.__init__()  # type: ignore[misc]


def _keep_inherited() -> None:
    """Never free, in a child, what it inherits: that would wait for threads that it has not, and crash."""
    if inherited := list(_open):
        import ctypes

        for connection in inherited:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_open: weakref.WeakSet[DuckDBPyConnection] = weakref.WeakSet()
_spoiled: weakref.WeakSet[DuckDBPyConnection] = weakref.WeakSet()
_spare = _Spare()
atexit.register(_spare.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_spare.begin_fork, after_in_parent=_spare.end_fork, after_in_child=_spare.start_anew
    )
