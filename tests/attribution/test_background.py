"""Attribution in the background: requests survive, each call is explained once, the host never waits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace import background
from llm_trace.attribution.core.value import Budget
from llm_trace.attribution.policy import pool, serialization
from llm_trace.attribution.policy.hourly_budget import HOUR_NS, Allowance
from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
from llm_trace.attribution.policy.queue import Queue, get_queue_folder
from llm_trace.attribution.policy.worker import Worker
from llm_trace.capture import failures
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution, Call
from tests.conftest import Recorded
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import PROMPT, call, run


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small model as a folder, as a user names one."""
    toys.transformers.utils.logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("model")
    toys.llama().save_pretrained(folder)
    toys.byte_level().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Requests without a process of their own: the tests are the worker."""
    started: list[Path] = []
    monkeypatch.setattr(background, "launch_worker", lambda store, gpu: started.append(store))
    yield started
    background.stop()


def policy(model: str = "m", **settings: Any) -> AttributionPolicy:
    return AttributionPolicy(**({"model": model, "method": "occlusion", "mode": "background"} | settings))


class Fake:
    """A worker's surroundings: calls by id, events kept, and a hook that costs nothing."""

    def __init__(self, folder: Path, found: Attribution | None = None) -> None:
        self.queue = Queue(folder)
        self.calls = {f"{i:016x}": call(span_id=f"{i:016x}") for i in range(9)}
        self.events: list[dict[str, Any]] = []
        self.worker = Worker(self.queue, self.calls.get, self.known, self.keep, now=lambda: 10**18)
        self.full = False
        self.explained: list[str] = []
        self.found = found or run(method="occlusion")

    def known(self, *identity: str) -> bool:
        return identity in {(e["span_id"], e["method"], e["config_hash"]) for e in self.events}

    def keep(self, event: dict[str, Any]) -> bool:
        if not self.full:
            self.events.append(event)
        return not self.full

    def serve(self, monkeypatch: pytest.MonkeyPatch, dies_on: str | None = None) -> None:
        def attribution(_: Hook, asked: Call) -> Attribution:
            if asked.span_id == dies_on:
                raise KeyboardInterrupt  # as good as kill -9: nothing after it runs
            self.explained.append(asked.span_id)
            return self.found.model_copy(update={"span_id": asked.span_id})

        monkeypatch.setattr(Hook, "_explain", attribution)
        while self.worker.step():
            pass


def ask(store: Path, made: AttributionPolicy, *numbers: int) -> None:
    host = background.Requests(store, lambda store, gpu: None)
    for i in numbers:
        host.add(made, f"{i:016x}")
    host.close()


def test_each_request_is_served_once_whoever_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "t.duckdb"
    ask(store, policy(), 1, 2, 2)
    first = Fake(get_queue_folder(store))
    first.serve(monkeypatch)
    assert first.explained == ["0" * 15 + "1", "0" * 15 + "2"]
    assert [e["config_hash"] for e in first.events] == [policy().config_hash] * 2
    ask(store, policy(), 3, 1)
    second = Fake(get_queue_folder(store))
    second.events = first.events
    second.serve(monkeypatch)
    assert second.explained == ["0" * 15 + "3"]
    assert not second.queue.hosts()
    assert list(get_queue_folder(store).glob("*.jsonl")) == [], "what is done and has no writer is removed"


def test_a_call_that_kills_the_worker_twice_becomes_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, deadly = tmp_path / "t.duckdb", "0" * 15 + "1"
    ask(store, policy(), 1, 2)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            Fake(get_queue_folder(store)).serve(monkeypatch, dies_on=deadly)
    third = Fake(get_queue_folder(store))
    third.serve(monkeypatch, dies_on=deadly)
    assert [(e["span_id"], e["status"]) for e in third.events] == [(deadly, "failed"), ("0" * 15 + "2", "ok")]
    assert "died 2 times" in third.events[0]["error"]


def test_what_cannot_be_written_now_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(tmp_path / "t.duckdb", policy(), 1)
    fake = Fake(get_queue_folder(tmp_path / "t.duckdb"))
    fake.full = True
    fake.serve(monkeypatch)
    assert fake.events == []
    fake.full = False
    fake.serve(monkeypatch)
    assert len(fake.events) == 1


def test_torn_lines_lost_policies_and_purged_calls_stop_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "t.duckdb"
    ask(store, policy(), 77, 1)
    folder = get_queue_folder(store)
    (folder / f"{'a' * 16}.00000001.jsonl").write_bytes(
        b'nonsense\n{"event":"request","span_id":"0000000000000002","policy":"gone"}\n{"event":"requ'
    )
    fake = Fake(folder)
    fake.serve(monkeypatch)
    assert fake.explained == ["0" * 15 + "1"]
    assert fake.queue.state["skipped"]["absent"] == 1
    assert fake.queue.state["skipped"]["unreadable"] == 1


def test_one_worker_at_a_time(tmp_path: Path) -> None:
    first, second = Queue(tmp_path / "q"), Queue(tmp_path / "q")
    assert first.claim()
    assert not second.claim()
    first.release()
    assert second.claim()
    second.release()


