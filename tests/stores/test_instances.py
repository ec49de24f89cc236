"""One DuckDB answers question after question: it holds no file between them, and nothing stays in it."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from llm_trace import open_store
from llm_trace.errors import StoreError
from llm_trace.stores import instances
from tests.helpers.instances import count_new_duckdbs
from tests.helpers.spool_toys import HandWriter, spool_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _begin_with_none() -> Iterator[None]:
    """Neither find what another test has kept, nor leave anything."""
    instances._spare.close()
    yield
    instances._spare.close()


def list_settings() -> dict[str, str]:
    """Return the settings of the DuckDB that the next question gets."""
    instance = instances.take()
    settings = dict(instance.connection.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    instance.give_back("store")
    return settings


def list_databases() -> list[str]:
    """Return the databases of the DuckDB that the next question gets, and the tables in them."""
    instance = instances.take()
    query = "SELECT database_name FROM duckdb_databases() UNION ALL SELECT table_name FROM duckdb_tables()"
    names = [name for (name,) in instance.connection.execute(query).fetchall()]
    instance.give_back("store")
    return sorted(names)


def test_what_was_logged_since_is_taken_in_and_read_by_the_duckdb_that_answered_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = HandWriter(spool_of(path))
    writer.call(1)
    assert len(open_store(path).calls()) == 1
    made = count_new_duckdbs(monkeypatch)
    writer.call(2)
    with open_store(path) as store:
        assert (len(store.calls()), len(store.calls(text="yes")), len(store.event_lines([]))) == (2, 2, 0)
    assert made == []


def test_between_questions_the_file_is_free(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    store = open_store(path)
    assert len(store.calls()) == 1
    with duckdb.connect(str(path)) as foreign:
        foreign.execute("DELETE FROM calls")
    assert store.calls() == []


@pytest.mark.parametrize("held", [False, True], ids=["alone", "within hold"])
def test_what_a_query_of_ones_own_has_set_is_gone_with_it(path: Path, held: bool) -> None:
    HandWriter(spool_of(path)).call(1)
    store, is_set = open_store(path), "current_setting('pivot_limit') = 7"
    if held:
        with store.hold():
            store.sql("SET GLOBAL pivot_limit = 7")
            assert len(store.calls(where=is_set)) == 1
    else:
        store.sql("SET GLOBAL pivot_limit = 7")
    assert store.calls(where=is_set) == []


def test_a_condition_of_ones_own_has_a_duckdb_that_is_not_used_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    HandWriter(spool_of(path)).call(1)
    store = open_store(path)
    made = count_new_duckdbs(monkeypatch)
    assert len(store.calls(where="true) AND (true")) == 1
    assert len(store.calls()) == 1
    assert len(made) == 1


def test_the_next_question_finds_the_settings_of_a_new_duckdb_and_no_table(path: Path) -> None:
    settings, databases = list_settings(), list_databases()
    writer = HandWriter(spool_of(path))
    writer.call(1)  # an ingest has less memory, one thread and a folder of its own
    store = open_store(path)
    assert len(store.event_lines(["0" * 16])) == 0  # has a temporary table
    store.to_parquet(path.with_suffix(".out"), name="ask")
    assert (list_settings(), list_databases()) == (settings, databases)


def test_two_stores_answer_in_turn_each_from_its_own_tables(tmp_path: Path) -> None:
    stores = []
    for number in (1, 2):
        HandWriter(spool_of(tmp_path / f"{number}.duckdb")).call(number)
        stores.append(open_store(tmp_path / f"{number}.duckdb"))
    seen = [[call.span_id for call in store.calls()] for store in stores * 3]
    assert seen == [[f"{number:016x}"] for number in (1, 2)] * 3


def test_a_file_put_in_the_place_of_the_store_is_what_the_next_question_reads(tmp_path: Path) -> None:
    first, second = tmp_path / "1.duckdb", tmp_path / "2.duckdb"
    for number, path in ((1, first), (2, second)):
        HandWriter(spool_of(path)).call(number)
    store, other = open_store(first), open_store(second)
    assert [call.span_id for call in store.calls()] == [f"{1:016x}"]
    assert len(other.calls()) == 1
    second.replace(first)
    assert [call.span_id for call in store.calls()] == [f"{2:016x}"]
    first.unlink()
    with pytest.raises(StoreError, match="cannot be opened"):
        store.calls()


def ask_and_fail(store: Any) -> None:
    with contextlib.suppress(ZeroDivisionError), store.hold():
        raise ZeroDivisionError


def ask_and_abandon(store: Any) -> None:
    pages = held(store)
    assert next(pages) == 1
    del pages
    gc.collect()


def held(store: Any) -> Iterator[int]:
    with store.hold():
        yield len(store.calls())


def begin_a_transaction(store: Any) -> None:
    store.sql("BEGIN TRANSACTION")


@pytest.mark.parametrize("ask", [ask_and_fail, ask_and_abandon, begin_a_transaction])
def test_after_a_question_that_went_wrong_the_file_is_free_and_the_next_one_has_a_new_duckdb(
    path: Path, monkeypatch: pytest.MonkeyPatch, ask: Any
) -> None:
    HandWriter(spool_of(path)).call(1)
    store, databases = open_store(path), list_databases()
    ask(store)
    duckdb.connect(str(path)).close()
    made = count_new_duckdbs(monkeypatch)
    assert len(store.calls()) == 1
    assert len(made) == 1
    assert list_databases() == databases


def test_a_duckdb_that_spilled_is_not_kept_for_its_folder_may_be_gone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    HandWriter(spool_of(path)).call(1)
    store = open_store(path)
    instance = instances.take()
    for query in (
        "SET memory_limit = '30MB'",
        "CREATE TEMP TABLE much AS SELECT range, random() AS x FROM range(3_000_000)",
        "DROP TABLE much",
        "RESET memory_limit",
    ):
        instance.connection.execute(query)
    instance.give_back("store")
    made = count_new_duckdbs(monkeypatch)
    assert len(store.calls()) == 1
    assert len(made) == 1


def test_after_many_questions_a_new_duckdb_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HandWriter(spool_of(path)).call(1)
    store = open_store(path)
    monkeypatch.setattr(instances, "MOST_QUESTIONS", 4)
    monkeypatch.setattr(instances._spare, "_questions", 0)
    made = count_new_duckdbs(monkeypatch)
    assert [len(store.runs()) for _ in range(12)] == [0] * 12
    assert len(made) == 2  # the third is due at the thirteenth question


COLLECT = """
import gc, sys
from llm_trace import open_store
from llm_trace.stores import instances
store = open_store(sys.argv[1])
gc.disable()
cycle = []
cycle.append((cycle, store.hold()))
cycle[0][1].__enter__()
del cycle
give_back = instances.MemoryInstance.give_back
def collect(*arguments):
    gc.collect()
    give_back(*arguments)
