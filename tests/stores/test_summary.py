"""What the calls of a filter come to is what counting them one by one gives."""

from __future__ import annotations

import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import StoreError
from llm_trace.record import Call
from llm_trace.stores import memo
from llm_trace.stores.duckdb import Store
from llm_trace.stores.run_totals import read_runs
from llm_trace.stores.totals import sum_outermost
from tests.helpers.spool_toys import BEGIN, HandWriter, span, spool_of

CALLS = 70
NUMBERS = ("input_tokens", "output_tokens", "cost_usd")


def write_random_calls(writer: HandWriter, seed: int) -> None:
    """Write calls of three runs as trees; some parents are of another run, not there, or the call itself."""
    pick = random.Random(seed)
    for run in "abc":
        writer.event(event="run", id=run * 16, name=run, start_ns=BEGIN)
    for number in range(CALLS):
        parent = pick.choice([None, number, number + 1000, *[pick.randrange(number or 1)] * 6])
        writer.start(
            number,
            trace_id=f"{number % 7:032x}",
            start_ns=BEGIN + pick.randrange(10**9),
            kind=pick.choice(["llm", "chain"]),
            run=pick.choice("abc") * 16,
            tags=[pick.choice(["x", "y"])],
            **({} if parent is None else {"parent_id": span(parent)}),
        )
        if pick.random() < 0.9:
            usage = {name: pick.randrange(50) for name in NUMBERS[:2] if pick.random() < 0.5}
            cost = {"cost_usd": pick.random()} if pick.random() < 0.4 else {}
            status = pick.choice(["ok", "ok", "error", "cancelled"])
            end_ns = BEGIN + 2 * 10**9 + pick.randrange(10**9)
            writer.end(number, status=status, end_ns=end_ns, usage=usage, **cost)


def add_up(calls: list[Call]) -> list[float | None]:
    """Return the sums of tokens and cost, no number that is inside another counted."""
    parents = {call.span_id: call.parent_id for call in calls}
    return [sum_outermost(parents, {c.span_id: get_number(c, name) for c in calls}) for name in NUMBERS]


def get_number(call: Call, name: str) -> float | None:
    return call.cost_usd if name == "cost_usd" else getattr(call.usage, name, None)


@pytest.fixture(scope="module", params=[1, 2])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("summary") / "t.duckdb"
    writer = HandWriter(spool_of(path))
    write_random_calls(writer, request.param)
    writer.close()
    return llm_trace.open_store(path)


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"status": "error"},
        {"run": "a", "tag": "x"},
        {"since": BEGIN + 3 * 10**8, "until": BEGIN + 7 * 10**8},
        {"where": "cost_usd >= 0.5"},
        {"text": "nothing says this"},
    ],
    ids=["all", "failed", "run and tag", "time", "cost", "none"],
)
def test_totals_are_those_of_the_calls_that_match(store: Store, filters: dict[str, Any]) -> None:
    calls = store.calls(**filters, limit=None)
    everything = store.calls(limit=None)
    reporting = [
        c if c in calls else c.model_copy(update={"usage": None, "cost_usd": None}) for c in everything
    ]
    summary = store.summary(bars=9, **filters)
    failed = [call for call in calls if call.status not in ("ok", "open")]
    assert (summary.calls, summary.failed, summary.traces) == (
        len(calls),
        len(failed),
        len({call.trace_id for call in calls}),
    )
    assert list(summary[7:10]) == pytest.approx(add_up(reporting))
    assert sum(bar.calls for bar in summary.bars) == len(calls)
    for bar in summary.bars:
        inside = [call for call in calls if bar.start_ns <= call.start_ns < bar.end_ns]
        times = [call.duration_ns / 1e6 for call in inside if call.duration_ns is not None]
        assert (bar.calls, bar.failed) == (len(inside), sum(call in failed for call in inside))
        assert bar.mean_ms == (pytest.approx(sum(times) / len(times)) if times else None)
    for name in NUMBERS:
        parts = [n for bar in summary.bars if (n := getattr(bar, name)) is not None]
        assert (sum(parts) if parts else None) == pytest.approx(getattr(summary, name))
    times = [call.duration_ns / 1e6 for call in calls if call.duration_ns is not None]
    for share, value in ((0.5, summary.median_ms), (0.95, summary.p95_ms)):
        below = sum(time <= (value or 0) for time in times)
        assert (value is None) == (not times)
        assert abs(below - share * len(times)) <= 1 + 0.05 * len(times)


