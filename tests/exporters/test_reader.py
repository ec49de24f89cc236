"""Reading the spool for exporters: the same calls as in the store, whoever restarts, with little memory."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.exporters.delivery import memory, reader
from llm_trace.exporters.delivery.cursor import Cursor, get_cursor_path
from llm_trace.exporters.delivery.reader import Reader
from llm_trace.exporters.delivery.status import get_standing
from llm_trace.exporters.protocol import Event
from llm_trace.record import Call
from llm_trace.stores.ingest import ingest
from tests.conftest import Recorded
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

DAY_NS = 24 * 3600 * 10**9


class Reading:
    """A reader of a spool that can be begun anew from its cursor, as another process would."""

    def __init__(self, folder: Path, *, whole_traces: bool = False) -> None:
        self.folder = folder
        self.whole = whole_traces
        self.begin()

    def begin(self) -> None:
        self.cursor = Cursor.load(self.folder, "test://")
        self.cursor.every = True
        self.reader = Reader(self.folder, self.cursor, whole_traces=self.whole)

    def restart(self) -> None:
        self.reader.close()
        self.begin()

    def groups(self) -> list[list[Event]]:
        found = list(self.reader.groups())
        self.cursor.save()
        return found

    def ids(self) -> list[list[str]]:
        return [[event.id for event in group] for group in self.groups()]

    def events(self) -> list[Event]:
        return [event for group in self.groups() for event in group]


@pytest.fixture
def spool(tmp_path: Path) -> HandWriter:
    return HandWriter(spool_of(tmp_path / "t.duckdb"))


@pytest.fixture
def read() -> Iterator[Callable[..., Reading]]:
    made: list[Reading] = []

    def reading(folder: Path, *, whole_traces: bool = False) -> Reading:
        made.append(Reading(folder, whole_traces=whole_traces))
        return made[-1]

    yield reading
    for each in made:
        each.reader.close()


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_exporters_are_given_the_calls_that_the_store_has(
    recorded: Recorded, read: Callable[..., Reading]
) -> None:
    llm_trace.configure(recorded.path, run="night", record_env=False)

    @llm_trace.trace(kind="llm", model="m", tags=["a"])
    def ask(messages: list[dict[str, Any]], temperature: float) -> Any:
        llm_trace.update_current_call(usage={"input_tokens": 3}, metadata={"big": 2**53}, cost_usd=0.5)
        return {"choices": [{"message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}]}

    @llm_trace.trace
    def work(question: str) -> str:
        chat: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}]
        for turn in range(3):
            chat.append(user(f"{question} {turn}"))
            ask(list(chat), temperature=turn / 2)
        raise ValueError("no")

    prompt = llm_trace.Prompt("p", "Say {word}, and say no more than that.")
    with llm_trace.using_session("s", user="anna"), pytest.raises(ValueError, match="no"):
        work(prompt.format(word="so"))
    reading = read(spool_of(recorded.path))
    found = {e.id: dict(e.data) for e in reading.events() if e.kind == "call"}
    assert len(found) == 4
    for data in found.values():
        data["prompt"] = {k: v for k, v in data["prompt"].items() if k != "template"}  # given besides
    assert {span_id: Call.model_validate(data) for span_id, data in found.items()} == {
        call.span_id: call for call in recorded.calls()
    }


def test_a_reader_that_restarts_knows_the_messages_that_came_before(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    first, second = user("first"), user("second")
    spool.call(1, messages_in=[[0, 1]], messages=bodies(first, second), input={"m": {"$messages": [0, 2]}})
    reading = read(spool.folder)
    assert reading.ids() == [[span(1)]]
    spool.call(2, messages_in=[[1, 1], [0, 0]], input={"m": {"$messages": [0, 2]}, "n": 1})
    spool.call(3, messages_in=[[7, 7]], input={"$messages": [0, 1]})
    reading.restart()
    known, lost = reading.events()
    assert known.data["input"] == {"m": [second, first], "n": 1}
    assert [m["parts"][0]["content"] for m in known.data["messages_in"]] == ["second", "first"]
    assert lost.data["messages_in"] == [{"role": "unknown", "parts": []}]


def test_an_open_call_holds_back_its_file_and_nobody_else(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    spool.start(1, messages_in=[[0, 0]], messages=bodies(user("long ago")), input={"$messages": [0, 1]})
    spool.call(2)
    opened = spool.path
    spool.rotate()
    spool.call(3)
    reading = read(spool.folder)
    assert reading.ids() == [[span(2)], [span(3)]]
    told = json.loads(reading.cursor.path.read_bytes())["positions"][spool.id]
    assert (told["file"], told["offset"] > 0) == (opened.name, True)
    reading.restart()
    assert reading.ids() == []
    spool.end(1, output="at last")
    (late,) = reading.events()
    assert (late.id, late.data["output"], late.data["input"]) == (span(1), "at last", [user("long ago")])
    assert json.loads(reading.cursor.path.read_bytes())["positions"][spool.id]["file"] == spool.path.name


def test_a_call_whose_writer_has_gone_is_interrupted_until_its_end_comes_after_all(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    spool.start(1, input="why?")
    reading = read(spool.folder)
    assert reading.ids() == []
    spool.close()
    (gone,) = reading.events()
    assert (gone.data["status"], gone.data["input"], "end_ns" in gone.data) == ("interrupted", "why?", False)
    reading.restart()
    assert reading.ids() == []
    child = HandWriter(spool.folder)  # a fork of the writer ends what its parent began
    child.end(1, output="late")
    (late,) = reading.events()
    assert (late.data["status"], late.data["input"], late.data["output"]) == ("ok", "why?", "late")


def test_an_end_whose_start_was_lost_still_makes_a_call(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    spool.event("end", span_id=span(5), trace_id="a" * 32, end_ns=BEGIN, status="error", output="x")
    spool.event("end", span_id=span(5), trace_id="a" * 32, end_ns=BEGIN, status="error", output="x")
    (found, *_) = read(spool.folder).events()
    assert Call.model_validate(found.data).name == "unknown"
    assert (found.data["trace_id"], found.data["start_ns"]) == ("a" * 32, BEGIN)


def test_a_trace_comes_whole_when_its_root_has_ended(spool: HandWriter, read: Callable[..., Reading]) -> None:
    trace = {"trace_id": "a" * 32}
    spool.start(1, **trace)
    spool.start(2, parent_id=span(1), **trace)
    spool.start(3, parent_id=span(2), **trace)
    spool.start(4, parent_id=span(1), **trace)
    spool.end(3)
    spool.end(2)
    reading = read(spool.folder, whole_traces=True)
    assert reading.ids() == []
    assert get_standing(spool.folder, "test://").pending == 2
    reading.restart()
    spool.call(9)
    spool.end(1)
    assert reading.ids() == [[span(9)], [span(1), span(2), span(3)]]
    spool.end(4)
    spool.event("score", id=span(70), span_id=span(2), name="s", value=1, time_ns=1)
    late, score = reading.groups()
    assert [event.id for event in late] == [span(4)]
    assert score[0].data["trace_id"] == "a" * 32
    assert get_standing(spool.folder, "test://").pending == 0


def test_a_trace_whose_root_is_elsewhere_comes_when_none_of_its_calls_is_open(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    elsewhere = {"trace_id": "b" * 32, "parent_id": "f" * 16}
    spool.start(1, **elsewhere)
    spool.start(2, **elsewhere)
    spool.end(1)
    reading = read(spool.folder, whole_traces=True)
    assert reading.ids() == []
    spool.close()
    (group,) = reading.groups()
    assert [(event.id, event.data["status"]) for event in group] == [
        (span(1), "ok"),
        (span(2), "interrupted"),
    ]


def test_a_run_comes_when_it_begins_and_whole_when_it_ends(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    spool.event("run", id="a" * 16, name="night", config={"t": 1}, start_ns=1)
    reading = read(spool.folder)
    assert reading.ids() == [["a" * 16]]
    reading.restart()
    spool.event("run", id="a" * 16, end_ns=9)
    spool.event("prompt", name="p", version="1" * 12, template="Say it.", time_ns=3)
    run, prompt = reading.events()
    assert run.data == {"id": "a" * 16, "name": "night", "config": {"t": 1}, "start_ns": 1, "end_ns": 9}
    assert (prompt.id, prompt.data["template"]) == ("p:" + "1" * 12, "Say it.")


def test_lines_that_are_no_events_and_files_of_a_newer_format_are_passed_over(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    spool.raw(b"nonsense\n[]\n\n")
    spool.call(1, messages=[{"n": "x"}, None, {"n": 10**9, "body": {}}])
    HandWriter(spool.folder, format_=99).call(8)
    spool.raw(b'{"event":"end","span_id":"torn')
    spool.close()
    reading = read(spool.folder)
    assert reading.ids() == [[span(1)]]
    assert reading.ids() == []


def test_memory_does_not_grow_with_what_is_open_or_was_said(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    text = "x" * 6000
    for number in range(5_000):
        spool.start(number + 1, messages_in=[[number, number]], messages=bodies(user(text), first=number))
    reading = read(spool.folder)
    tracemalloc.start()
    assert reading.ids() == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spool.path.stat().st_size > 30_000_000
    assert peak < 15_000_000


def test_spool_files_stay_until_every_destination_has_read_them(
    tmp_path: Path, spool: HandWriter, read: Callable[..., Reading]
) -> None:
    reading = read(spool.folder)
    reading.groups()
    spool.call(1)
    spool.close()
    store = tmp_path / "t.duckdb"
    ingest(store)
    assert spool.path.exists()
    assert reading.ids() == [[span(1)]]
    ingest(store)
    assert not spool.path.exists()
    assert reading.ids() == []
    assert reading.cursor.read == {}


def test_what_nobody_could_deliver_for_seven_days_is_released_and_counted(
    tmp_path: Path, spool: HandWriter, read: Callable[..., Reading]
) -> None:
    reading = read(spool.folder)
    spool.call(1)
    reading.groups()
    spool.call(2)
    spool.close()
    path = get_cursor_path(spool.folder, "test://")
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps({**told, "time_ns": time.time_ns() - 8 * DAY_NS}))
    ingest(tmp_path / "t.duckdb")
    assert not spool.path.exists()
    reading.restart()
    reading.cursor.revive(time.time_ns())
    assert get_standing(spool.folder, "test://").dropped == 1
    reading.cursor.revive(time.time_ns())
    assert get_standing(spool.folder, "test://").dropped == 1


def test_what_is_pending_is_counted_without_reading_it_whole(
    spool: HandWriter, read: Callable[..., Reading]
) -> None:
    reading = read(spool.folder)
    reading.groups()
    spool.call(1)
    spool.start(2)
    spool.raw(json.dumps({"span_id": span(3), "event": "end"}).encode() + b"\n")
    spool.event("score", id=span(70), span_id=span(1), name="s", value=1, time_ns=1)
    assert get_standing(spool.folder, "test://").pending == 3
    spool.close()
    assert get_standing(spool.folder, "test://").pending == 4
    assert len(reading.groups()) == 4
    assert get_standing(spool.folder, "test://").pending == 0


COUNTED = {"input_tokens": 9, "output_tokens": 2}
EITHER_WAY = pytest.mark.parametrize("whole", [False, True], ids=["each", "whole-traces"])


def told(events: list[Event]) -> list[tuple[str, Any, Any]]:
    return [(event.id, event.data.get("kind"), event.data.get("usage")) for event in events]


@EITHER_WAY
def test_a_call_waits_for_the_one_around_it_that_stands_for_it(
    spool: HandWriter, read: Callable[..., Reading], whole: bool
) -> None:
    trace = {"trace_id": "a" * 32}
    reading = read(spool.folder, whole_traces=whole)
    spool.start(1, **trace)
    spool.start(2, parent_id=span(1), **trace)
    spool.end(2, usage=COUNTED, inside=span(1))
    assert reading.events() == []
    assert get_standing(spool.folder, "test://").pending == 1
    reading.restart()
    spool.end(1, usage=COUNTED, same=[span(2)])
    assert told(reading.events()) == [(span(1), "llm", COUNTED)]
    assert get_standing(spool.folder, "test://").pending == 0


@EITHER_WAY
def test_a_call_whose_tokens_were_handed_on_with_the_one_inside_it_comes_as_a_step_without_tokens(
    spool: HandWriter, read: Callable[..., Reading], whole: bool
) -> None:
    trace = {"trace_id": "a" * 32}
    reading = read(spool.folder, whole_traces=whole)
    spool.start(2, parent_id=span(1), **trace)
    spool.end(2, usage=COUNTED)
    assert told(reading.events()) == [(span(2), "llm", COUNTED)]
    spool.start(1, **trace)
    spool.end(1, usage=COUNTED, cost_usd=0.5, same=[span(2)])
    (around,) = reading.events()
    assert told([around]) == [(span(1), "chain", None)]
    assert "cost_usd" not in around.data
    assert around.data["metadata"]["repeats"] == span(2)


@EITHER_WAY
def test_tokens_that_only_the_later_of_two_accounts_tells_are_handed_on_with_it(
    spool: HandWriter, read: Callable[..., Reading], whole: bool
) -> None:
    trace = {"trace_id": "a" * 32}
    reading = read(spool.folder, whole_traces=whole)
    spool.start(1, **trace)
    spool.end(1)
    assert told(reading.events()) == [(span(1), "llm", None)]
    spool.start(2, parent_id=span(1), **trace)
    spool.end(2, usage=COUNTED, same=[span(1)])
    assert told(reading.events()) == [(span(2), "llm", COUNTED)]


@EITHER_WAY
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_scores_of_a_call_that_another_stands_for_are_that_ones(
    spool: HandWriter, read: Callable[..., Reading], whole: bool, late: bool
) -> None:
    trace = {"trace_id": "a" * 32}
    reading = read(spool.folder, whole_traces=whole)

    def say() -> None:
        spool.event("score", id=span(70), span_id=span(3), name="s", value=1, time_ns=1)

    spool.start(3, parent_id=span(2), **trace)
    spool.end(3, usage=COUNTED, inside=span(2))
    if not late:
        say()
        assert reading.events() == []
    spool.start(2, parent_id=span(1), **trace)
    spool.end(2, usage=COUNTED, inside=span(1), same=[span(3)])
    assert reading.events() == []
    spool.start(1, **trace)
    spool.end(1, usage=COUNTED, same=[span(2), span(3)])
    if late:
        say()
    call, score = reading.events()
    assert told([call]) == [(span(1), "llm", COUNTED)]
    assert (score.data["span_id"], score.data["trace_id"]) == (span(1), "a" * 32)


def spoken(events: list[Event]) -> list[tuple[str, Any, Any]]:
    return sorted((event.id, event.data.get("span_id"), event.data.get("trace_id")) for event in events)


@EITHER_WAY
@pytest.mark.parametrize("restarts", [False, True], ids=["one-reader", "restarted"])
def test_a_restart_forgets_nothing_of_the_calls_that_were_handed_on(
    spool: HandWriter, read: Callable[..., Reading], whole: bool, restarts: bool
) -> None:
    trace, reading = {"trace_id": "a" * 32}, read(spool.folder, whole_traces=whole)

    def go_on() -> list[Event]:
        events = reading.events()
        if restarts:
            reading.restart()
        return events

    spool.start(2, parent_id=span(1), **trace)
    spool.end(2, usage=COUNTED)
    spool.start(3, **trace)
    spool.start(4, parent_id=span(3), **trace)
    spool.end(4, inside=span(3))
    spool.end(3, same=[span(4)])
    assert {event.id for event in go_on()} == {span(2), span(3)}
    spool.event("score", id=span(70), span_id=span(2), name="s", value=1, time_ns=1)
    spool.event("score", id=span(71), span_id=span(4), name="s", value=1, time_ns=1)
    assert spoken(go_on()) == [(span(70), span(2), "a" * 32), (span(71), span(3), "a" * 32)]
    spool.start(1, **trace)
    spool.end(1, usage=COUNTED, same=[span(2)])
    assert told(go_on()) == [(span(1), "chain", None)]
    spool.call(5, usage=COUNTED)
    assert told(go_on()) == [(span(5), "llm", COUNTED)]
    spool.start(6, parent_id=span(5), trace_id=f"{5:032x}")
    spool.end(6, inside=span(5))  # which ended before
    assert [event.id for event in go_on()] == [span(6)]
    assert get_standing(spool.folder, "test://").pending == 0


@pytest.mark.parametrize("restarts", [False, True], ids=["one-reader", "restarted"])
def test_what_is_said_of_calls_of_other_destinations_is_not_handed_on_whoever_restarts(
    spool: HandWriter, read: Callable[..., Reading], restarts: bool
) -> None:
    other = HandWriter(spool.folder, exporters=["elsewhere://"])
    reading = read(spool.folder)
    reading.cursor.every = False
    other.call(1)
    spool.call(2)
    assert reading.ids() == [[span(2)]]
    if restarts:
        reading.restart()
        reading.cursor.every = False
    spool.event("score", id=span(70), span_id=span(1), name="s", value=1, time_ns=1)
    spool.event("score", id=span(71), span_id=span(2), name="s", value=1, time_ns=1)
    assert reading.ids() == [[span(71)]]


def test_the_calls_of_other_destinations_that_are_remembered_are_bounded(
    spool: HandWriter, read: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MOST", 10)
    other = HandWriter(spool.folder, exporters=["elsewhere://"])
    reading = read(spool.folder)
    reading.cursor.every = False
    for number in range(1, 30):
        other.call(number)
    assert reading.ids() == []
    spool.event("score", id=span(70), span_id=span(29), name="s", value=1, time_ns=1)
    spool.event("score", id=span(71), span_id=span(1), name="s", value=1, time_ns=1)
    assert reading.ids() == [[span(71)]]  # the oldest are forgotten


def test_a_reader_that_is_ended_among_many_lines_of_open_calls_goes_on_where_it_was(
    spool: HandWriter, read: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_MOST_PASSED", 2_000)
    reading = read(spool.folder)
    for number in range(1, 100):
        spool.start(number)
    assert next(reading.reader.groups()) == []
    reading.cursor.save()
    reading.restart()
    assert 2_000 < reading.cursor.read[spool.id][1] < 3_000
    assert [group for group in reading.ids() if group] == []
    spool.end(1)
    assert reading.ids() == [[span(1)]]
