"""The receiver's connections: time-outs for what a sender says, and room for those who say something.

uvicorn has a time-out between requests only, and its `limit_concurrency` counts idle connections too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

BACKLOG = 32
"""Connections that are accepted at once, before any of them can be told to go."""
_OTHER_FILES = 3 * BACKLOG + 24
"""Files to spare beside connections: new ones before old ones are closed, the spool, the interpreter."""
_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class ConnectionLimits:
    """How long the receiver waits for senders, and for how many of them."""

    head_s: float = 10.0
    """Seconds from a connection's first moment, or the end of its last request, to the end of the headers."""
    body_s: float = 60.0
    """Seconds from the end of the headers to the end of the body."""
    connections: int = 512
    """The most connections at once, and never more than the process may open files for."""

    @cached_property
    def most(self) -> int:
        """How many connections may be open."""
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room = self.connections if files == resource.RLIM_INFINITY else files - _OTHER_FILES
        return max(1, min(self.connections, max(8, room)))


class Connection(H11Protocol):
    """One connection; where there are too many, the one that has been silent longest goes.

    Args:
        patience: how long it may take.
    """

    def __init__(self, *args: Any, patience: ConnectionLimits = ConnectionLimits(), **more: Any) -> None:
        super().__init__(*args, **more)
        self.patience = patience
        self.since = 0.0
        """When the sender began to owe something, on the loop's clock."""
        self._owed: str | None = None
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.patience.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    @property
    def owed(self) -> str | None:
        """What the sender has not sent yet: the "head" of a request, its "body", or nothing."""
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        return "head" if self.conn.our_state is h11.IDLE else None

    def _wait(self) -> None:
        """Start the clock of what is owed next."""
        if self.transport.is_closing():
            self._forget()
        elif self.owed != self._owed:
            self._forget()
            self._owed, self.since = self.owed, self.loop.time()
            if self._owed is not None:
                wait = self.patience.head_s if self._owed == "head" else self.patience.body_s
                self._late = self.loop.call_later(wait, self._end)

    def _forget(self) -> None:
        self._owed = None
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        """Tell the sender that it is late, unless it has its answer, and go."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_LATE)
        self.transport.close()

    def _make_room(self) -> None:
        """Drop the connection that owes a head longest, else one that owes a body, else this one."""
        owing = [c for c in self.connections if isinstance(c, Connection) and c.owed and c is not self]
        first = min(owing, key=lambda c: (c.conn.our_state is h11.SEND_RESPONSE, c.since), default=self)
        self.connections.discard(first)
        first.transport.abort()


class Once(logging.Filter):
    """Lets each message through once per interval and adds how often it was left out since.

    Args:
        interval_s: seconds.
        clock: tells the seconds.
    """

    def __init__(self, interval_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.interval_s = interval_s
        self.clock = clock
        self._last: dict[tuple[int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key, now = (record.levelno, str(record.msg)[:200]), self.clock()
        last, left_out = self._last.get(key, (-self.interval_s, 0))
        if now - last < self.interval_s:
            self._last[key] = last, left_out + 1
            return False
        if len(self._last) >= 1_000:
            self._last.clear()
        self._last[key] = now, 0
        if left_out:
            record.msg = f"{record.msg} (and {left_out:,} times more in the last {now - last:.0f} s)"
        return True
