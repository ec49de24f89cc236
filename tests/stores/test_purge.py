"""What was purged is gone: from the tables, from the bytes of the file, from the spool; and stays out."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest

from llm_trace import open_store, purge
from llm_trace.errors import ConfigurationError, StoreNotFoundError
from llm_trace.stores.ingest import ingest
from llm_trace.stores.purge_conditions import PurgeReport
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

CANARY = "canary-7b1f"
RUN = "00000000000000aa"
SYSTEM = {"role": "system", "content": "Be kind to everyone."}


def chat(writer: HandWriter, number: int, text: str, **keys: object) -> None:
    """Write a call whose system message others share and whose question is its own."""
    new = [
        *(bodies(SYSTEM) if number == 0 else []),
        {"n": number + 1, "body": {"role": "user", "content": text}},
    ]
    writer.call(
        number,
        input={"m": {"$messages": [0, 2]}},
        messages_in=[[0, 0], [number + 1, number + 1]],
        messages=new,
        **keys,
    )


def bytes_of(path: Path) -> bytes:
    """Return every byte of the store and its spool."""
    return path.read_bytes() + b"".join(p.read_bytes() for p in spool_of(path).rglob("*") if p.is_file())


def left(path: Path) -> list[int]:
    return sorted(int(call.span_id, 16) for call in open_store(path).calls(limit=None))


def test_a_users_calls_are_gone_from_tables_and_bytes(path: Path, writer: HandWriter) -> None:
    for number in range(6):
        anna = number % 2
        chat(
            writer,
            number,
            CANARY if anna else "plain",
            user="anna" if anna else "bob",
            metadata={"note": CANARY if anna else ""},
        )
        writer.event(
            "score",
            id=span(number),
            span_id=span(number),
            name="s",
            value=1,
            comment=CANARY if anna else "",
            time_ns=1,
        )
        writer.event(
            "attribution",
            id=span(number),
            span_id=span(number),
            method="m",
            attribution={"prompt": CANARY if anna else ""},
            time_ns=1,
        )
    writer.raw(f'{{"event":"start","span_id":"{span(1)}","note":"{CANARY}"\n'.encode())
    writer.raw(b'{"user":"anna" torn\n')
    writer.raw(b"other garbage\n")
    writer.close()
    ingest(path)
    assert CANARY.encode() in bytes_of(path)
    report = purge(path, user="anna")
    assert report == PurgeReport(
        calls=3,
        messages=1,
        scores=3,
        attributions=3,
        spool_lines=2,
        bytes_before=report.bytes_before,
        bytes_after=path.stat().st_size,
    )
    assert CANARY.encode() not in bytes_of(path)
    assert left(path) == [0, 2, 4]
    store = open_store(path)
    assert [call.input["m"] for call in store.calls()] == [[SYSTEM, {"role": "user", "content": "plain"}]] * 3
    assert (len(store.scores(span(2))), len(store.scores(span(1)))) == (1, 0)
    assert [p.read_bytes() for p in (spool_of(path) / "quarantine").glob("*")] == [b"other garbage\n"]
    assert purge(path, user="anna").calls == 0


def test_runs_ids_and_ages(path: Path, writer: HandWriter) -> None:
    writer.event("run", id=RUN, name="exp", start_ns=BEGIN, config={"c": CANARY})
    for number in range(8):
        writer.call(number, run=RUN if number < 2 else None, trace_id=f"{number // 2:032x}")
    writer.close()
    assert purge(path, run="exp").runs == 1
    assert left(path) == [2, 3, 4, 5, 6, 7]
    assert (open_store(path).runs(), CANARY.encode() in bytes_of(path)) == ([], False)
    assert purge(path, id=span(3)).calls == 1
    assert purge(path, id=f"{2:032x}").calls == 2
    assert left(path) == [2, 6, 7]
    assert purge(path, older_than=BEGIN + 7 * 10**9).calls == 2
    assert left(path) == [7]
    assert purge(path, older_than=timedelta(days=99999)).calls == 0
    assert purge(path, older_than=timedelta(0)).calls == 1
    assert left(path) == []


def test_what_matches_all_conditions_goes(path: Path, writer: HandWriter) -> None:
    for number in range(4):
        writer.call(number, user=("anna", "bob")[number % 2])
    writer.close()
    assert purge(path, user="anna", older_than=BEGIN + 10**9).calls == 1
    assert left(path) == [1, 2, 3]


def test_the_oldest_go_until_the_file_is_small_enough(path: Path, writer: HandWriter) -> None:
    import random

    pick = random.Random(1)
    for number in range(400):
        writer.call(number, output=pick.randbytes(20_000).hex())
    writer.close()
    ingest(path)
    limit = path.stat().st_size // 2
    report = purge(path, max_bytes=limit)
    assert report.bytes_after == path.stat().st_size <= limit
    remaining = left(path)
    assert remaining == list(range(400 - len(remaining), 400))
    assert 100 < len(remaining) < 300
    assert purge(path, max_bytes=limit).calls == 0


def test_what_a_living_writer_holds_is_reported_and_removed_when_it_is_done(
    path: Path, writer: HandWriter
) -> None:
    writer.start(1, user="anna", input=CANARY)
    chat(writer, 0, CANARY, user="anna")
    report = purge(path, user="anna")
    assert (report.calls, report.pending) == (2, (writer.path.name,))
    assert left(path) == []
    writer.end(1, output=CANARY)
    writer.event("score", id=span(1), span_id=span(1), name="s", value=1, comment=CANARY, time_ns=1)
    writer.event(
        "attribution", id=span(1), span_id=span(1), method="m", attribution={"prompt": CANARY}, time_ns=1
    )
    writer.call(5, input={"m": {"$messages": [0, 1]}}, messages_in=[[0, 0]], user="bob")
    assert left(path) == [5]
    writer.close()
    store = open_store(path)
    assert CANARY.encode() not in bytes_of(path)
    assert store.call(span(5)).input == {"m": [SYSTEM]}
    assert store.sql("SELECT count(*) FROM _purge_later").fetchall() == [(0,)]


def test_files_that_an_exporter_still_needs_lose_the_lines_and_keep_their_length(
    path: Path, writer: HandWriter
) -> None:
    (spool_of(path) / "cursors").mkdir()
    (spool_of(path) / "cursors" / "slow.json").write_text(
        json.dumps({"time_ns": time.time_ns(), "positions": {}})
    )
    chat(writer, 0, CANARY, user="anna")
    chat(writer, 1, "plain", user="bob")
    writer.close()
    size = writer.path.stat().st_size
    report = purge(path, user="anna")
    assert (report.spool_lines, report.pending) == (2, ())
    assert CANARY.encode() not in bytes_of(path)
    assert writer.path.stat().st_size == size
    events = [json.loads(line) for line in writer.path.read_bytes().splitlines()]
    assert [event["event"] for event in events] == ["file", "lost", "lost", "start", "end"]
    assert events[1] == {
        "event": "lost",
        "count": 0,
        "reason": "purged",
        "messages": [{"n": 0, "body": SYSTEM}],
    }
    assert left(path) == [1]


def test_a_purge_that_was_killed_leaves_the_store_whole(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.call(1, user="anna", output=CANARY)
    writer.call(2)
    writer.close()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    open_store(path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            purge(path, user="anna")
    assert CANARY.encode() in bytes_of(path)
    assert left(path) == [2]
    assert CANARY.encode() not in bytes_of(path)
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, spool_of(path).name]


def test_readers_go_on_during_a_purge(path: Path, writer: HandWriter) -> None:
    import threading

    for number in range(20):
        writer.call(number, user="anna")
    writer.close()
    store = open_store(path)
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(len(store.calls()))

    thread = threading.Thread(target=read)
    thread.start()
    purge(path, user="anna")
    stop.set()
    thread.join()
    assert seen <= {20, 0}


def test_nothing_to_go_by_is_an_error(path: Path, writer: HandWriter) -> None:
    with pytest.raises(ConfigurationError, match="say what to purge"):
        purge(path)
    with pytest.raises(StoreNotFoundError):
        purge(path.with_name("other.duckdb"), user="x")
