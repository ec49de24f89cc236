"""Attribution in the background: the host appends a line for each call, another process explains it.

The host's share is one `write` to a file beside the store. The worker is started once for a store, by
whichever process comes first; it reads the calls from the store, writes its events to the spool as any
process does, and leaves when no host lives and nothing waits. What it has not done when the machine stops,
the next one does.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.policy.queue import Queue, get_queue_folder
from llm_trace.capture import failures
from llm_trace.detached import search_path, start
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

_CHECK_S = 60.0
"""How often a host looks whether the worker still lives."""
_OWN = ("LLM_TRACE_STORE", "LLM_TRACE_RUN")


class Requests:
    """The host's end: takes calls to be explained later, never raises and never waits.

    Args:
        store: the DuckDB file that the calls go to.
        start: starts a worker; runs in a thread.
    """

    def __init__(self, store: Path, start: Callable[[Path, bool], None] | None = None) -> None:
        self.store = store
        self._start = start or launch_worker
        self._writer = SpoolWriter(get_queue_folder(store))
        self._digests: dict[int, tuple[AttributionPolicy, str]] = {}
        self._checked = -_CHECK_S

    def add(self, policy: AttributionPolicy, span_id: str) -> None:
        """Ask for an attribution of a call that has ended."""
        digest = self.announce(policy)
        self._writer.write(
            b'{"event":"request","span_id":"%b","policy":"%b","time_ns":%d'
            % (span_id.encode(), digest.encode(), time.time_ns())
        )
        self._keep_alive(policy.gpu)

    def announce(self, policy: AttributionPolicy) -> str:
        """Write the policy down and see to it that a worker lives; return the policy's digest.

        Raises:
            AttributionError: a setting cannot leave this process.
        """
        known = self._digests.get(id(policy))
        if known is not None:
            return known[1]
        from llm_trace.attribution.policy.serialization import encode, hash_policy

        data = encode(policy)
        place = get_queue_folder(self.store) / "policies" / f"{hash_policy(data)}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(place)
        self._digests[id(policy)] = (policy, hash_policy(data))
        self._writer.write(b'{"event":"host","time_ns":%d' % time.time_ns())  # its lock says that we live
        self._keep_alive(policy.gpu)
        return hash_policy(data)

    def close(self) -> None:
        """Tell the worker that no more will come from here."""
        self._writer.close()

    def _keep_alive(self, gpu: bool) -> None:
        now = time.monotonic()
        if now - self._checked < _CHECK_S:
            return
        self._checked = now
        # No daemon: a short program would end before its worker is started.
        threading.Thread(target=self._launch, args=(gpu,), name="llm_trace-background").start()

    def _launch(self, gpu: bool) -> None:
        try:
            self._start(self.store, gpu)
        except Exception as exc:  # noqa: BLE001  the host goes on; the requests are kept
            failures.note("the start of the background worker", exc)


_current: Requests | None = None


def open_requests(store: Path) -> Requests:
    """Return the requests of this process for a store; those for another store are closed."""
    global _current
    if _current is None or _current.store != store:
        stop()
        _current = Requests(store)
    return _current


def stop() -> None:
    """Tell the worker that no more requests come from this process."""
    global _current
    if _current is not None:
        _current.close()
    _current = None


@dataclass(frozen=True)
class BackgroundState:
    """How the background attribution of a store stands."""

    waiting: int = 0
    """Requests that are not served yet."""
    waits_for: str = ""
    """Why the worker cannot go on, such as the error of a store that another process holds."""
    absent: int = 0
    """Requests given up because the store has no such call: purged, or never written."""
    unreadable: int = 0
    """Requests given up because their policy or call could not be read."""
    last: str = ""
    """About the last request that was given up: its span id, or the error."""
    passed_over: int = 0
    """Calls that the budget of an hour did not pay for."""


def read_state(store: Path) -> BackgroundState:
    """Return how the background attribution of a store stands; changes nothing."""
    queue = Queue(get_queue_folder(store))
    skipped = queue.state.get("skipped", {})
    return BackgroundState(
        waiting=queue.count(),
        waits_for=queue.state.get("waits_for", ""),
        absent=skipped.get("absent", 0),
        unreadable=skipped.get("unreadable", 0),
        last=skipped.get("last", ""),
        passed_over=queue.state.get("passed_over", 0),
    )


def launch_worker(store: Path, gpu: bool = False) -> None:
    """Start a worker that outlives this process; it leaves at once where the store has one already."""
    folder = get_queue_folder(store)
    folder.mkdir(parents=True, exist_ok=True)
    start("llm_trace.background", [str(store)], environment=build_environment(gpu), log=folder / "worker.log")


def build_environment(gpu: bool, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the worker's environment: no recording of itself, one thread, no graphics card unless told."""
    environment = {name: value for name, value in inherited.items() if name not in _OWN}
    environment = {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
    } | environment
    environment["PYTHONPATH"] = search_path()
    return environment if gpu else environment | {"CUDA_VISIBLE_DEVICES": ""}


def serve_requests(store_path: Path, *, timeout: float = 60.0, **settings: float) -> bool:
    """Be the worker of a store until nothing is left to do; False where another process is.

    Args:
        timeout: seconds to wait each time for a process that holds the store.
        settings: as `Worker.run` takes them.
    """
    from llm_trace.attribution.policy.worker import Worker

    queue = Queue(get_queue_folder(store_path))
    served = False
    while queue.claim():
        served = True
        try:
            with contextlib.closing(SpoolWriter(get_spool_dir(store_path))) as writer:
                door, keep = _Door(store_path, timeout), functools.partial(_keep_event, writer)
                Worker(queue, door.find, door.has_attribution, keep).run(**settings)
            left = queue.next()
        finally:
            queue.release()
        # The worker of a host that came meanwhile may have left because this one was still here.
        if not queue.hosts() and queue.next() == left:
            break
    return served


def _keep_event(writer: SpoolWriter, event: dict[str, Any]) -> bool:
    import orjson

    return writer.write(orjson.dumps(event)[:-1], sync=True)


class _Door:
    """The store as the worker sees it; opened when first needed, brought up to date before every question."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._store: Store | None = None

    def find(self, span_id: str) -> Call | None:
        store = self._open()
        query = "SELECT kept FROM _same WHERE span_id = ?"
        stands_for = store.sql(query, span_id).fetchone()
        return next(iter(store.pick([stands_for[0] if stands_for else span_id])), None)

    def has_attribution(self, span_id: str, method: str, config_hash: str) -> bool:
        query = "SELECT count(*) FROM attributions WHERE span_id = ? AND method = ? AND config_hash = ?"
        row = self._open().sql(query, span_id, method, config_hash).fetchone()
        return bool(row and row[0])

    def _open(self) -> Store:
        from llm_trace.errors import StoreError
        from llm_trace.stores.duckdb import open_store

        if self._store is None:
            self._store = open_store(self._path, timeout=self._timeout)
        else:
            self._store.ingest()
        if self._store.pending:
            raise StoreError(f"{self._store.pending} bytes of the spool cannot be brought into the store")
        return self._store


def main() -> None:
    """Run as `python -m llm_trace.background STORE`."""
    if hasattr(os, "nice"):
        os.nice(10)
    serve_requests(Path(os.path.abspath(sys.argv[1])))


if __name__ == "__main__":
    main()
