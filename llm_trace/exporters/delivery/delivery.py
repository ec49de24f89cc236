"""Carry the spool to one destination: read a batch, send it, and only then move the cursor."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

import orjson

from llm_trace.exporters.delivery.cursor import Claim, Cursor, get_cursor_path
from llm_trace.exporters.delivery.reader import Group, Reader
from llm_trace.exporters.delivery.rejected import Rejected
from llm_trace.exporters.delivery.status import DestinationStatus
from llm_trace.exporters.delivery.transport import DestinationRefusedError, Patience, Sender, StoppedError

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.exporters.protocol import Event, Exporter
    from llm_trace.spool.files import SpoolFile

_log = logging.getLogger("llm_trace")

_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.02, 0.5
_ASK_AGAIN_S = 60.0
"""How long a destination that refuses everything is left alone."""
_MOST_BATCH = 8 << 20
_UNKNOWN_SIZE = 4096
_ALIVE_NS = 3600 * 10**9
"""How often a cursor is renewed while nothing happens, so that it does not count as abandoned."""


class Delivery:
    """Delivers to one destination, at least once, in the order in which things were written.

    Args:
        folder: the spool folder.
        exporter: the destination.
        patience: how long to wait for what.
        settings: digest of how it delivers, so that it leaves when `configure` wants it otherwise; `None`: it
            stays.
        every: deliver also what processes recorded that were not configured with this destination.
    """

    def __init__(
        self,
        folder: Path,
        exporter: Exporter,
        *,
        patience: Patience | None = None,
        settings: str | None = None,
        every: bool = False,
    ) -> None:
        self.name = exporter.name
        self.moved = time.monotonic()
        """When something was last delivered."""
        self.quiet = False
        """Whether the last look found nothing that could be delivered."""
        self._folder = folder
        self._exporter = exporter
        self._stop = threading.Event()
        path = get_cursor_path(folder, exporter.name)
        self._every = every
        self._claim = Claim(path, settings)
        self._rejected = Rejected(path)
        self._status = DestinationStatus(path)
        self._sender = Sender(
            exporter, set_aside=self._set_aside, say=self._say, stop=self._stop, patience=patience
        )
        self._begin()

    def _begin(self) -> None:
        """Go back to what is delivered for certain."""
        self._cursor = Cursor.load(self._folder, self.name)
        self._cursor.every = self._every
        self._reader = Reader(self._folder, self._cursor, whole_traces=self._exporter.whole_traces)

    def claim(self) -> bool:
        """Return whether this process is the one that delivers to the destination; what another has
        delivered is taken over.
        """
        if not self._claim.take():
            return False
        self._restart()
        self._cursor.revive(time.time_ns())
        return True

    def takes(self, file: SpoolFile) -> bool:
        """Return whether the events of a spool file are for this destination."""
        return self._cursor.takes(file)

    @property
    def unwanted(self) -> bool:
        """Whether a later `configure` has taken the destination out, or given it other settings."""
        return self._claim.unwanted

    def _restart(self) -> None:
        self._reader.close()
        self._begin()

    def run(self) -> None:
        """Deliver until `stop`."""
        pause = _FIRST_LOOK_S
        while not self._stop.is_set():
            pause = _FIRST_LOOK_S if self.step() else min(pause * 1.5, _LONGEST_LOOK_S)
            self._stop.wait(_ASK_AGAIN_S if self._status.refused else pause)

    def stop(self) -> None:
        """Make `run` return, also from the middle of waiting for an answer."""
        self._stop.set()

    def close(self) -> None:
        """Let another process go on."""
        self._reader.close()
        self._sender.close()
        self._claim.release()

    def step(self) -> bool:
        """Deliver what the spool holds now; return whether there was anything. Failures are said, and
        tried again next time.
        """
        try:
            advanced = self._pass()
        except StoppedError:
            advanced = True
        except DestinationRefusedError as exc:
            self._say(str(exc), refused=True)
            self.quiet, advanced = True, False
        except Exception as exc:  # noqa: BLE001  a full disk, a lost folder: all is kept, and tried again
            self._say(f"{type(exc).__name__}: {exc}")
            self._stop.wait(_LONGEST_LOOK_S)
            advanced = True
        else:
            self.quiet = not advanced
            return advanced
        self._restart()
        return advanced

    def _pass(self) -> bool:
        if self._rejected.is_asked():
            self.retry_rejected()
        before = (dict(self._cursor.read), len(self._cursor.waiting))
        batch: list[Group] = []
        count = size = 0
        advanced = False
        for group in self._reader.groups():
            if not group:  # what was read lately completes nothing
                self._save_place(batch)
                batch, count, size = [], 0, 0
                continue
            batch.append(group)
            advanced = True
            count += len(group)
            size += sum(map(_measure_size, group))
            if count >= self._exporter.max_events or size >= min(self._exporter.max_bytes, _MOST_BATCH):
                self._send(batch)
                batch, count, size = [], 0, 0
        if batch:
            self._send(batch)
        moved = before != (self._cursor.read, len(self._cursor.waiting))
        if moved or time.time_ns() - self._cursor.time_ns > _ALIVE_NS:
            self._cursor.save()
        return advanced

    def _save_place(self, batch: list[Group]) -> None:
        """Send what waits, and save where reading is; leave there if asked to."""
        if batch:
            self._send(batch)
        else:
            self._cursor.save()
        if self._stop.is_set():
            raise StoppedError

    def _send(self, batch: list[Group]) -> None:
        if self.unwanted:  # asked after reading: nothing that was recorded since is in the batch otherwise
            raise StoppedError
        sent = self._sender.send(batch)
        self._cursor.delivered += sent.delivered
        self._cursor.rejected += sent.rejected
        self._cursor.save()
        self.moved = time.monotonic()
        if self._status.refused:
            self._say("")

    def retry_rejected(self) -> tuple[int, int]:
        """Send again what was set aside; return how many were delivered and how many refused once more.

        Raises:
            RefusedError: the destination takes nothing; all is kept.
        """
        events = self._rejected.take()
        try:
            sent = self._sender.send(self._group_events(events))
        except BaseException:
            self._rejected.put_back()
            raise
        self._rejected.forget()
        self._rejected.finish_retry()
        self._cursor.delivered += sent.delivered
        self._cursor.rejected = max(0, self._cursor.rejected - len(events) + sent.rejected)
        self._cursor.save()
        return sent.delivered, sent.rejected

    def _group_events(self, events: list[Event]) -> list[Group]:
        """Return events as groups of what must stay together."""
        groups: dict[str, Group] = {}
        for event in events:
            together = self._exporter.whole_traces and event.kind == "call"
            groups.setdefault(str(event.data.get("trace_id")) if together else event.id, []).append(event)
        return list(groups.values())

    def _set_aside(self, event: Event, reason: str) -> None:
        self._rejected.add(event, reason)
        self._say(f"a {event.kind} was refused and set aside: {reason}")

    def _say(self, reason: str, *, refused: bool = False) -> None:
        if reason and reason != self._status.reason:
            _log.warning("llm_trace, %s: %s", self.name, reason)
        with contextlib.suppress(OSError):  # a full disk: the next one says more
            self._status.write(reason, refused=refused)


def _measure_size(event: Event) -> int:
    try:
        return len(orjson.dumps(event.data))
    except TypeError:  # integers of more than 64 bits
        return _UNKNOWN_SIZE
