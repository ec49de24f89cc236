"""A lake answers as the store of one machine does that has the same calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store
from llm_trace.comparison.remembered import compare_once
from llm_trace.errors import NotFoundError, StoreError, StoreNotFoundError
from llm_trace.stores.duckdb import Store
from llm_trace.stores.lake.shipping import ship
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

RUN = "00000000000000aa"
DAY = 24 * 3600
SYSTEM, ASKED = (
    {"role": "system", "content": "Be golden."},
    {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
)


def record(path: Path) -> None:
    """Write a spool with something of each kind, of three days."""
    writer = HandWriter(spool_of(path))
    writer.event("run", id=RUN, name="exp", start_ns=BEGIN, config={"t": 1}, tags=["night"])
    writer.event("prompt", name="desk", version="v1", template="Hi {name}", time_ns=BEGIN)
    writer.call(
        0,
        name="a",
        kind="tool",
        model="m1",
        tags=["x", "y"],
        session="s1",
        user="u1",
        run=RUN,
        input={"q": "Gold?"},
    )
    writer.call(
        1,
        model="m2",
        tags=["y"],
        user="u2",
        input={"q": 'say "hi"\nÄrger'},
        prompt={"name": "desk", "version": "v1"},
    )
    writer.start(
        2,
        run=RUN,
        trace_id=f"{1:032x}",
        parent_id=span(1),
        input={"m": {"$messages": [0, 2]}},
        messages_in=[[0, 1]],
        messages=bodies(SYSTEM, ASKED),
    )
    writer.end(
        2,
        output={"o": {"$messages": [0, 1]}},
        messages_out=[[2, 2]],
        messages=bodies({"role": "assistant", "content": "So."}, first=2),
        usage={"input_tokens": 5, "output_tokens": 7},
        cost_usd=0.25,
    )
    writer.call(DAY, input={"m": {"$messages": [0, 1]}}, messages_in=[[0, 0]])
    writer.call(2 * DAY, input={"m": {"$messages": [0, 0]}}, messages_in=[])
    writer.start(2 * DAY + 1, name="bad")
    writer.end(2 * DAY + 1, status="error", error={"type": "ValueError", "message": "no", "traceback": "…"})
    writer.event(
        "score", id="1" * 16, span_id=span(2), name="right", value=True, source="human", time_ns=BEGIN
    )
    for number, value in enumerate((False, "5", "yes", 2.5, "NaN", {"of": 3}), 4):
        writer.event("score", id=f"{number:016x}", span_id=span(1), name="s", value=value, time_ns=BEGIN)
    for number, verdict in ((1, "unstable"), (2, "ok")):
        writer.event(
            "attribution", id=f"{number:016x}", span_id=span(2), method="occlusion", config_hash="c",
            time_ns=BEGIN + number,
            attribution={"verdict": verdict, "segments": [{"text": "Why?"}], "values": [0.5]},
        )  # fmt: skip
    writer.event("operation", id="3" * 16, kind="note", subject="s", time_ns=BEGIN, body={"n": 1})
    writer.event("run", id=RUN, end_ns=BEGIN + 9)
    writer.close()


def test_a_comparison_of_runs_of_a_lake_is_remembered_until_the_lake_changes(tmp_path: Path) -> None:
    address = f"delta://{tmp_path}/lake"
    runs = {name: f"{number:016x}" for number, name in enumerate(("one", "two"), 1)}
    for number, (name, identity) in enumerate(runs.items()):
        writer = HandWriter(spool_of(tmp_path / f"{name}.duckdb"))
        writer.event("run", id=identity, name=name, start_ns=BEGIN + number)
        for case in range(3):
            writer.call(10 * number + case, run=identity, input={"q": case}, output=f"{name} {case}")
        writer.close()
        ship(address, tmp_path / f"{name}.duckdb")
    with open_store(address) as lake:
        compared = compare_once(lake, "one", "two")
        assert compared.pairs == 3
        assert compare_once(lake, "one", "two") is compared
        assert {pair.output_b for pair in compared.answers("all", limit=9)} == {"two 0", "two 1", "two 2"}
        assert compared.changes() == []
        writer = HandWriter(spool_of(tmp_path / "later.duckdb"))
        writer.event("score", id="9" * 16, span_id=span(1), name="good", value=1, time_ns=BEGIN)
        writer.close()
        ship(address, tmp_path / "later.duckdb")
        assert compare_once(lake, "one", "two") is not compared


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Give a store, and a lake with the same calls."""
    pytest.importorskip("deltalake")
    folder = tmp_path_factory.mktemp("answers")
    record(folder / "one.duckdb")
    record(folder / "many.duckdb")
    ship(f"delta://{folder}/lake", folder / "many.duckdb")
    return open_store(folder / "one.duckdb"), open_store(f"delta://{folder}/lake")


