"""Alarms: kept in the store, sent in the background, never twice for the same thing."""

from __future__ import annotations

import atexit
import math
import os
import queue
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from llm_trace.bounded_dict import BoundedDict
from llm_trace.errors import LLMTraceError, StoreError
from llm_trace.operations.alarm_targets import AlarmTarget, UndeliveredError, read_target, send_to_target
from llm_trace.operations.log import Operation, OperationLog, read_operations
from llm_trace.operations.names import check_subject, collect_texts
from llm_trace.paths import make_absolute
from llm_trace.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TIMEOUT = 10.0
AT_EXIT = 5.0
"""Seconds that a program which ends waits for alarms on their way."""
REST_S = 60.0
"""Seconds for which a target that hung is left alone."""
_WAITING = 1000
_REMEMBERED = 10_000
DeliveryState = Literal["sent", "failed", "already", "unknown", "pending"]
"""`already`: it was sent before; `unknown`: a process died while it sent it, and it is not sent again;
`pending`: on its way."""


class Alarm(Record):
    """Something that a person should know of."""

    subject: str
    """The name of the monitor, gate or rule."""
    text: str
    """What happened, in a sentence."""
    key: str
    """What it is about: of one subject and key an alarm goes to each target once."""
    span_id: str | None = None
    """The call that it is about, if it is about one: the alarm is purged with it."""
    details: dict[str, Any] = Field(default_factory=dict)
    """JSON values for programs."""


class AlarmDelivery(Record):
    """What became of an alarm at one target."""

    target: str
    """Without what is secret of its address."""
    state: DeliveryState
    detail: str | None = None
    """Why it failed."""


class Sending:
    """An alarm on its way."""

    def __init__(self, futures: dict[str, Future[AlarmDelivery]]) -> None:
        self._futures = futures

    def wait(self, timeout: float | None = None) -> tuple[AlarmDelivery, ...]:
        """Return what became of it at each target, after `timeout` seconds at most."""
        end = None if timeout is None else time.monotonic() + timeout
        deliveries = []
        for name, future in self._futures.items():
            try:
                left = None if end is None else max(0.0, end - time.monotonic())
                deliveries.append(future.result(left))
            except NotYetError:
                deliveries.append(AlarmDelivery(target=name, state="pending"))
        return tuple(deliveries)


def send_alarm(
    alarm: Alarm,
    targets: Iterable[str] | str = (),
    *,
    store: str | os.PathLike[str],
    timeout: float = TIMEOUT,
) -> Sending:
    """Keep an alarm in a store and send it to each target that has not had it yet; returns at once.

    Args:
        alarm: what to say.
        targets: `https://…` (JSON with `text`, `subject`, `key`, `span_id`, `details`), `command:PROGRAM
            ARGUMENTS` (the same on its standard input, no shell), or what apprise reaches, such as
            `mailto://…`. Without any the alarm is only kept.
        store: the path of the store.
        timeout: seconds for one try.

    Raises:
        ConfigurationError: a target means nothing, or the alarm has no subject.
    """
    check_subject("an alarm", alarm.subject)
    path = make_absolute(os.fspath(store))
    places: list[AlarmTarget | None] = [read_target(address) for address in collect_texts(targets)]
    return Sending({_get_name(place): _submit(path, alarm, place, timeout) for place in places or [None]})


def list_outcomes(operations: Iterable[Operation], *, has_targets: bool) -> dict[str, bool]:
    """Return, by the key of each alarm among operations about one subject, whether it arrived: it failed last
    at no target. One that a process died over while it was sent counts, since it is not sent again.

    Args:
        has_targets: whether such alarms go anywhere but to the store.
    """
    states: dict[str, dict[str | None, str]] = {}
    for operation in operations:
        body = operation.body
        states.setdefault(str(body.get("key")), {})[body.get("target")] = str(body.get("state"))
    return {
        key: "failed" not in by_target.values() and len(by_target) > has_targets
        for key, by_target in states.items()
    }


def _get_name(target: AlarmTarget | None) -> str:
    return "store" if target is None else target.name


class _Worker(threading.Thread):
    """Sends what goes to one target, one alarm after the other, so that one that hangs holds up no other.

    After a try that hung, what comes within `REST_S` fails at once: a hundred alarms would wait for an hour.
    """

    def __init__(self) -> None:
        super().__init__(name="llm-trace alarms", daemon=True)
        self._rests_until = -math.inf
        self.jobs: queue.Queue[tuple[Future[AlarmDelivery], tuple[Path, Alarm, AlarmTarget | None, float]]]
        self.jobs = queue.Queue(_WAITING)

    def run(self) -> None:
        while True:
            future, job = self.jobs.get()
            try:
                future.set_result(self._handle(*job))
            except Exception as exc:  # noqa: BLE001 - the thread must live
                name = _get_name(job[2])
                future.set_result(
                    AlarmDelivery(target=name, state="failed", detail=f"{type(exc).__name__}: {exc}")
                )
            finally:
                self.jobs.task_done()

    def _handle(self, path: Path, alarm: Alarm, target: AlarmTarget | None, timeout: float) -> AlarmDelivery:
        begin = time.monotonic()
        delivery = _handle(path, alarm, target, timeout, rests=begin < self._rests_until)
        if delivery.state == "failed" and time.monotonic() - begin >= timeout:
            self._rests_until = time.monotonic() + REST_S
        return delivery


