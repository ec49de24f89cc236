"""A job over many workers: each call explained once, however often workers die."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.policy.executors import WorkerTask
from llm_trace.attribution.policy.policy import Hook
from llm_trace.attribution.policy.together import MOST_CALLS
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llm_trace.attribution.policy.executors import Executor, ExplainingWorker, WorkerReport
    from llm_trace.attribution.policy.hourly_budget import Allowance
    from llm_trace.attribution.policy.together import CallEvent
    from llm_trace.record import Call

ATTEMPTS = 3
"""How often a call is begun before it counts as one that kills workers: once beside others, then alone."""
_AHEAD = 2
"""Groups of calls that a worker is sent, so that none waits and few are lost with it."""


class SpreadJob:
    """Hands calls out to workers and takes their events; it alone knows which calls are done.

    Calls that a worker had begun when it died are tried again, each alone, so that one that kills workers
    takes no others with it; what it had not begun goes to the next worker.

    Args:
        calls: to explain.
        task: what each worker is told.
        executor: has the workers.
        hook: says which calls the policy wants, and builds the events of those that fail.
        allowance: what the whole job may spend.
    """

    def __init__(
        self, calls: Iterable[Call], task: WorkerTask, executor: Executor, hook: Hook, allowance: Allowance
    ) -> None:
        self._calls = iter(calls)
        self._task, self._executor, self._hook, self._allowance = task, executor, hook, allowance
        self._again: deque[Call] = deque()
        """Handed out to workers that died before they began them."""
        self._suspects: deque[Call] = deque()
        """Begun by a worker that died."""
        self._groups: dict[ExplainingWorker, deque[dict[str, Call]]] = {}
        """What each worker has: groups of calls by their span ids, in the order of sending."""
        self._ready: set[ExplainingWorker] = set()
        self._deaths: Counter[str] = Counter()
        self._lost_in_a_row = 0
        """Workers that died since the last event."""

    def run(self) -> Iterator[CallEvent]:
        """Yield each call, once done, with its event.

        Raises:
            AttributionError: the workers refuse the job, or die again and again without any call explained.
        """
        try:
            for _ in range(self._executor.workers):
                self._start_worker()
            while True:
                for worker in [w for w in self._groups if w in self._ready]:
                    self._hand_out(worker)
                if self._ready and not any(self._groups.values()):  # all is done, or the budget is spent
                    return
                for report in self._executor.wait(list(self._groups)):
                    yield from self._take(report)
        finally:
            for worker in list(self._groups):
                self._dismiss(worker)
            self._executor.close()

    def _start_worker(self) -> None:
        self._groups[self._executor.start(self._task)] = deque()

    def _dismiss(self, worker: ExplainingWorker) -> None:
        del self._groups[worker]
        self._ready.discard(worker)
        worker.stop()

    def _take(self, report: WorkerReport) -> Iterator[CallEvent]:
        """Yield what a report says of calls."""
        worker = report.worker
        if report.kind == "refused":
            raise AttributionError(report.why)
        if report.kind == "died":
            yield from self._bury(worker, report.why)
            return
        self._ready.add(worker)
        groups = self._groups[worker]
        for span_id, event in report.events:
            self._lost_in_a_row = 0
            call = groups[0].pop(span_id)
            if not groups[0]:
                groups.popleft()
            yield call, self._note(event)

    def _note(self, event: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return an event under the job's configuration, its cost booked."""
        if event is None:
            return None
        if event["attribution"] is not None:
            self._allowance.spend(self._hook.now(), event["attribution"])
        return {**event, "config_hash": self._hook.policy.config_hash}

    def _bury(self, worker: ExplainingWorker, why: str) -> Iterator[CallEvent]:
        """Keep the calls of a worker that died for others, and start one in its place."""
        groups, began = self._groups[worker], worker in self._ready
        self._dismiss(worker)
        self._lost_in_a_row += 1
        if self._lost_in_a_row > ATTEMPTS * max(1, self._executor.workers) or (
            not began and self._lost_in_a_row >= ATTEMPTS
        ):
            raise AttributionError(
                f"{self._lost_in_a_row} workers died ({why}) with no call explained meanwhile, as when the "
                "memory runs out: take fewer workers or a smaller model"
            )
        for call in (groups.popleft() if groups else {}).values():
            self._deaths[call.span_id] += 1
            if self._deaths[call.span_id] < ATTEMPTS:
                self._suspects.append(call)
                continue
            self._lost_in_a_row = 0
            reason = f"workers died {ATTEMPTS} times on this call ({why})"
            yield call, self._note(self._hook.build_failure(call, reason))
        self._again.extend(call for group in groups for call in group.values())
        self._start_worker()

    def _hand_out(self, worker: ExplainingWorker) -> None:
        groups = self._groups[worker]
        while len(groups) < _AHEAD and (group := self._choose_group()):
            groups.append({call.span_id: call for call in group})
            worker.send(group)

    def _choose_group(self) -> list[Call]:
        """Return the next calls that go together, as the budget pays for them; a suspect goes alone."""
        if self._suspects and self._affords(0):
            return [self._suspects.popleft()]
        group: list[Call] = []
        while len(group) < MOST_CALLS and self._affords(len(group)):
            call = self._again.popleft() if self._again else next(self._calls, None)
            if call is None:
                break
            group.append(call)
        return group

    def _affords(self, more: int) -> bool:
        begun = more + sum(len(group) for groups in self._groups.values() for group in groups)
        return self._allowance.allows(self._hook.now(), begun)