QUESTIONS: dict[str, Callable[[Store], Any]] = {
    "calls": lambda s: s.calls(limit=None),
    "newest": lambda s: s.calls(limit=3),
    "slowest": lambda s: s.calls(order="slowest", limit=2, offset=1),
    "brief": lambda s: s.calls(brief=True),
    "tag": lambda s: s.calls(tag="y"),
    "run by name": lambda s: s.calls(run="exp"),
    "since and until": lambda s: s.calls(since=BEGIN + 10**9, until=BEGIN + DAY * 10**9),
    "user and where": lambda s: s.calls(user="u2", where="start_time IS NOT NULL AND duration_ms = 500"),
    "text": lambda s: s.calls(text="golden"),
    "text in input": lambda s: s.calls(text="ärger"),
    "pages": lambda s: [row[:2] for page in s.pages("span_id, name", size=2) for row in page.rows],
    "summary": lambda s: s.summary(bars=3)._replace(median_ms=None, p95_ms=None),
    "run totals": lambda s: s.run_totals([RUN]),
    "one call": lambda s: s.call(span(2)),
    "picked": lambda s: s.pick([span(1), span(2)]),
    "trace": lambda s: s.trace(f"{1:032x}"),
    "runs": lambda s: s.runs(),
    "prompts": lambda s: s.prompts(),
    "attributions": lambda s: s.fetch("SELECT * FROM attributions ORDER BY id"),
    "segments": lambda s: s.fetch("SELECT * FROM attribution_segments ORDER BY ALL"),
    "scores": lambda s: s.scores(span(2)),
    "numbers of scores": lambda s: s.fetch("SELECT id, value, number::VARCHAR FROM scores ORDER BY id"),
    "operations": lambda s: s.fetch("SELECT * FROM operations"),
    "conversation": lambda s: s.sql(
        "SELECT span_id, direction, position, role, text, body FROM call_messages ORDER BY ALL"
    ).fetchall(),
    "by day": lambda s: s.sql(
        "SELECT start_time::DATE AS day, count(*), sum(cost_usd) FROM calls GROUP BY ALL ORDER BY day",
        files=False,
    ).fetchall(),
    "columns of calls": lambda s: s.sql("SELECT * FROM calls").columns,
    "event lines": lambda s: sorted(s.event_lines()),
}  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_lake_answers_as_the_store_of_one_machine(stores: tuple[Store, Store], question: str) -> None:
    one, many = (QUESTIONS[question](store) for store in stores)
    assert many == one
    assert one


def test_what_is_not_in_the_lake_is_said(stores: tuple[Store, Store], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no call 'ff'"):
        stores[1].call("ff")
    with pytest.raises(StoreNotFoundError, match="no lake at 'delta:///nowhere/at/all'"):
        open_store("delta:///nowhere/at/all")


def test_sql_without_files_reaches_the_lake_and_nothing_else(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    outside = tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    lake = stores[1]
    assert lake.sql("SELECT count(*) FROM calls", files=False).fetchall() == [(6,)]
    with pytest.raises(StoreError, match="disabled"):
        lake.sql(f"SELECT * FROM '{outside}'", files=False)
    with pytest.raises(StoreError, match="only SELECT"):
        lake.sql("COPY calls TO '/tmp/out.csv'", files=False)


def test_files_lie_by_the_day_of_their_rows(stores: tuple[Store, Store]) -> None:
    import deltalake

    days = deltalake.DeltaTable(f"{stores[0].path.parent}/lake/calls").partitions()
    first = datetime.fromtimestamp(BEGIN / 1e9, UTC).date()
    assert sorted(each["day"] for each in days) == [
        first.replace(day=first.day + n).isoformat() for n in range(3)
    ]


def test_an_export_of_a_lake_is_read_back(stores: tuple[Store, Store], tmp_path: Path) -> None:
    files = stores[1].to_parquet(tmp_path / "out")
    assert sorted(file.stem for file in files) == sorted(
        file.stem for file in stores[0].to_parquet(tmp_path / "one")
    )
