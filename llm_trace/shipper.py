"""The process that ships to a lake: `python -m llm_trace.shipper ADDRESS`, and what sees to it that one runs.

It outlives the program that started it, and ends when no writer lives and everything has gone, or nothing
could for a while: what is left is in the spool, and the next one carries on.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from llm_trace.detached import search_path, start
from llm_trace.errors import LLMTraceError, StoreLockedError
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.paths import get_spool_dir, get_store_path
from llm_trace.stores.lake.shipping import ship
from llm_trace.stores.locks import Deadline, lock_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llm_trace.stores.lake.shipping import ShipReport

EVERY_S = 5.0
"""Seconds from one shipment to the next: many small ones make many small files."""
PATIENCE_S = 60.0
"""How long to stay without a writer while nothing gets through."""
_CHECK_S = 10.0
_LOCK = "ship.lock"
_OWN = ("LLM_TRACE_STORE", "LLM_TRACE_RUN")
_log = logging.getLogger("llm_trace")


def serve_lake(
    address: str,
    store: str | None = None,
    *,
    stop: threading.Event,
    every_s: float = EVERY_S,
    patience_s: float = PATIENCE_S,
    say: Callable[[ShipReport], None] = lambda _: None,
) -> None:
    """Ship again and again, until no writer lives and everything has gone, or `stop` is set.

    Args:
        address: of the lake.
        store: whose spool is shipped; if absent, the lake's own on this machine.
        stop: set from elsewhere.
        every_s: seconds between shipments.
        patience_s: how long to stay without a writer while the lake cannot be reached.
        say: told what each shipment did.

    Raises:
        StoreLockedError: another process does.
    """
    folder = get_spool_dir(address if store is None else store)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_path(folder / _LOCK, Deadline(0.0)):
        needed = time.monotonic()
        while True:
            lives = any(file.live for file in list_spool_files(folder))
            is_done = _try_ship(address, store, say)
            now = time.monotonic()
            needed = now if lives else needed
            if stop.wait(0.0 if is_done and not lives else every_s) or not folder.exists():
                return
            if not lives and (is_done or now - needed > patience_s):
                return


def _try_ship(address: str, store: str | None, say: Callable[[ShipReport], None]) -> bool:
    """Ship what there is; return whether all of it has gone."""
    try:
        report = ship(address, store)
    except LLMTraceError as exc:
        _log.warning("llm_trace: %s", exc)
        return False
    say(report)
    return not report.held


class ShipperWatch:
    """Keeps a process shipping while this one records.

    Args:
        address: of the lake.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="llm_trace-lake", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            try:
                if not _is_served(get_spool_dir(self._address)):
                    launch_shipper(self._address)
            except Exception as exc:  # noqa: BLE001  the host goes on; the calls are in the spool
                _log.warning("llm_trace cannot start shipping to %s: %s", self._address, exc)
            if self._stop.wait(_CHECK_S):
                return

    def close(self) -> None:
        """Stop watching; the process that ships goes on without us."""
        self._stop.set()
        self._thread.join(5.0)


def _is_served(folder: Path) -> bool:
    try:
        with lock_path(folder / _LOCK, Deadline(0.0)):
            return False
    except StoreLockedError:
        return True


def launch_shipper(address: str) -> None:
    """Start the process that ships; it leaves at once where another one does already."""
    folder = get_spool_dir(address)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in _OWN}
    environment["PYTHONPATH"] = search_path()
    start("llm_trace.shipper", [address], environment=environment, log=folder / "shipping.log")


def main(arguments: list[str]) -> None:
    """Ship what this machine records for the lake named first."""
    if hasattr(os, "nice"):
        os.nice(5)  # the traced program goes first
    logging.basicConfig(format="%(asctime)s %(message)s")
    address = arguments[0]
    get_store_path(address).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        serve_lake(address, stop=threading.Event())
    except StoreLockedError:
        _log.info("another process ships to %s", address)


if __name__ == "__main__":
    main(sys.argv[1:])
