"""From spool to store: what a reader sees of what was written, exactly once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store
from llm_trace.errors import NotFoundError, StoreNotFoundError, StoreVersionError
from llm_trace.record import Call, CallError, Code, Environment, Message, Part, PromptUse, Run, Score, Usage
from llm_trace.stores import load
from llm_trace.stores.ingest import ingest
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

SYSTEM = {"role": "system", "content": "Be kind."}
HI = {"role": "user", "content": "hi"}


def statuses(path: Path) -> dict[str, str]:
    return {call.span_id.lstrip("0"): call.status for call in open_store(path).calls(limit=None)}


def test_a_call_comes_back_as_it_was_written(path: Path, writer: HandWriter) -> None:
    writer.start(
        1,
        parent_id=span(9),
        input={"messages": {"$messages": [0, 2]}, "big": 2**80, "t": 0.2},
        messages_in=[[0, 1]],
        messages=bodies(SYSTEM, HI),
        tags=["a"],
        run="0123456789abcdef",
        session="s",
        user="u",
        code={"function": "app:ask", "file": "app.py", "line": 7},
        prompt={"name": "p", "version": "abcdefabcdef", "variables": {"x": 1}},
        params={"temperature": 0.2},
        metadata={"k": [1]},
        model="asked-for",
        provider="openai",
    )
    writer.end(
        1,
        output={"text": "hello"},
        model="answered",
        usage={"input_tokens": 9, "output_tokens": 2},
        cost_usd=0.5,
        first_token_ns=BEGIN + 5,
        tags=["a", "b"],
        status="error",
        error={"type": "ValueError", "message": "m", "traceback": "t"},
    )
    call = open_store(path).call(span(1))
    assert call == Call(
        trace_id=f"{1:032x}",
        span_id=span(1),
        parent_id=span(9),
        name="ask",
        kind="llm",
        start_ns=BEGIN + 10**9,
        end_ns=BEGIN + 15 * 10**8,
        status="error",
        input={"messages": [SYSTEM, HI], "big": 2**80, "t": 0.2},
        output={"text": "hello"},
        messages_in=(
            Message(role="system", parts=(Part(type="text", content="Be kind."),)),
            Message(role="user", parts=(Part(type="text", content="hi"),)),
        ),
        messages_out=call.messages_out,
        error=CallError(type="ValueError", message="m", traceback="t"),
        model="answered",
        provider="openai",
        params={"temperature": 0.2},
        usage=Usage(input_tokens=9, output_tokens=2),
        cost_usd=0.5,
        first_token_ns=BEGIN + 5,
        prompt=PromptUse(name="p", version="abcdefabcdef", variables={"x": 1}),
        session="s",
        user="u",
        tags=("a", "b"),
        metadata={"k": [1]},
        run="0123456789abcdef",
        code=Code(function="app:ask", file="app.py", line=7),
    )


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, 'é\n"\\\u0000 \U0001f600']},
        [],
        "text",
        0,
        -0.0,
        1e300,
        2**64,
        {"$messages": [0, 1]},
        {"": {}},
    ],
)
def test_input_and_output_keep_their_values(path: Path, writer: HandWriter, value: object) -> None:
    writer.start(1, input=value)
    writer.end(1, output=value)
    call = open_store(path).call(span(1))
    assert json.dumps([call.input, call.output]) == json.dumps([value, value])


def test_placeholders_are_filled_wherever_they_stand(path: Path, writer: HandWriter) -> None:
    given = {"args": [{"$messages": [0, 1]}, {"more": {"$messages": [1, 3]}}], "empty": {"$messages": [3, 3]}}
    writer.start(1, input=given, messages_in=[[1, 1], [0, 1]], messages=bodies(SYSTEM, HI))
    writer.end(
        1,
        output=[{"$messages": [0, 1]}],
        messages_out=[[2, 2]],
        messages=bodies({"role": "assistant", "content": "ok"}, first=2),
    )
    call = open_store(path).call(span(1))
    assert call.input == {"args": [[HI], {"more": [SYSTEM, HI]}], "empty": []}
    assert call.output == [[{"role": "assistant", "content": "ok"}]]
    assert [m.text for m in call.messages_in] == ["hi", "Be kind.", "hi"]
    assert [m.text for m in call.messages_out] == ["ok"]


def test_a_message_of_any_shape_comes_back_whole(path: Path, writer: HandWriter) -> None:
    odd: list[dict[str, Any]] = [
        {"content": "order of keys", "role": "user"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "two"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {"role": "user", "content": "more keys", "name": "n"},
        {"role": 'us"er', "content": 'quo"ted \\ \n'},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "user", "content": ""},
        {"role": "user"},
        {"role": "user", "content": "ünï"},
    ]
    writer.start(
        1, input={"m": {"$messages": [0, len(odd)]}}, messages_in=[[0, len(odd) - 1]], messages=bodies(*odd)
    )
    call = open_store(path).call(span(1))
    assert call.input == {"m": odd}
    assert [list(message) for message in call.input["m"]] == [list(message) for message in odd]


def test_a_message_is_stored_once_for_all_files_and_writers(path: Path, writer: HandWriter) -> None:
    other = HandWriter(spool_of(path))
    for number, hand in enumerate((writer, other, writer)):
        hand.rotate()
        hand.start(
            number, input={"m": {"$messages": [0, 2]}}, messages_in=[[0, 1]], messages=bodies(SYSTEM, HI)
        )
        if number == 1:
            ingest(path)
    store = open_store(path)
    assert store.sql("SELECT count(*) FROM messages").fetchall() == [(2,)]
    assert [call.input for call in store.calls()] == [{"m": [SYSTEM, HI]}] * 3


def test_messages_that_share_a_hash_stay_apart(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm_trace.stores import staging

    monkeypatch.setattr(staging, "BODIES", staging.BODIES.replace("hash(body) AS hash", "7::UBIGINT AS hash"))
    for number, text in enumerate(("a", "b", "a", "b")):
        body = {"role": "user", "content": text}
        writer.start(
            number,
            input={"m": {"$messages": [0, 1]}},
            messages_in=[[number, number]],
            messages=bodies(body, first=number),
        )
        if number != 2:
            ingest(path)
    store = open_store(path)
    assert [call.input["m"][0]["content"] for call in store.calls()] == ["b", "a", "b", "a"]
    assert store.sql("SELECT count(*) FROM messages").fetchall() == [(2,)]


def test_a_message_whose_line_was_lost_says_so(path: Path, writer: HandWriter) -> None:
    writer.start(1, input={"m": {"$messages": [0, 2]}}, messages_in=[[0, 0], [5, 5]], messages=bodies(HI))
    call = open_store(path).call(span(1))
    assert call.input == {"m": [HI, {"role": "unknown", "content": None, "$lost": True}]}


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
        said = {"time_ns": time.time_ns() - int(age_days * 86400e9), "positions": places}
        (cursors / f"{name}.json").write_text(json.dumps(said))

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
    kept = (spool_of(path) / "quarantine" / writer.path.name).read_bytes()
    assert kept == b"".join(line + b"\n" for line in [*bad, b'{"event":"start","span_id":"torn'])
    assert open_store(path).sql("SELECT bad_lines FROM _files").fetchall() == [(len(bad) + 1,)]


def test_a_field_of_the_wrong_type_costs_only_itself(path: Path, writer: HandWriter) -> None:
    writer.start(1, input="kept", usage=5, tags="x", messages_in="x", code=[1], model={"a": 1})
    (call,) = open_store(path).calls()
    assert (call.input, call.usage, call.tags, call.code) == ("kept", None, (), None)


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


def test_runs_merge_key_by_key(path: Path, writer: HandWriter) -> None:
    environment = {
        "python": "3.11",
        "platform": "Linux",
        "packages": {"a": "1"},
        "git_commit": None,
        "unknown": 1,
    }
    writer.event(
        "run", id=span(1), name="exp", config={"a": 1}, tags=["t"], environment=environment, start_ns=5
    )
    ingest(path)
    writer.event("run", id=span(1), end_ns=9)
    writer.event("run", id=span(2), name="next", start_ns=6)
    assert open_store(path).runs() == [
        Run(id=span(2), name="next", start_ns=6),
        Run(
            id=span(1),
            name="exp",
            config={"a": 1},
            tags=("t",),
            environment=Environment(python="3.11", platform="Linux", packages={"a": "1"}),
            start_ns=5,
            end_ns=9,
        ),
    ]


def test_prompt_versions_are_numbered_by_first_use(path: Path, writer: HandWriter) -> None:
    writer.event("prompt", name="p", version="bbb", template="B {x}", time_ns=BEGIN + 9)
    writer.event("prompt", name="p", version="aaa", template="A {x}", time_ns=BEGIN + 5)
    writer.event("prompt", name="p", version="bbb", template="B {x}", time_ns=BEGIN + 2)
    writer.call(1, prompt={"name": "p", "version": "bbb"})
    writer.call(2, prompt={"name": "p", "version": "bbb"})
    found = [
        (p.version, p.number, p.template, p.first_ns, p.last_ns, p.calls) for p in open_store(path).prompts()
    ]
    assert found == [
        ("bbb", 1, "B {x}", BEGIN + 2, BEGIN + 2 * 10**9, 2),
        ("aaa", 2, "A {x}", BEGIN + 5, BEGIN + 5, 0),
    ]


def test_the_later_attribution_of_a_kind_wins_and_failures_are_in_the_table(
    path: Path, writer: HandWriter
) -> None:
    record = {
        "method": "occlusion", "segments": [{"start": 0, "end": 2, "text": "hi"}], "values": [0.5],
        "bounds": "exact", "prompt": "hi", "response": "yes", "target": "the response",
        "baseline": "delete", "low": [0.4], "high": [0.6],
    }  # fmt: skip

    def attribution(number: int, **keys: object) -> None:
        fields = {
            "span_id": span(1),
            "method": "occlusion",
            "config_hash": "c",
            "time_ns": number,
            "status": "ok",
        }
        writer.event("attribution", id=span(number), **(fields | keys))

    writer.call(1)
    attribution(1, attribution=record)
    attribution(2, attribution=record | {"values": [0.7]})
    ingest(path)
    attribution(3, attribution=record | {"values": [0.9]})
    attribution(4, method="shapley", status="failed", error="out of memory")
    store = open_store(path)
    (found,) = store.attributions(span(1))
    assert (found.values, found.span_id, found.time_ns) == ((0.9,), span(1), 3)
    assert store.sql("SELECT status, error, verdict FROM attributions ORDER BY time_ns").fetchall() == [
        ("ok", None, None),
        ("failed", "out of memory", None),
    ]
    segments = "SELECT text, value, low, high FROM attribution_segments"
    assert store.sql(segments).fetchall() == [("hi", 0.9, 0.4, 0.6)]


def test_scores_keep_their_type(path: Path, writer: HandWriter) -> None:
    for number, value in enumerate((0.5, 3, True, "good")):
        writer.event(
            "score",
            id=span(number),
            span_id=span(1),
            name="s",
            value=value,
            source="human",
            comment="c",
            time_ns=number,
        )
    scores = open_store(path).scores(span(1))
    assert [(s.value, type(s.value)) for s in scores] == [
        (0.5, float),
        (3, float),
        (True, bool),
        ("good", str),
    ]
    numbers = open_store(path).sql("SELECT number FROM scores ORDER BY time_ns").fetchall()
    assert numbers == [(0.5,), (3.0,), (1.0,), (None,)]


def test_what_writers_lost_is_counted(path: Path, writer: HandWriter) -> None:
    writer.event("lost", count=3, reason="ENOSPC", time_ns=5)
    assert open_store(path).sql("SELECT count, reason FROM _lost").fetchall() == [(3, "ENOSPC")]


def test_nothing_there_is_an_error(path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"traces\.duckdb"):
        open_store(path)
    spool_of(path).mkdir()
    with pytest.raises(StoreNotFoundError):
        open_store(path)


def test_an_unknown_call_is_an_error(path: Path, writer: HandWriter) -> None:
    writer.call(1)
    with pytest.raises(NotFoundError, match="no call 'nope'"):
        open_store(path).call("nope")


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
