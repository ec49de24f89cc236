"""Jobs over many workers: who dies, who is tried again, what a budget leaves."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from llm_trace.attribution.models import loading
from llm_trace.attribution.policy.executors import Executor, WorkerReport, WorkerTask, make_executor
from llm_trace.attribution.policy.local_executor import LocalExecutor
from llm_trace.attribution.policy.policy import AttributionPolicy
from llm_trace.attribution.policy.pool import iter_events, spread_calls
from llm_trace.errors import AttributionError
from llm_trace.record import Call
from tests.helpers.executor_contract import ExecutorContract
from tests.helpers.question_toys import call

CALLS = [call(span_id=f"{i:016x}") for i in range(40)]


class TestLocalExecutor(ExecutorContract):
    def make_executor(self, workers: int) -> Executor:
        return LocalExecutor(workers)

    def kill_worker(self) -> None:
        multiprocessing.active_children()[0].kill()


class FakeWorker:
    """Explains nothing: each call costs ten passes; it dies on deadly calls and after so many others."""

    def __init__(self, pool: FakePool) -> None:
        self.pool, self.reports = pool, deque([WorkerReport(self, "ready")])
        self.left = pool.lives.pop(0) if pool.lives else 10**6

    def send(self, calls: Sequence[Call]) -> None:
        self.pool.sent.append([each.span_id for each in calls])
        for each in calls:
            if self.left == 0 or each.span_id in self.pool.deadly:
                self.left = 0
                self.reports.append(WorkerReport(self, "died", why="exit code -9"))
                return
            self.left -= 1
            cost = {"passes": 10, "tokens": 100, "seconds": 0.1}
            event = {"span_id": each.span_id, "status": "ok", "attribution": cost}
            self.reports.append(WorkerReport(self, "events", events=[(each.span_id, event)]))

    def stop(self) -> None:
        self.pool.stopped += 1


class FakePool:
    """Workers of this thread; `lives` says how many calls each of the first ones explains before it dies."""

    def __init__(self, workers: int, deadly: Sequence[str] = (), lives: Sequence[int] = ()) -> None:
        self.workers, self.deadly, self.lives = workers, deadly, list(lives)
        self.sent: list[list[str]] = []
        self.started = self.stopped = self.closed = 0

    def start(self, task: WorkerTask) -> FakeWorker:
        self.started += 1
        return FakeWorker(self)

    def wait(self, workers: Sequence[Any]) -> list[WorkerReport]:
        return [worker.reports.popleft() for worker in workers if worker.reports]

    def close(self) -> None:
        self.closed += 1


def spread(pool: FakePool, total: int | None = None) -> dict[str, str]:
    """Return the status of each call that a job explains, which must come once."""
    statuses: dict[str, str] = {}
    for each, event in spread_calls(CALLS, AttributionPolicy(model="m"), pool, total):
        assert each.span_id not in statuses
        assert event is not None
        statuses[each.span_id] = event["status"]
    assert (pool.stopped, pool.closed) == (pool.started, 1)
    return statuses


def test_a_call_that_kills_workers_takes_no_others_with_it() -> None:
    deadly = CALLS[5].span_id
    pool = FakePool(2, deadly=[deadly])
    assert spread(pool) == {each.span_id: "failed" if each.span_id == deadly else "ok" for each in CALLS}
    assert pool.started == 2 + 3
    assert pool.sent.count([deadly]) == 2, "once beside others, then alone"


def test_calls_of_workers_that_die_go_to_others() -> None:
    pool = FakePool(3, lives=[3, 0, 7, 20, 1])
    assert spread(pool) == {each.span_id: "ok" for each in CALLS}
    assert pool.started == 3 + 4, "the last of these lives was not needed"


def test_workers_that_die_again_and_again_end_the_job() -> None:
    pool = FakePool(1, lives=[0] * 10)
    with pytest.raises(AttributionError, match=r"4 workers died \(exit code -9\) with no call explained"):
        spread(pool)
    assert (pool.stopped, pool.closed) == (pool.started, 1)


def test_a_total_budget_leaves_calls_for_the_next_time() -> None:
    statuses = spread(FakePool(2), total=95)
    assert (len(statuses), set(statuses.values())) == (10, {"ok"})


def test_a_total_budget_in_this_process_leaves_calls_too() -> None:
    policy = AttributionPolicy(model="demo", method="occlusion", baseline="mask")
    events = [event for _, event in iter_events(CALLS[:5], policy, total=40)]
    passes = [event["attribution"]["passes"] for event in events if event is not None]
    assert 40 <= sum(passes) < 40 + max(passes)
    assert len(events) < 5
    with pytest.raises(AttributionError, match="a total budget of 3 passes explains no call"):
        next(iter_events(CALLS, policy, total=3))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("spark", "engine 'spark' is unknown; choose one of local"),
        ("local://here", "this machine has no address"),
    ],
)
def test_a_place_that_is_none_is_named(place: str, message: str) -> None:
    with pytest.raises(AttributionError, match=message):
        make_executor(place, None)


def test_a_model_that_does_not_fit_is_named_before_a_worker_is_started(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(loading, "measure_free_memory", lambda device: 5_000_000)
    policy = AttributionPolicy(model=str(tmp_path))
    with pytest.raises(AttributionError, match=r"0\.0 GB of weights for each of 2 workers"):
        list(iter_events(CALLS, policy, workers=2))
    assert multiprocessing.active_children() == []
