"""Locks between processes: who ingests, and whose turn the DuckDB file is.

DuckDB lets one process write or many read, and answers everybody else with an error; nobody queues. Here
readers and the ingester take turns first, on two small files in the spool folder: a reader passes `turn.lock`
and holds `store.lock` shared while its query runs; the ingester keeps `turn.lock`, so that no new reader gets
in, until those before it have left. The operating system drops the locks of a process that dies.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from llm_trace.errors import StoreLockedError
from llm_trace.spool.files import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows: only DuckDB's own lock stands between processes, and is waited for
    fcntl = None  # type: ignore[assignment]

FIRST_PAUSE = 0.001
LONGEST_PAUSE = 0.05


class Deadline:
    """A moment after which waiting ends with an error.

    Args:
        seconds: how long to wait in all.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._pause = FIRST_PAUSE

    def is_over(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() >= self._end

    def pause(self) -> None:
        """Sleep a little, longer each time, never past the end."""
        time.sleep(max(0.0, min(self._pause, self._end - time.monotonic())))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)


@contextlib.contextmanager
def lock_path(path: Path, deadline: Deadline, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file at `path`.

    Where the file can be neither made nor opened (a read-only folder without one) there is nobody to take
    turns with, and nothing is held.

    Raises:
        StoreLockedError: others held it until the deadline; names the process if known.
    """
    handle = None if fcntl is None else _open(path)
    if handle is None:
        yield
        return
    owner = os.getpid()
    try:
        while not try_lock(handle, shared=shared):
            if deadline.is_over():
                raise StoreLockedError(_hold(path, handle, deadline.seconds))
            deadline.pause()
        if not shared:
            _sign(handle)
        try:
            yield
        finally:
            if os.getpid() == owner:  # not only close: a fork made meanwhile has the descriptor too
                fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        pass
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _sign(handle: int) -> None:
    """Write our pid into the lock file, for the error message of those who wait."""
    with contextlib.suppress(OSError):  # opened read-only
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d" % os.getpid(), 0)


def _hold(path: Path, handle: int, seconds: float) -> str:
    pid = os.pread(handle, 20, 0).decode("ascii", "replace") or "?"
    return (
        f"{str(path)!r} has been held by process {pid} for {seconds:g} s: wait for it, end it, or pass a "
        "longer timeout="
    )
