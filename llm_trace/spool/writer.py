"""Append events to this process's spool file, whole lines at a time, correct after fork, never an exception.

What cannot be written is counted by reason and logged once; as soon as writing works again a `lost` event
says how many.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from llm_trace.spool.losses import LossNote
from llm_trace.spool.messages import EncodeBodies, MessageTable, encode_plain
from llm_trace.spool.new_file import begin_file

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
Fsync = Literal["call", "interval"]

_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has only fsync
_log = logging.getLogger("llm_trace")
_COPY_BYTES = 8192
_RETRY_NS = 1_000_000_000
_CHECK_NS = 1_000_000
_writers: weakref.WeakSet[SpoolWriter] = weakref.WeakSet()


class SpoolLine(NamedTuple):
    """One event to be written, as `SpoolWriter.write` takes it."""

    event: bytes
    messages: Sequence[Any] | None = None
    field: bytes = b"messages_in"


class SpoolWriter:
    """Appends lines to `<folder>/<writer>.<seq>.jsonl`; safe for threads, signal handlers and forks.

    Args:
        folder: the spool folder, made when first needed.
        encode: turns numbered messages into JSON.
        max_file_bytes: a file that has grown beyond this is left and the next one begun.
        fsync: `"call"` syncs to the disk after each event that ends a call, `"interval"` once a second.
        exporters: names of the destinations that the events are for; `None`: any.
    """

    def __init__(
        self,
        folder: Path,
        *,
        encode: EncodeBodies = encode_plain,
        max_file_bytes: int = 64 << 20,
        fsync: Fsync | None = None,
        exporters: Sequence[str] | None = None,
    ) -> None:
        self.folder = folder
        self.exporters = exporters
        self._encode = encode
        self.max_file_bytes = max_file_bytes
        self.fsync = fsync
        self._stop = threading.Event()
        self._reset()
        _writers.add(self)
        if fsync == "interval":
            self._start_syncing()

    def _reset(self) -> None:
        self._lock = threading.RLock()  # reentrant: a signal handler or finaliser may trace too
        self._id = os.urandom(8).hex()
        self._seq = 0
        self._fd = -1
        self._device = self._inode = 0
        self._size = 0
        self._torn = False
        self._retry_at = 0
        self._check_at = 0
        self._messages = MessageTable(self._encode)
        self._logged: set[str] = set()
        self._unreported = 0
        self._note = LossNote()
        self.written = 0
        self.lost: Counter[str] = Counter()

    def write(
        self,
        event: bytes,
        messages: Sequence[Any] | None = None,
        *,
        field: bytes = b"messages_in",
        sync: bool = False,
    ) -> bool:
        """Append one event; return whether it is in the file.

        Args:
            event: a JSON object without its closing brace.
            messages: the call's messages, dicts with a `role`; one that is in this file already is only
                referred to.
            field: where the references to them go, `messages_in` or `messages_out`.
            sync: this event ends a call, so `fsync="call"` applies.
        """
        with self._lock:
            try:
                if self._fd < 0 or (time.monotonic_ns() > self._check_at and self._is_gone()):
                    self._open()
                elif self._size > self.max_file_bytes:
                    self._rotate()
                if messages:
                    self._append_pieces((event, *self._messages.fields(field, messages), b"}\n"))
                else:
                    self._append(event + b"}\n")
                if sync and self.fsync == "call":
                    _fdatasync(self._fd)
            except OSError as exc:
                if exc.errno == errno.EBADF and self._fd >= 0:  # closed by the program
                    self._fd = -1
                    return self.write(event, messages, field=field, sync=sync)
                self._lose(exc)
                return False
            self.written += 1
            if self._unreported:
                self._report_lost()
            return True

    def write_all(self, lines: Sequence[SpoolLine]) -> bool:
        """Append the events of calls that are over with one `write`; return whether all are in the file.

        Where they are not, the caller has them still and gives them again: none is lost, repeats do no harm.
        """
        with self._lock:
            try:
                if self._is_gone():
                    self._open()
                elif self._size > self.max_file_bytes:
                    self._rotate()
                self._append(b"".join(piece for line in lines for piece in self._pieces(line)))
                if self.fsync == "call":
                    _fdatasync(self._fd)
            except OSError as exc:
                self._messages.clear()  # what these events said may not be in the file
                self._warn_once(exc, "what comes is sent back")
                return False
            self.written += len(lines)
            self._logged.clear()
            if self._unreported:
                self._report_lost()
            return True

    def _is_gone(self) -> bool:
        """Return whether there is no file to write to: none is open, its folder was removed, or its
        descriptor is another's.

        A program may close descriptors it knows nothing of (`os.closerange`), and another file may get the
        number later. `write` asks a millisecond after the last answer at the earliest: the system call takes
        as long as the rest of a small event.
        """
        if self._fd < 0:
            return True
        self._check_at = time.monotonic_ns() + _CHECK_NS
        try:
            status = os.fstat(self._fd)
        except OSError:
            self._fd = -1
            return True
        if status.st_ino != self._inode or status.st_dev != self._device:
            self._fd = -1  # neither written to nor closed: it is not ours
            return True
        return status.st_nlink == 0

    def _pieces(self, line: SpoolLine) -> tuple[bytes, ...]:
        if not line.messages:
            return line.event, b"}\n"
        return line.event, *self._messages.fields(line.field, line.messages), b"}\n"

    def _append_pieces(self, pieces: tuple[bytes, ...]) -> None:
        """Append a line given in pieces; a long one is not copied together first."""
        size = sum(map(len, pieces))
        if size < _COPY_BYTES or self._torn:
            self._append(b"".join(pieces))
        elif (done := os.writev(self._fd, pieces)) == size:
            self._size += size
        else:  # a full disk took a part
            self._size += done
            self._torn = done > 0
            self._append(b"".join(pieces)[done:], continues=True)

    def _append(self, line: bytes, *, continues: bool = False) -> None:
        if self._torn and not continues:
            line = b"\n" + line
        done = os.write(self._fd, line)
        self._size += done
        while done < len(line):  # a full disk takes a part
            self._torn = True
            part = os.write(self._fd, line[done:])
            if part == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += part
            done += part
        self._torn = False

    def _open(self) -> None:
        """Begin the next file (named, locked, with its header) before anyone sees it; then close the last."""
        now = time.time_ns()
        if now < self._retry_at:
            raise BlockingIOError(errno.EAGAIN, "waiting before the spool is opened again")
        self._retry_at = now + _RETRY_NS
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self.folder / f"{self._id}.{self._seq + 1:08d}.jsonl"
        header = self._header(now)
        fd = begin_file(name, header)
        self._is_gone()
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._seq, self._size, self._torn = fd, self._seq + 1, len(header), False
        status = os.fstat(fd)
        self._device, self._inode = status.st_dev, status.st_ino
        self._messages = MessageTable(self._encode)
        self._retry_at = 0

    def _rotate(self) -> None:
        try:
            self._open()
        except OSError as exc:  # no room for a new file: the old one still takes lines
            _log.debug("llm_trace keeps writing to a large file: %s", exc)

    def _header(self, now: int) -> bytes:
        from llm_trace.version import __version__

        header: dict[str, Any] = {
            "event": "file",
            "format": FORMAT,
            "writer": self._id,
            "pid": os.getpid(),
            "host": os.uname().nodename if hasattr(os, "uname") else "",
            "version": __version__,
            "time_ns": now,
        }
        if self.exporters is not None:
            header["exporters"] = list(self.exporters)
        return orjson.dumps(header) + b"\n"

    def _lose(self, exc: OSError) -> None:
        waiting = isinstance(exc, BlockingIOError) and self._logged
        reason = (
            next(reversed(self.lost), "EAGAIN") if waiting else errno.errorcode.get(exc.errno or 0, "OSError")
        )
        self.lost[reason] += 1
        self._unreported += 1
        self._unreported -= self._note.write(self.folder, self._id, self._unreported, self.lost)
        self._messages.clear()  # what this event said may not be in the file
        self._warn_once(exc, "calls are being lost and counted")

    def _warn_once(self, exc: OSError, fate: str) -> None:
        reason = errno.errorcode.get(exc.errno or 0, "OSError")
        if reason not in self._logged and not (isinstance(exc, BlockingIOError) and self._logged):
            self._logged.add(reason)
            _log.warning("llm_trace cannot write to %s (%s): %s", self.folder, exc, fate)

    def _report_lost(self) -> None:
        count, self._unreported = self._unreported - self._note.count_taken(), 0
        if count == 0:
            return
        reasons = ", ".join(sorted(self.lost))
        self._logged.clear()
        if not self.write(
            b'{"event":"lost","count":%d,"reason":"%b","time_ns":%d'
            % (count, reasons.encode(), time.time_ns())
        ):
            self._unreported += count - 1
            self._note.write(self.folder, self._id, self._unreported, self.lost)
        else:
            self._note.remove()

    def _start_syncing(self) -> None:
        threading.Thread(
            target=self._sync_every_second, args=(self._stop,), name="llm_trace-fsync", daemon=True
        ).start()

    def _sync_every_second(self, stop: threading.Event) -> None:
        synced = -1
        while not stop.wait(1.0):
            if synced != self._size:
                synced = self._size
                self.sync()

    def sync(self) -> bool:
        """Force what was written onto the disk; return whether that worked."""
        with self._lock:
            try:
                self._is_gone()
                if self._fd >= 0:
                    _fdatasync(self._fd)
            except OSError as exc:
                _log.warning("llm_trace cannot sync %s: %s", self.folder, exc)
                return False
            return True

    def close(self) -> None:
        """Let go of the file; a later `write` begins a new one as a new writer."""
        self._stop.set()
        with self._lock:
            self._is_gone()
            if self._fd >= 0:
                if self.fsync:
                    self.sync()
                os.close(self._fd)
            self._fd = -1
            self._id, self._seq = os.urandom(8).hex(), 0

    def after_fork(self) -> None:
        """Begin anew as another writer; runs in the child of a fork."""
        self._is_gone()
        if self._fd >= 0:
            os.close(self._fd)  # the lock is the parent's; the child's copy would keep it alive
        self._reset()
        if self.fsync == "interval":
            self._stop = threading.Event()
            self._start_syncing()


def _restart_after_fork() -> None:
    for writer in list(_writers):
        writer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_after_fork)