_lock = threading.Lock()
_workers: dict[str, _Worker] = {}
_submitted: BoundedDict[tuple[str, str, str, str], Future[AlarmDelivery]] = BoundedDict(_REMEMBERED)


def _forget_in_child() -> None:
    """Begin anew after a fork: threads do not come along, and the lock may be held by one of them."""
    global _lock
    _lock = threading.Lock()
    _workers.clear()
    _submitted.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _submit(path: Path, alarm: Alarm, target: AlarmTarget | None, timeout: float) -> Future[AlarmDelivery]:
    """Queue an alarm; what this process has queued before is not looked up again."""
    name = _get_name(target)
    key = (str(path), alarm.subject, alarm.key, name)
    with _lock:
        known = _submitted.get(key)
        if known is not None and not _has_failed(known):
            return _finish(AlarmDelivery(target=name, state="already")) if known.done() else known
        worker = _workers.get(name)
        if worker is None or not worker.is_alive():
            worker = _workers[name] = _Worker()
            worker.start()
        future: Future[AlarmDelivery] = Future()
        try:
            worker.jobs.put_nowait((future, (path, alarm, target, timeout)))
        except queue.Full:
            detail = f"{_WAITING:,} alarms are waiting for it already"
            return _finish(AlarmDelivery(target=name, state="failed", detail=detail))
        _submitted[key] = future
    return future


def _has_failed(future: Future[AlarmDelivery]) -> bool:
    return future.done() and future.result().state == "failed"


def _finish(delivery: AlarmDelivery) -> Future[AlarmDelivery]:
    future: Future[AlarmDelivery] = Future()
    future.set_result(delivery)
    return future


def _handle(
    path: Path, alarm: Alarm, target: AlarmTarget | None, timeout: float, *, rests: bool
) -> AlarmDelivery:
    """Send an alarm unless its target has had it; where the store cannot say so, it is sent all the same.

    Args:
        rests: the target hung a moment ago and is not tried.
    """
    name = _get_name(target)
    try:
        before = _claim(path, alarm, target)
    except (StoreError, OSError) as exc:
        if target is None:
            return AlarmDelivery(target=name, state="failed", detail=str(exc))
        before = None
    if target is None:
        return AlarmDelivery(target=name, state="sent")
    if before is not None:
        return AlarmDelivery(target=name, state=before)
    try:
        if rests:
            raise UndeliveredError(f"it hung a moment ago and is tried again {REST_S:.0f} s after that")
        send_to_target(target, _build_message(alarm), timeout)
    except LLMTraceError as exc:
        delivery = AlarmDelivery(target=name, state="failed", detail=str(exc))
    else:
        delivery = AlarmDelivery(target=name, state="sent")
    _note(path, alarm, delivery.state, target=name, detail=delivery.detail)
    return delivery


def _claim(path: Path, alarm: Alarm, target: AlarmTarget | None) -> DeliveryState | None:
    """Note that the alarm was raised and is being sent; return what became of it where it was before.

    One process at a time does this, so that of several only one sends.
    """
    from llm_trace.spool.paths import get_spool_dir
    from llm_trace.stores.duckdb import open_store
    from llm_trace.stores.locks import Deadline, lock_path

    folder = get_spool_dir(path)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock_path(folder / "alarms.lock", Deadline(60)), OperationLog(path) as log:
        operations: list[Operation] = []
        if path.exists() or any(folder.glob("*.jsonl")):
            with open_store(path) as store:
                operations = read_operations(store, kind="alarm", subject=alarm.subject)
        bodies = [each.body for each in operations if each.body.get("key") == alarm.key]
        if not any(body.get("state") == "raised" for body in bodies):
            body = {"state": "raised", "key": alarm.key, "text": alarm.text, "details": alarm.details}
            log.append("alarm", alarm.subject, body, alarm.span_id)
        if target is None:
            return None
        states = [body["state"] for body in bodies if body.get("target") == target.name]
        if states and states[-1] != "failed":
            return "already" if "sent" in states else "unknown"
        log.append(
            "alarm",
            alarm.subject,
            {"state": "sending", "key": alarm.key, "target": target.name},
            alarm.span_id,
        )
    return None


def _note(path: Path, alarm: Alarm, state: DeliveryState, **fields: str | None) -> None:
    body = {"state": state, "key": alarm.key, **{name: text for name, text in fields.items() if text}}
    try:
        with OperationLog(path) as log:
            log.append("alarm", alarm.subject, body, alarm.span_id)
    except (StoreError, OSError):
        pass  # the delivery says what became of it


def _build_message(alarm: Alarm) -> dict[str, Any]:
    return {"source": "llm-trace", **alarm.model_dump(exclude_none=True)}


def _wait_at_exit() -> None:
    """Give alarms on their way a little time."""
    end = time.monotonic() + AT_EXIT
    for future in list(_submitted.values()):
        try:
            future.result(max(0.0, end - time.monotonic()))
        except NotYetError:
            return


atexit.register(_wait_at_exit)