instances.MemoryInstance.give_back = collect
other = open_store(sys.argv[2])
print(len(other.calls()), len(store.calls()))
"""


def test_a_store_that_is_held_by_garbage_stops_no_question_that_is_about_to_end(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.duckdb" for number in (1, 2)]
    for number, path in enumerate(paths):
        HandWriter(spool_of(path)).call(number)
        open_store(path)
    assert run_script(COLLECT, *paths) == ("1 1\n", "", 0)


def run_script(script: str, *arguments: Path) -> tuple[str, str, int]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout, done.stderr, done.returncode


FORK = """
import os, sys
from llm_trace import open_store
store = open_store(sys.argv[1])
print(len(store.calls()), flush=True)
if not (child := os.fork()):
    print(len(store.calls()))
    sys.exit()
print(os.waitpid(child, 0)[1], len(store.calls()))
"""


def test_after_a_fork_both_processes_ask_and_end_as_programs_do(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    assert run_script(FORK, path) == ("1\n1\n0 1\n", "", 0)


HELD = """
import os, sys
from llm_trace import open_store
store = open_store(sys.argv[1])
answer = store.sql("SELECT 1")
with store.hold():
    if not (child := os.fork()):
        print(len(store.calls()), flush=True)
if not child:
    del answer
    print(len(store.calls()), len(store.calls()), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], answer.fetchone(), len(store.calls()))
"""


def test_a_child_forked_while_a_store_is_held_ends_that_and_goes_on(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    assert run_script(HELD, path) == ("1\n1 1\n0 (1,) 1\n", "", 0)


UNKNOWN = """
import ctypes, os, sys
from llm_trace import open_store
store = open_store(sys.argv[1])
print(len(store.calls()), flush=True)
if not (child := ctypes.PyDLL(None).fork()):
    print(len(store.calls()), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], len(store.calls()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a fork without Python's knowledge keeps differs")
def test_a_child_of_a_fork_that_python_does_not_know_of_asks_a_duckdb_of_its_own(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    assert run_script(UNKNOWN, path) == ("1\n1\n0 1\n", "", 0)