def test_totals_of_a_run_leave_out_what_a_call_of_the_run_around_reports(store: Store) -> None:
    calls = store.calls(limit=None)
    for run in read_runs(store, 10):
        own = [
            call if call.run == run["id"] else call.model_copy(update={"usage": None, "cost_usd": None})
            for call in calls
        ]
        assert [run[name] for name in NUMBERS] == pytest.approx(add_up(own))


def test_a_held_store_answers_as_of_then_and_takes_in_nothing(path: Path, writer: HandWriter) -> None:
    writer.start(1)
    store = llm_trace.open_store(path)
    with store.hold():
        writer.start(2)
        first = store.sql("SELECT count(*) FROM calls")
        second = store.sql("SELECT 7")
        assert (first.fetchall(), second.fetchall(), len(store.calls())) == ([(1,)], [(7,)], 1)
        with pytest.raises(StoreError, match="is held by this thread"):
            store.ingest()
    store.ingest()
    assert len(store.calls()) == 2


def test_brief_calls_are_the_calls_without_what_no_table_shows(path: Path, writer: HandWriter) -> None:
    for number in range(5):
        writer.start(number, start_ns=BEGIN + number, kind="llm", params={"n": 1}, metadata={"a": 2})
        writer.end(number, end_ns=BEGIN + 100 - number, output="x", usage={"input_tokens": number % 3})
    store = llm_trace.open_store(path)
    for order, numbers in (("oldest", [0, 1]), ("largest", [2, 4]), ("slowest", [0, 1])):
        whole = store.calls(limit=2, order=order)  # type: ignore[arg-type]
        assert [int(call.span_id, 16) for call in whole] == numbers
        cut = [call.model_copy(update={"params": {}, "metadata": {}}) for call in whole]
        assert store.calls(limit=2, order=order, brief=True) == cut  # type: ignore[arg-type]


def test_totals_of_a_large_store_may_be_as_old_as_is_asked_for(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(memo, "time", SimpleNamespace(monotonic=lambda: now))
    writer.call(1)
    store, steady = llm_trace.open_store(path), llm_trace.open_store(path)
    steady.keep_answers(30)

    def count() -> list[int]:
        return [store.summary().calls, steady.summary().calls, steady.summary(name="ask").calls]

    assert count() == [1, 1, 1]
    writer.call(2)
    store.ingest()
    assert count() == [2, 2, 2]  # a small store
    monkeypatch.setattr(memo, "LARGE_BYTES", 0)
    writer.call(3)
    store.ingest()
    assert count() == [3, 2, 2]
    now += 31
    assert count() == [3, 3, 3]


def test_totals_that_were_asked_for_before_are_those_of_now(path: Path, writer: HandWriter) -> None:
    writer.start(1, start_ns=BEGIN)
    writer.end(1, end_ns=BEGIN + 10**9, usage={"input_tokens": 5})
    store = llm_trace.open_store(path)
    recent = "start_time > now() - INTERVAL 1 HOUR AND random() <= 1"
    assert [store.summary().input_tokens, store.summary().input_tokens] == [5, 5]
    assert store.summary(where=recent).calls == 0
    writer.start(2, start_ns=time.time_ns())
    writer.end(2, end_ns=BEGIN + 10**9, usage={"input_tokens": 7})
    assert store.summary().input_tokens == 5
    store.ingest()
    assert (store.summary().input_tokens, store.summary(where=recent).input_tokens) == (12, 7)
