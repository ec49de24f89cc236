"""Hold back the events of a trace that sampling left out, until it is known whether a call in it failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.capture.protocols import Sink

_MAX_BYTES = 8 << 20


class Tail:
    """Buffers a trace's events: written once a call fails, forgotten when the last open call has ended."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._events: list[tuple[bytes, Sequence[Any] | None, bytes]] = []
        self._when_kept: list[Callable[[], None]] = []
        self._bytes = 0
        self._open = 0
        self._kept = False
        self._lock = threading.RLock()

    def enter(self) -> None:
        """A call of the trace begins."""
        with self._lock:
            self._open += 1

    def write(
        self,
        event: bytes,
        messages: Sequence[Any] | None = None,
        *,
        field: bytes = b"messages_in",
        sync: bool = False,
    ) -> bool:
        """Hold an event, or pass it on once the trace is kept."""
        with self._lock:
            if self._kept:
                return self._sink.write(event, messages, field=field, sync=sync)
            self._bytes += len(event) + 1000 * len(messages or ())
            if (
                self._bytes > _MAX_BYTES
            ):  # too much to hold back: rather keep a trace too many than lose a failure
                self._keep()
                return self._sink.write(event, messages, field=field, sync=sync)
            self._events.append((event, messages, field))
            return True

    def leave(self, *, failed: bool, then: Callable[[], None] | None = None) -> None:
        """A call of the trace has ended.

        Args:
            then: done once the trace is kept, so that whoever it asks finds the call's events.
        """
        with self._lock:
            self._open -= 1
            if then is not None:
                self._when_kept.append(then)
            if failed:
                self._keep()
            elif self._open == 0 and not self._kept:
                self._events.clear()
                self._when_kept.clear()
                self._bytes = 0
            ready = self._take_ready()
        for action in ready:  # outside the lock: it may take long and trace calls of its own
            action()

    def _take_ready(self) -> list[Callable[[], None]]:
        ready = self._when_kept if self._kept else []
        self._when_kept = [] if self._kept else self._when_kept
        return ready

    def _keep(self) -> None:
        self._kept = True
        for event, messages, field in self._events:
            self._sink.write(event, messages, field=field)
        self._events.clear()
