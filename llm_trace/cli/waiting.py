"""What takes long: a time limit, and progress on stderr where that is a terminal."""

import _thread
import contextlib
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from llm_trace.cli.output import INTERRUPTED, make_notes_console
from llm_trace.errors import LLMTraceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_TRIES, _PAUSE_S = 50, 0.05
_AGAIN_S = 5.0
_stops = 0
"""How often the main thread has stopped."""


@contextlib.contextmanager
def hear_ctrl_c() -> "Iterator[None]":
    """Let Ctrl-C and a time limit stop a query (main thread): DuckDB heeds no signal while it computes."""
    heard, hearing = socket.socketpair()
    heard.setblocking(False)
    before = signal.set_wakeup_fd(heard.fileno(), warn_on_full_buffer=False)
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else ignored, in the background of a shell
        signal.signal(signal.SIGINT, _stop)
    threading.Thread(target=_interrupt_queries, args=[hearing], daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.set_wakeup_fd(before)
        heard.close()


def _stop(number: int, frame: "FrameType | None") -> None:
    global _stops
    _stops += 1
    signal.default_int_handler(number, frame)


def _interrupt_queries(signals: socket.socket) -> None:
    """Interrupt DuckDB at each Ctrl-C until the main thread has stopped: a query that begins ignores it."""
    known = 0
    while numbers := signals.recv(1024):
        if signal.SIGINT not in numbers:
            continue
        from llm_trace.stores.instances import interrupt_queries

        for _ in range(_TRIES):
            time.sleep(_PAUSE_S)
            if _stops != known:  # what tidies up now goes to its end
                break
            interrupt_queries()
        known = _stops
    signals.close()


@contextlib.contextmanager
def stop_at_interrupt() -> "Iterator[None]":
    """Take Ctrl-C as the end."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    except RuntimeError as exc:
        if str(exc) != INTERRUPTED:
            raise


def run_limited(seconds: float | None, work: "Callable[[], None]") -> None:
    """Call a function and stop it after that many seconds, as Ctrl-C does; for the main thread.

    Raises:
        LLMTraceError: the time was up.
    """
    if seconds is None:
        work()
        return
    up, left = threading.Event(), threading.Event()
    before = signal.getsignal(signal.SIGINT)
    ignored = not callable(before)  # in the background of a shell: nothing could stop a query
    if ignored:
        signal.signal(signal.SIGINT, _stop)

    def stop() -> None:
        up.set()
        while not left.is_set():
            _thread.interrupt_main()
            left.wait(_AGAIN_S)  # Python drops what is raised in a destructor or a weak reference's callback

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        try:
            work()
        finally:  # a signal on its way arrives before the end of this
            left.set()
            timer.cancel()
            timer.join()
    except (KeyboardInterrupt, Exception) as exc:
        if not up.is_set():
            raise
        raise LLMTraceError(
            f"the time limit of {seconds:g} s is over: raise --time-limit, or take fewer calls by --limit"
        ) from exc
    finally:
        if ignored and before is not None:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def show_progress(doing: str, *, quiet: bool = False) -> "Iterator[Callable[[int], None]]":
    """Give a function that shows how many calls are done."""
    if quiet:
        yield lambda _: None
        return
    with make_notes_console().status(doing) as status:
        yield lambda count: status.update(f"{doing}: {count:,} calls")
