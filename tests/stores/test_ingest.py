"""From spool to store: every line is read exactly once, in whatever order and slices it comes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from llm_trace import open_store
from llm_trace.errors import StoreVersionError
from llm_trace.record import Score
from llm_trace.stores import load
from llm_trace.stores.ingest import ingest
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

SYSTEM = {"role": "system", "content": "Be kind."}


def statuses(path: Path) -> dict[str, str]:
    return {call.span_id.lstrip("0"): call.status for call in open_store(path).calls(limit=None)}


def test_ends_find_their_starts_in_later_ingests(path: Path, writer: HandWriter) -> None:
    writer.start(1, input={"q": 1}, tags=["t"])
    assert statuses(path) == {"1": "open"}
    writer.rotate()
    writer.end(1, output="late")
    call = open_store(path).call(span(1))
    assert (call.status, call.input, call.output, call.tags) == ("ok", {"q": 1}, "late", ("t",))


def test_an_end_may_be_read_before_its_start(path: Path, writer: HandWriter) -> None:
    forked = HandWriter(spool_of(path))
    forked.end(1, output="first", model="m")
    (orphan,) = open_store(path).calls()
    assert (orphan.name, orphan.status, orphan.trace_id, orphan.output) == (
        "unknown",
        "ok",
        "0" * 32,
        "first",
    )
    forked.end(1, output="again")
    writer.start(1, input={"q": 1})
    writer.end(1, output="third")
    (call,) = open_store(path).calls()
    assert (call.name, call.status, call.input, call.output, call.model) == (
        "ask",
        "ok",
        {"q": 1},
        "first",
        "m",
    )
    assert call.start_ns == BEGIN + 10**9


def test_a_call_of_a_writer_that_is_gone_is_interrupted_until_its_end_comes(
    path: Path, writer: HandWriter
) -> None:
    writer.start(1, input="kept")
    writer.rotate()
    writer.start(2)
    writer.close()
    assert statuses(path) == {"1": "interrupted", "2": "interrupted"}
    other = HandWriter(spool_of(path))
    other.end(1, output="late")
    assert statuses(path) == {"1": "ok", "2": "interrupted"}
    assert open_store(path).call(span(1)).input == "kept"


def test_a_writer_lives_while_its_newest_file_is_locked(path: Path, writer: HandWriter) -> None:
    writer.start(1)
    ingest(path)
    for _ in range(3):
        writer.rotate()
    assert statuses(path) == {"1": "open"}


def test_repeated_lines_change_nothing(path: Path, writer: HandWriter) -> None:
    for _ in range(2):
        for output in ("first", "second"):
            writer.start(1, input=output)
            writer.end(1, output=output)
            writer.event("score", id=span(7), span_id=span(1), name="good", value=1, time_ns=5)
        ingest(path)
    store = open_store(path)
    (call,) = store.calls()
    assert (call.input, call.output) == ("first", "first")
    assert store.scores(span(1)) == [Score(span_id=span(1), name="good", value=1, time_ns=5)]


def test_files_that_were_read_to_their_end_are_deleted_and_live_ones_are_not(
    path: Path, writer: HandWriter
) -> None:
    writer.call(1)
    writer.rotate()
    writer.call(2)
    report = ingest(path)
    assert report.deleted == [f"{writer.id}.00000001.jsonl"]
    assert [p.name for p in spool_of(path).glob("*.jsonl")] == [writer.path.name]
    writer.close()
    ingest(path)
    assert list(spool_of(path).glob("*.jsonl")) == []
    assert len(open_store(path).calls()) == 2


def test_other_readers_keep_the_files_that_they_still_need(path: Path, writer: HandWriter) -> None:
    cursors = spool_of(path) / "cursors"
    cursors.mkdir()

    def cursor(name: str, age_days: float, **positions: int) -> None:
        places = {
            writer.id: {"file": file.replace("_", "."), "offset": offset}
            for file, offset in positions.items()
        }
        content = {"time_ns": time.time_ns() - int(age_days * 86400e9), "positions": places}
        (cursors / f"{name}.json").write_text(json.dumps(content))

    writer.call(1)
    writer.rotate()
    first = spool_of(path) / f"{writer.id}.00000001.jsonl"
    size = first.stat().st_size
    cursor("new", 0)
    assert ingest(path).deleted == []
    cursor("new", 0, **{first.name.replace(".", "_"): size - 1})
    assert ingest(path).deleted == []
    cursor("idle", 8)
    cursor("new", 0, **{first.name.replace(".", "_"): size})
    open_store(path)
    assert not first.exists()
    assert len(open_store(path).calls()) == 1


def test_bad_lines_go_to_quarantine_and_good_ones_are_read(path: Path, writer: HandWriter) -> None:
    bad = [
        b"garbage", b'{"event":"start"}', b"[1]", b'{"event":"party"}', b"\xff\xfe",
        b'{"event":"end","span_id":"x","end_ns":1,"status":"odd"}',
        b'{"event":"start","span_id":"x","start_ns":"soon"}', b"null",
        b'{"event":"start","span_id":"x","start_ns":1,"kind":"odd"}',
    ]  # fmt: skip
    for number, line in enumerate(bad):
        writer.call(number)
        writer.raw(line + b"\n\n  \n")
    writer.raw(b'{"event":"start","span_id":"torn')
    assert ingest(path).bad_lines == len(bad)
    writer.close()
    assert ingest(path).bad_lines == 1
    assert len(open_store(path).calls()) == len(bad)
    quarantined = (spool_of(path) / "quarantine" / writer.path.name).read_bytes()
    assert quarantined == b"".join(line + b"\n" for line in [*bad, b'{"event":"start","span_id":"torn'])
    assert open_store(path).sql("SELECT bad_lines FROM _files").fetchall() == [(len(bad) + 1,)]


def test_a_newer_spool_format_is_refused_and_the_rest_is_read(path: Path, writer: HandWriter) -> None:
    writer.call(1)
    newer = HandWriter(spool_of(path), format_=2)
    newer.call(2)
    newer.close()
    before = newer.path.read_bytes()
    with pytest.raises(StoreVersionError, match=r"has spool format 2.*pip install -U"):
        open_store(path)
    assert newer.path.read_bytes() == before
    newer.path.unlink()
    assert len(open_store(path).calls()) == 1


def test_a_newer_store_says_so(path: Path, writer: HandWriter) -> None:
    import duckdb

    writer.call(1)
    ingest(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO _migrations VALUES (99, 'later', 0)")
    with pytest.raises(StoreVersionError, match=r"schema 99.*pip install -U"):
        open_store(path)


@pytest.mark.parametrize("size", [300, 1500, 10**6])
def test_slices_cut_anywhere_give_the_same_store(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(load, "SLICE_BYTES", size)
    other = HandWriter(spool_of(path))
    for number in range(30):
        hand = (writer, other)[number % 2]
        hand.start(
            number,
            input={"m": {"$messages": [0, 2]}},
            messages_in=[[0, 0], [number // 2 + 1] * 2],
            messages=bodies(
                *([SYSTEM] if number < 2 else []),
                {"role": "user", "content": f"q{number}"},
                first=number // 2 + (number > 1),
            ),
        )
        if number > 3:
            (writer, other)[number % 2].end(number - 4, output="x" * 400)
    writer.close()
    store = open_store(path)
    calls = store.calls(limit=None)
    assert [call.input["m"][1]["content"] for call in calls] == [f"q{n}" for n in reversed(range(30))]
    assert all(call.input["m"][0] == SYSTEM for call in calls)
    assert [call.status for call in calls] == ["open", "interrupted"] * 2 + ["ok"] * 26
    assert store.sql("SELECT count(*), count(DISTINCT text) FROM messages").fetchall() == [(31, 31)]


def test_much_is_ingested_by_a_child_process(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm_trace.stores import catch_up

    monkeypatch.setattr(catch_up, "IN_PROCESS_BYTES", 100)
    monkeypatch.setattr(catch_up, "ingest", None)
    writer.call(1)
    assert len(open_store(path).calls()) == 1
    newer = HandWriter(spool_of(path), format_=2)
    newer.call(2)
    with pytest.raises(StoreVersionError, match="has spool format 2"):
        open_store(path)
