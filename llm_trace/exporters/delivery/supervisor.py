"""The traced process's end of delivery: see to it that somebody delivers, say how far that is. No call
ever waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from llm_trace.detached import search_path, start
from llm_trace.exporters.delivery.cursor import Claim, Cursor, get_cursor_path
from llm_trace.exporters.delivery.status import DestinationStatus, Standing, get_standing, list_destinations
from llm_trace.exporters.registry import SETTINGS, VARIABLE, Destination
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.paths import get_spool_dir

_log = logging.getLogger("llm_trace")

_LAUNCH_S = 10.0
_CHECK_S = 5.0
"""How often a host looks whether somebody delivers."""
_WAIT_S = 10.0
"""How long `flush()` waits unless told."""
_RENEW_NS = 24 * 3600 * 10**9
_OWN = ("LLM_TRACE_STORE", "LLM_TRACE_RUN")
_configured: defaultdict[Path, set[str]] = defaultdict(set)
"""Names of the destinations that this process has configured, by spool folder."""


class Exporting:
    """Keeps delivery going while this process records.

    Addresses are delivered to by a process of its own, which is shared by all that record to the store and
    survives them; exporter objects, which cannot leave this process, by threads of it.

    Args:
        store: the store whose spool is delivered.
        exporters: by name.
    """

    def __init__(self, store: Path, exporters: Mapping[str, Destination]) -> None:
        self._store = store
        self._folder = get_spool_dir(store)
        self._addresses = {name: to for name, to in exporters.items() if isinstance(to.target, str)}
        self._objects = [to.target for to in exporters.values() if not isinstance(to.target, str)]
        self.names = list(exporters)
        self._stop = threading.Event()
        self._started = threading.Event()
        self._reasons: dict[str, str] = {}
        changed = [enroll_destination(self._folder, name, to.settings) for name, to in exporters.items()]
        self._leaving = any(changed)
        """Whether a process that delivers with other settings is about to leave."""
        self._claims = [
            Claim(get_cursor_path(self._folder, name), to.settings) for name, to in self._addresses.items()
        ]
        _configured[self._folder].update(self.names)
        self._threads = [threading.Thread(target=self._watch, name="llm_trace-exporters", daemon=True)]
        if self._objects:
            deliver = threading.Thread(target=self._deliver, name="llm_trace-delivery", daemon=True)
            self._threads.append(deliver)
        for thread in self._threads:
            thread.start()

    def _deliver(self) -> None:
        from llm_trace.exporters.delivery.daemon import serve_destinations
        from llm_trace.exporters.delivery.delivery import Delivery

        deliveries = [Delivery(self._folder, exporter, settings="object") for exporter in self._objects]
        serve_destinations(self._folder, deliveries, stop=self._stop, patience_s=float("inf"))

    def _watch(self) -> None:
        """Start a process where nobody delivers, and pass on what stands in its way, once."""
        launched = -_LAUNCH_S
        before: list[Claim] = []
        while True:
            try:
                late = time.monotonic() - launched > _LAUNCH_S  # what was launched takes a moment to come
                free = [claim for claim in self._claims if _note_unattended(claim)]
                # who wants it otherwise may be starting a process for it just now
                mine = [claim for claim in free if not claim.unwanted or claim in before]
                if late and (mine or self._leaving):
                    launched, self._leaving = time.monotonic(), False
                    for claim in mine:
                        claim.want()
                    launch_delivery(self._store, self._addresses.values())
                before = free
                self._warn()
            except Exception as exc:  # noqa: BLE001  the host goes on; the calls are in the spool
                _log.warning("llm_trace cannot start delivery: %s", exc)
            self._started.set()
            if self._stop.wait(_CHECK_S):
                return

    def _warn(self) -> None:
        for name in self._addresses:
            message = DestinationStatus(get_cursor_path(self._folder, name)).reason
            if message and message != self._reasons.get(name):
                _log.warning("llm_trace, %s: %s", name, message)
            self._reasons[name] = message

    def report(self, timeout: float | None) -> Mapping[str, Standing]:
        """Return how the destinations stand, after waiting for them to deliver what is recorded by now."""
        deadline = time.monotonic() + (_WAIT_S if timeout is None else timeout)
        recorded = {file.name: file.size for file in list_spool_files(self._folder)}
        pause = 0.01
        while time.monotonic() < deadline and any(self._behind(name, recorded) for name in self.names):
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, 0.1)
        return {name: get_standing(self._folder, name) for name in self.names}

    def _behind(self, name: str, recorded: Mapping[str, int]) -> bool:
        """Return whether a destination that takes anything has still to be given what was recorded."""
        if DestinationStatus(get_cursor_path(self._folder, name)).refused:
            return False
        read = Cursor.load(self._folder, name).read
        ends = {file.partition(".")[0]: (file, size) for file, size in sorted(recorded.items())}
        return any(read.get(writer, ("", 0)) < end for writer, end in ends.items())

    def settle(self) -> None:
        """Wait until somebody was told to deliver; a moment, and only right after the start."""
        self._started.wait(5.0)

    def close(self) -> None:
        """Stop watching; delivery goes on without us, that of objects with the next process that has them."""
        self.settle()
        self._stop.set()
        for thread in self._threads:
            thread.join(1.0)  # a server that hangs is not waited for


def enroll_destination(folder: Path, name: str, settings: str) -> bool:
    """Keep the spool for a destination from now on; forget why an earlier process got nothing through.

    Returns whether a process that delivers with other settings is about to leave.
    """
    claim = Claim(get_cursor_path(folder, name), settings)
    changed = claim.want()
    if claim.take():
        DestinationStatus(get_cursor_path(folder, name)).write("", refused=False)
        cursor = Cursor.load(folder, name)
        if time.time_ns() - cursor.time_ns > _RENEW_NS:
            cursor.revive(time.time_ns())
            cursor.save()
        claim.release()
        return False
    return changed


def revoke_destinations(store: Path, keep: Collection[str]) -> None:
    """Stop delivery to what this process has configured for a store before and no longer wants; others
    that do start it again.
    """
    folder = get_spool_dir(store)
    for name in _configured[folder].difference(keep):
        Claim(get_cursor_path(folder, name)).revoke()
    _configured[folder].intersection_update(keep)


def list_left_destinations(store: Path, names: Collection[str]) -> Mapping[str, Standing]:
    """Return how destinations stand that were configured once, are not among `names`, and have not been
    given all that is for them.
    """
    folder = get_spool_dir(store)
    stands = [get_standing(folder, name) for name in list_destinations(folder) if name not in names]
    return {each.name: each for each in stands if each.pending}


def _note_unattended(claim: Claim) -> bool:
    free = claim.take()
    claim.release()
    return free


def launch_delivery(store: Path, addresses: Collection[Destination]) -> None:
    """Start the process that delivers; it leaves at once where others deliver already."""
    folder = get_spool_dir(store)
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in _OWN}
    environment |= {VARIABLE: " ".join(str(to.target) for to in addresses), "PYTHONPATH": search_path()}
    environment[SETTINGS] = " ".join(to.settings for to in addresses)
    start(
        "llm_trace.exporters.delivery.daemon",
        [str(store)],
        environment=environment,
        log=folder / "delivery.log",
    )
