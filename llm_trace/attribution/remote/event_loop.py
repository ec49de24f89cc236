"""From synchronous estimators to asynchronous calls, for `attribute` and `attribute_async`."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")
_current: ContextVar[Bridge | None] = ContextVar("llm_trace.bridge", default=None)


def get_bridge() -> Bridge:
    """Return the bridge of the `attribute_async` that this runs in, else one with a loop of its own."""
    return _current.get() or Bridge()


class Bridge:
    """Runs coroutines for code that waits for them in another thread.

    Args:
        loop: the loop that runs them; without one a loop in a thread of its own, from `with` to its end.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.stopped = threading.Event()
        """Set when nobody waits for the result any more: no further call is begun."""
        self._own = loop is None
        self._loop = loop or asyncio.new_event_loop()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let attributions that begin inside the block, in threads too, run their calls here."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def __enter__(self) -> Self:
        if self._own:
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="llm-trace-remote", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self.run(self._loop.shutdown_asyncgens())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns; an interrupt stops it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            self.stopped.set()
            future.cancel()
            raise