def test_a_policy_travels_as_it_is_and_what_cannot_is_refused() -> None:
    import re

    made = policy(
        segments=re.compile("a+", re.IGNORECASE), target=(3, 9), budget=Budget(tokens=9),
        budget_per_hour=7, seed=3, when=lambda c: True, sample=0.5,
    )  # fmt: skip
    back, config_hash = serialization.decode(serialization.encode(made))
    assert config_hash == made.config_hash
    assert (back.segments, back.target, back.budget) == (made.segments, made.target, made.budget)
    assert (back.sample, back.when, back.budget_per_hour) == (1.0, None, 7)
    with pytest.raises(AttributionError, match="cannot leave this process"):
        serialization.encode(policy(segments=lambda text: []))
    with pytest.raises(AttributionError, match="by name or path"):
        AttributionPolicy(model=object(), mode="background")


def test_the_hour_has_a_budget_that_a_restart_does_not_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cost = tmp_path / "t.duckdb", run(method="occlusion").passes
    ask(store, policy(budget_per_hour=2 * cost), 1, 2, 3)
    fake = Fake(get_queue_folder(store))
    fake.serve(monkeypatch)
    assert len(fake.events) == 2
    ask(store, policy(budget_per_hour=2 * cost), 4)
    again = Fake(get_queue_folder(store))
    again.serve(monkeypatch)
    assert again.events == []
    assert again.queue.state["passed_over"] == 1
    allowance = Allowance(Budget(seconds=1.0))
    allowance.spend(0, {"passes": 1, "tokens": 1, "seconds": 2.0})
    assert not allowance.allows(HOUR_NS - 1)
    assert allowance.allows(HOUR_NS)


def test_the_host_decides_and_writes_one_line(recorded: Recorded, quiet: list[Path]) -> None:
    llm_trace.configure(
        recorded.path, attribution=policy(when=lambda c: "wanted" in c.tags, budget_per_hour=1)
    )

    @llm_trace.trace(kind="llm", tags=("wanted",))
    def wanted(prompt: str) -> str:
        return "yes"

    @llm_trace.trace(kind="llm")
    def other(prompt: str) -> str:
        return "no"

    @llm_trace.trace(kind="llm", attribution=policy(mode="deferred"))
    def later(prompt: str) -> str:
        return "later"

    for fn in (wanted, other, later):
        fn(PROMPT)
    queue = Queue(get_queue_folder(recorded.path))
    request = queue.next()
    assert request is not None
    assert [c.span_id for c in recorded.calls(tag="wanted")] == [request.span_id]
    queue.done(request)
    assert queue.next() is None
    assert queue.hosts()
    assert failures.counts == {}


def test_a_worker_that_cannot_start_breaks_nothing(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(store: Path, gpu: bool) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(background, "launch_worker", broken)
    llm_trace.configure(recorded.path, attribution=policy())
    assert llm_trace.trace(kind="llm")(lambda prompt: "yes")(PROMPT) == "yes"
    deadline = time.monotonic() + 60
    while not failures.counts and time.monotonic() < deadline:
        time.sleep(0.02)
    assert any("background worker" in reason for reason in failures.counts)
    background.stop()


HOST = """
import sys, time
import llm_trace
from llm_trace import AttributionPolicy
llm_trace.configure(sys.argv[1], attribution=AttributionPolicy(method="occlusion", model=sys.argv[2],
mode="background"))

@llm_trace.trace(kind="llm")
def ask(prompt):
    return " One day the dog came."

ask(sys.argv[3])
for _ in range(5):
    ask(sys.argv[3])
print("torch" in sys.modules, flush=True)
time.sleep(60)
"""


def test_a_killed_host_loses_no_request_and_its_worker_finishes(recorded: Recorded, saved: str) -> None:
    command = [sys.executable, "-c", HOST, str(recorded.path), saved, PROMPT]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    assert host.stdout.readline() == "False\n"
    log = get_queue_folder(recorded.path) / "worker.log"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:  # a worker that was not begun finishes nothing
        time.sleep(0.02)
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 300  # for a worker that hangs: it is niced, and the machine may be busy
    while (state := background.read_state(recorded.path)).waiting and time.monotonic() < deadline:
        time.sleep(0.1)
    rows = recorded.sql("SELECT status, error, count(*) FROM attributions GROUP BY ALL").fetchall()
    assert (rows, state) == ([("ok", None, 6)], background.BackgroundState()), log.read_text()


def test_many_calls_are_spread_over_processes(saved: str) -> None:
    made = AttributionPolicy(model=saved, method="occlusion", mode="deferred")
    calls = [call(span_id=f"{i:016x}") for i in range(3)]
    alone = {c.span_id: e for c, e in pool.iter_events(calls, made) if e is not None}
    spread = {c.span_id: e for c, e in pool.iter_events(calls, made, workers=2) if e is not None}
    assert spread.keys() == alone.keys() == {c.span_id for c in calls}
    for span_id, event in spread.items():
        assert (event["status"], event["config_hash"]) == ("ok", made.config_hash)
        assert event["attribution"]["values"] == pytest.approx(
            alone[span_id]["attribution"]["values"], abs=1e-4
        )
    with pytest.raises(AttributionError, match="cannot leave this process"):
        list(pool.iter_events(calls, policy(segments=lambda text: [(0, 1)], mode="inline"), workers=2))
