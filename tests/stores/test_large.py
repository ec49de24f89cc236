"""Whatever the spool holds gets into the store, in bounded memory; a line that cannot is set aside."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from llm_trace import open_store
from llm_trace.errors import StoreError, StoreVersionError
from llm_trace.stores import compact, instances, load
from llm_trace.stores import ingest as ingesting
from llm_trace.stores.connection import Database
from llm_trace.stores.ingest import ingest
from llm_trace.stores.purge import purge
from tests.helpers.cli_toys import invoke
from tests.helpers.spool_toys import HandWriter, bodies, span, spool_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEGABYTE = "x" * 1_000_000


def quarantined(path: Path, writer: HandWriter) -> list[bytes]:
    return (spool_of(path) / "quarantine" / writer.path.name).read_bytes().splitlines()


def images(number: int) -> dict[str, Any]:
    """Return the fields of a call with one message that holds an image of a megabyte."""
    body = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"{number}{MEGABYTE}"}}]}
    listed = bodies(body, first=number)
    return {"input": {"m": {"$messages": [0, 1]}}, "messages_in": [[number, number]], "messages": listed}


def test_thirty_images_of_a_megabyte_are_read_with_all_defaults(path: Path, writer: HandWriter) -> None:
    for number in range(30):
        writer.call(number, **images(number))
    lengths = [len(call.input["m"][0]["content"][0]["image_url"]["url"]) for call in open_store(path).calls()]
    assert lengths == [1_000_000 + len(str(number)) for number in reversed(range(30))]


class Starved:
    """A connection of which one checkpoint fails for want of memory."""

    def __init__(self, inner: duckdb.DuckDBPyConnection, checkpoints: list[str], fails: int) -> None:
        self.inner, self.checkpoints, self.fails = inner, checkpoints, fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def execute(self, query: str, *values: Any) -> Any:
        result = self.inner.execute(query, *values)
        if query.startswith("DETACH"):
            self.checkpoints.append(query)
            if len(self.checkpoints) == self.fails:
                raise duckdb.IOException("CHECKPOINT failed: could not allocate block of size 256.0 KiB")
        return result


def lend_as(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[duckdb.DuckDBPyConnection], Any]) -> None:
    """Let an ingest work with what `wrap` makes of its connection."""

    @contextlib.contextmanager
    def lend_wrapped(database: str, **settings: Any) -> Iterator[Any]:
        with instances.lend(database, **settings) as connection:
            yield wrap(connection)

    monkeypatch.setattr(ingesting, "lend", lend_wrapped)


@pytest.mark.parametrize("fails", [2, 3, 4])
def test_a_checkpoint_that_memory_does_not_suffice_for_is_made_again(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    for number in range(4):
        writer.call(number, input={"question": str(number)})
    checkpoints: list[str] = []
    lend_as(monkeypatch, lambda connection: Starved(connection, checkpoints, fails))
    ingest(path)
    assert len(checkpoints) > fails
    assert [call.input["question"] for call in open_store(path).calls()] == ["3", "2", "1", "0"]


class Exhausted(Starved):
    """A connection whose memory ends in a transaction, so that nothing can be done with it any more."""

    def execute(self, query: str, *values: Any) -> Any:
        if self.checkpoints:
            raise duckdb.TransactionException("Current transaction is aborted (please ROLLBACK)")
        if query.startswith("INSERT INTO calls"):
            self.checkpoints.append(query)
            raise duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block")
        return self.inner.execute(query, *values)


def test_what_failed_for_want_of_memory_is_tried_with_less_also_where_a_rollback_failed(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        writer.call(number, output=number)
    tried: list[Exhausted] = []

    def exhaust_first(connection: duckdb.DuckDBPyConnection) -> Any:
        if tried:
            return connection
        tried.append(Exhausted(connection, [], 0))
        return tried[0]

    lend_as(monkeypatch, exhaust_first)
    assert ingest(path).bad_lines == 0
    assert tried[0].checkpoints
    assert [call.output for call in open_store(path).calls()] == [3, 2, 1, 0]


@pytest.mark.parametrize("shape", ["text", "numbers"])
def test_a_line_that_needs_more_memory_than_a_slice_may_take_gets_it(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    monkeypatch.setattr(load, "MEMORY_LIMIT", "40MB")
    large: Any = MEGABYTE * 4 if shape == "text" else [7] * 500_000
    for number in range(3):
        writer.call(number, output=large if number == 1 else number)
    assert ingest(path).bad_lines == 0
    assert [call.output for call in open_store(path).calls()] == [2, large, 0]


def test_a_line_that_no_memory_holds_sets_aside_itself_only(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MEMORY_LIMIT", "40MB")
    monkeypatch.setattr(load, "LINE_MEMORY_LIMIT", "50MB")
    for number in range(3):
        writer.call(number, output=[7] * 2_000_000 if number == 1 else number)
    assert ingest(path).bad_lines == 1
    assert [(call.output, call.status) for call in open_store(path).calls()] == [
        (2, "ok"),
        (None, "open"),
        (0, "ok"),
    ]
    assert json.loads(quarantined(path, writer)[0])["output"] == [7] * 2_000_000


def test_lines_that_the_tables_refuse_set_aside_themselves_only(path: Path, writer: HandWriter) -> None:
    ingest(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE UNIQUE INDEX one_score_a_name ON scores (span_id, name)")
    for number in range(5):
        writer.call(number, output=number)
        writer.event(
            "score", id=span(number), span_id=span(number // 4), name="good", value=1, time_ns=number
        )
    assert ingest(path).bad_lines == 3
    store = open_store(path)
    assert [call.output for call in store.calls()] == list(reversed(range(5)))
    assert store.sql("SELECT id FROM scores ORDER BY id").fetchall() == [(span(n),) for n in (0, 4)]
    assert [json.loads(line)["id"] for line in quarantined(path, writer)] == [
        span(number) for number in range(5) if number % 4
    ]


def test_doctor_says_what_is_stuck_until_it_is_not(path: Path, writer: HandWriter) -> None:
    writer.call(1)
    newer = HandWriter(spool_of(path), format_=2)
    newer.call(2)
    with pytest.raises(StoreVersionError):
        open_store(path)
    result = invoke(path, "doctor", "--json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem.startswith("the last ingest failed, ")
    assert "has spool format 2" in problem
    newer.path.unlink()
    open_store(path)
    assert json.loads(invoke(path, "doctor", "--json").stdout)["problems"] == []


def test_a_purge_gets_through_a_store_that_does_not_fit_into_memory(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(0)
    for number in range(10):
        text = random.randbytes(2_000_000).hex()  # what is all alike would need no memory
        writer.call(number, user="anna" if number == 3 else "ben", output=text)
    writer.close()
    before = {call.span_id: call for call in open_store(path).calls()}
    monkeypatch.setattr(load, "MEMORY_LIMIT", "40MB")
    assert purge(path, user="anna").calls == 1
    del before[span(3)]
    assert {call.span_id: call for call in open_store(path).calls()} == before


def test_a_purge_that_no_memory_holds_is_a_clear_error_and_leaves_the_store_whole(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        writer.call(number, user="anna" if number == 3 else "ben", **images(number))
    writer.close()
    store = open_store(path)
    with monkeypatch.context() as patched:
        patched.setattr(compact, "LINE_MEMORY_LIMIT", "2MB")
        patched.setattr(load, "MEMORY_LIMIT", "2MB")
        with pytest.raises(StoreError, match="cannot be rewritten without what was removed"):
            compact.compact(Database(path, spool_of(path), 60))
    assert len(store.calls()) == 4
    assert purge(path, user="anna").calls == 1
    assert [call.span_id for call in open_store(path).calls()] == [span(n) for n in (2, 1, 0)]
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, spool_of(path).name]
