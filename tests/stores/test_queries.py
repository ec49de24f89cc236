"""What a store answers: filters, search, SQL, Parquet."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_trace import configure, open_store, trace
from llm_trace.errors import ConfigurationError, StoreError
from llm_trace.record import Run
from llm_trace.stores import calls as stored_calls
from llm_trace.stores import duckdb as duckdb_store
from llm_trace.stores import search
from llm_trace.stores.duckdb import Store
from tests.conftest import Recorded
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

RUN = "00000000000000aa"


def numbers(calls: list[Any]) -> list[int]:
    return [int(call.span_id, 16) for call in calls]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("queries") / "t.duckdb"
    writer = HandWriter(spool_of(path))
    writer.event("run", id=RUN, name="exp", start_ns=BEGIN)
    writer.call(
        0,
        name="a",
        kind="tool",
        model="m1",
        tags=["x", "y"],
        session="s1",
        user="u1",
        run=RUN,
        input={"question": "Gold?"},
    )
    writer.call(1, name="b", model="m2", tags=["y"], session="s1", user="u2", input={"q": 'say "hi"\nÄrger'})
    writer.start(
        2, name="b", trace_id=f"{1:032x}", run="00000000000000bb", input={"question": "100% \\E sure?"}
    )
    writer.start(
        3,
        input={"m": {"$messages": [0, 2]}},
        messages_in=[[0, 1]],
        messages=bodies(
            {"role": "system", "content": "Be golden."},
            {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
        ),
    )
    writer.end(
        3,
        status="error",
        error={"type": "E"},
        output="Because of GOLD",
        usage={"input_tokens": 7},
        cost_usd=0.25,
    )
    writer.call(
        4,
        input={"m": {"$messages": [0, 2]}},
        messages_in=[[0, 0], [2, 2]],
        messages=bodies(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "f", "arguments": '{"x": "needle"}'}}],
            },
            first=2,
        ),
    )
    return open_store(path)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"limit": 2}, [4, 3]),
        ({"limit": None}, [4, 3, 2, 1, 0]),
        ({"name": "b"}, [2, 1]),
        ({"kind": "tool"}, [0]),
        ({"model": "m2"}, [1]),
        ({"tag": "y"}, [1, 0]),
        ({"tag": "x"}, [0]),
        ({"session": "s1"}, [1, 0]),
        ({"user": "u2"}, [1]),
        ({"status": "open"}, [2]),
        ({"status": "error"}, [3]),
        ({"run": RUN}, [0]),
        ({"run": "exp"}, [0]),
        ({"run": Run(id=RUN, name="exp", start_ns=0)}, [0]),
        ({"run": "00000000000000bb"}, [2]),
        ({"run": "nope"}, []),
        ({"since": BEGIN + 2 * 10**9}, [4, 3, 2]),
        ({"since": BEGIN + 10**9, "until": BEGIN + 3 * 10**9}, [2, 1]),
        ({"since": datetime.fromtimestamp(BEGIN // 10**9 + 3, UTC)}, [4, 3]),
        ({"since": BEGIN / 10**9 + 3}, [4, 3]),
        ({"until": np.float64(BEGIN / 10**9 + 2)}, [1, 0]),
        ({"since": np.int64(BEGIN + 2 * 10**9)}, [4, 3, 2]),
        (
            {
                "since": datetime.fromtimestamp(BEGIN // 10**9, UTC).astimezone().date(),
                "until": BEGIN + 10**9,
            },
            [0],
        ),
        ({"since": datetime.fromtimestamp(BEGIN // 10**9 + 2 * 86400, UTC).astimezone().date()}, []),
        ({"since": timedelta(days=20_000)}, [4, 3, 2, 1, 0]),
        ({"since": timedelta(0)}, []),
        ({"until": datetime.fromtimestamp(BEGIN // 10**9 + 1, UTC).isoformat()}, [0]),
        ({"where": "cost_usd > 0.1 AND input_tokens = 7"}, [3]),
        ({"where": "name = 'b' OR name = 'a' -- no more"}, [2, 1, 0]),
        ({"where": "'y' IN tags AND duration_ms > 400 AND start_time > '2020-01-01'"}, [1, 0]),
        ({"text": "gold"}, [4, 3, 0]),
        ({"text": "GOLD", "limit": 2}, [4, 3]),
        ({"text": "gold", "kind": "tool"}, [0]),
        ({"text": "because of"}, [3]),
        ({"text": 'SAY "hi"\nä'}, [1]),
        ({"text": "100% \\E s"}, [2]),
        ({"text": "golden.", "until": BEGIN + 4 * 10**9}, [3]),
        ({"text": "needle"}, [4]),
        ({"text": "why?"}, [3]),
        ({"text": "question"}, []),
        ({"text": "user"}, []),
        ({"text": "$messages"}, []),
        ({"text": "g.ld"}, []),
    ],
)
@pytest.mark.parametrize("windows", [(), (1, 2), (2_000, 16_000)])
def test_calls_are_those_that_match_newest_first(
    store: Store,
    chosen: dict[str, Any],
    expected: list[int],
    windows: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "text" not in chosen and windows:
        return
    monkeypatch.setattr(search, "WINDOWS", windows)
    assert numbers(store.calls(**chosen)) == expected


def test_a_run_is_meant_by_its_id_as_well_as_by_the_name_of_another(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(path))
    for number, (run, name) in enumerate((("a", "first"), ("b", "a"), ("c", "a"), ("d", "other"))):
        writer.event("run", id=run, name=name, start_ns=BEGIN + number)
        writer.call(number, run=run)
    store = open_store(path)
    assert [sorted(numbers(store.calls(run=run))) for run in ("a", "first", "b", "other")] == [
        [0, 1, 2], [0], [1], [3],
    ]  # fmt: skip


def test_calls_of_one_moment_have_one_order(tmp_path: Path) -> None:
    writer = HandWriter(spool_of(tmp_path / "t.duckdb"))
    for number in (3, 1, 2):
        writer.call(number, start_ns=BEGIN)
    assert numbers(open_store(tmp_path / "t.duckdb").calls()) == [1, 2, 3]


@pytest.mark.parametrize("order", ["newest", "oldest", "slowest", "largest"])
@pytest.mark.parametrize("near", [2, 100], ids=["few are near", "all are near"])
def test_pages_of_every_order_are_the_parts_of_the_whole(
    tmp_path: Path, order: Any, near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_calls, "NEAR", near)
    monkeypatch.setattr(duckdb_store, "REMEMBERED", 4)
    path = tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(path))
    for number in range(9):
        writer.call(number, start_ns=BEGIN + number // 2, kind="tool" if number % 3 else "llm")
    store = open_store(path)
    for kind in (None, "tool", "llm"):
        for more in (9, 10):  # what was asked for before is asked for again after a change
            whole = numbers(store.calls(kind=kind, order=order, limit=None))
            for size, begin in ((3, 0), (2, 1), (2, 2), (3, 3), (9, 8)):
                page = store.calls(kind=kind, order=order, limit=size, offset=begin)
                assert numbers(page) == whole[begin : begin + size]
            writer.call(more, start_ns=BEGIN + 2, kind="tool")
            store.ingest()


def test_a_trace_is_in_the_order_of_its_starts(store: Store) -> None:
    assert numbers(store.trace(f"{1:032x}")) == [1, 2]
    assert store.trace("f" * 32) == []


@pytest.mark.parametrize(
    "moment",
    ["yesterday", math.nan, math.inf, True, [], timedelta.max, np.datetime64("2026-11-21")],
    ids=["word", "nan", "infinity", "yes", "list", "ages", "numpy"],
)
def test_a_wrong_time_says_what_is_right(store: Store, moment: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no time: give ISO 8601"):
        store.calls(since=moment)


def test_a_wrong_condition_says_what_duckdb_says(store: Store) -> None:
    with pytest.raises(StoreError, match=r"the query failed: .*\"colour\" not found|colour"):
        store.calls(where="colour = 'red'")


def test_sql_gives_a_result_that_outlives_the_connection(store: Store) -> None:
    result = store.sql(
        "SELECT name, count(*) AS n FROM calls WHERE name IN (?, ?) GROUP BY name ORDER BY name", "a", "b"
    )
    assert result.columns == ("name", "n")
    assert list(result) == [("a", 1), ("b", 2)]
    assert len(result) == 2
    assert result.fetchone() == ("a", 1)
    assert result.fetchall() == [("b", 2)]
    assert result.fetchone() is None
    assert result.df().to_dict("list") == {"name": ["a", "b"], "n": [1, 2]}
    assert result.arrow().to_pylist() == [{"name": "a", "n": 1}, {"name": "b", "n": 2}]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("SELECT 1 AS a, 2 AS a", (1, 2)),
        ("WITH x AS (SELECT 5) SELECT * FROM x -- done", (5,)),
        ("VALUES (1, 'b');", (1, "b")),
        ("FROM runs SELECT name", ("exp",)),
        ("DESCRIBE runs", ("id", "VARCHAR", "YES", None, None, None)),
        ("SELECT name FROM (SHOW TABLES) WHERE name = 'calls'", ("calls",)),
        ("PRAGMA table_info('prompts')", (0, "name", "VARCHAR", False, None, False)),
        ("SELECT \"user\" FROM calls WHERE user = 'u1'", ("u1",)),
    ],
)
def test_sql_takes_whatever_duckdb_takes(store: Store, query: str, first: tuple[Any, ...]) -> None:
    assert store.sql(query).fetchone() == first


@pytest.mark.parametrize(
    "query",
    ["DELETE FROM calls", "DROP TABLE runs", "CREATE TABLE x (a INT)", "INSERT INTO runs (id) VALUES ('x')"],
)
def test_sql_cannot_change_the_store(store: Store, query: str) -> None:
    with pytest.raises(StoreError, match="read-only"):
        store.sql(query)


def test_sql_errors_are_ours(store: Store) -> None:
    with pytest.raises(StoreError, match="the query failed: Parser Error"):
        store.sql("SELEKT 1")


def test_call_messages_gives_each_message_of_each_call(store: Store) -> None:
    query = "SELECT direction, position, role, text FROM call_messages WHERE span_id = ? ORDER BY position"
    assert store.sql(query, span(3)).fetchall() == [
        ("in", 1, "system", "Be golden."),
        ("in", 2, "user", "Why?"),
    ]


def test_the_text_of_a_message_is_without_the_data_of_its_blobs(recorded: Recorded) -> None:
    configure(recorded.path)
    blob = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBORw0KGgo="}
    parts = [{"type": "reasoning", "content": "a"}, blob, {"type": "text", "content": "b"}, {"text": "c"}]
    trace(kind="llm")(lambda messages: None)([{"role": "user", "parts": parts}])
    assert recorded.sql("SELECT text FROM call_messages").fetchall() == [("a\nb\nc",)]


def test_parquet_files_hold_every_table(store: Store, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    files = store.to_parquet(tmp_path / "new" / "folder")
    tables = {path.stem: pq.read_table(path) for path in files}
    names = ["_same", "attributions", "calls", "messages", "operations", "prompts", "runs", "scores"]
    assert sorted(tables) == names
    assert tables["calls"].num_rows == 5
    assert tables["calls"]["span_id"].to_pylist() == [span(n) for n in range(5)]
    assert tables["messages"]["body"].to_pylist()[0] == '{"role":"system","content":"Be golden."}'
    assert {str(field.type) for field in tables["calls"].schema} == {
        "string",
        "int64",
        "double",
        "timestamp[us]",
        "list<element: string>",
        "list<element: int64>",
    }
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(p.name for p in files)


def test_the_documentation_names_every_public_column(store: Store) -> None:
    page = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    query = (
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = current_database() AND "
        "table_name NOT LIKE '\\_%' ESCAPE '\\'"
    )
    columns = store.sql(query).fetchall()
    assert len(columns) > 80
    missing = [(table, column) for table, column in columns if f"`{column}`" not in page]
    assert missing == []


def test_a_store_is_a_context_manager(store: Store) -> None:
    with open_store(store.path) as opened:
        assert opened.pending == 0


def test_sql_answers_times_with_a_zone(store: Store) -> None:
    (row,) = store.sql("SELECT to_timestamp(min(start_ns) / 1e9) FROM calls").fetchall()
    (first,) = store.sql("SELECT min(start_ns) FROM calls").fetchall()
    assert row[0].timestamp() == pytest.approx(first[0] / 1e9, abs=1e-5)


def test_sql_answers_one_statement_at_a_time(store: Store) -> None:
    with pytest.raises(StoreError, match="holds 2 statements: ask one at a time"):
        store.sql("SELECT 1; SELECT 2")
    assert store.sql("SELECT ';' ; ").fetchall() == [(";",)]


@pytest.mark.parametrize("query", ["", "  ;", "-- nothing"], ids=["empty", "semicolon", "comment"])
def test_a_query_that_asks_nothing_is_refused_in_a_sentence(store: Store, query: str) -> None:
    with pytest.raises(StoreError, match="the query is empty"):
        store.sql(query)
