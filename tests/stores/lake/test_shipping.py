"""What is shipped arrives once, whoever is killed and whoever else ships; what cannot be shipped stays."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store
from llm_trace.errors import StoreError, StoreVersionError
from llm_trace.stores.lake.shipping import ship
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

# Ships, and kills itself at the given occurrence of a point.
CHILD = textwrap.dedent("""
    import os, signal, sys
    from llm_trace.stores.lake import delta, outbox, shipping, storage
    address, path, point, left = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    outbox._CHOOSE = outbox._CHOOSE.replace("LIMIT 100000", "LIMIT 3")

    def here(name):
        global left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(owner, attribute, name):
        inner = getattr(owner, attribute)
        def wrapped(*args, **kwargs):
            here("before " + name)
            result = inner(*args, **kwargs)
            here("after " + name)
            return result
        setattr(owner, attribute, wrapped)

    around(outbox.Outbox, "_save", "list")
    around(outbox, "_take_out", "rows")
    around(outbox.Outbox, "fill", "shipment")
    around(storage.LakeStorage, "put", "file")
    around(delta.LakeTable, "commit", "commit")
    around(outbox.Outbox, "clear", "clear")
    shipping.ship(address, path)
""")
POINTS = (
    ("before list", 1), ("after list", 2), ("after rows", 1), ("after shipment", 1), ("after file", 2),
    ("before commit", 3), ("after commit", 1), ("after commit", 4), ("before clear", 3), ("after clear", 2),
)  # fmt: skip
GREETING = {"role": "system", "content": "Be kind."}


def write_calls(path: Path, first: int, count: int, *, close: bool = True) -> HandWriter:
    """Record calls that share a message; each says its number."""
    writer = HandWriter(spool_of(path))
    for number in range(first, first + count):
        told = bodies(GREETING) if number == first else []
        told += bodies({"role": "user", "content": f"n{number}"}, first=number - first + 1)
        here = number - first + 1
        writer.start(
            number, input={"m": {"$messages": [0, 2]}}, messages_in=[[0, 0], [here, here]], messages=told
        )
        writer.end(number, output=number)
    writer.event("score", id=f"{first:016x}", span_id=span(first), name="s", value=1, time_ns=BEGIN)
    if close:
        writer.close()
    return writer


def read_calls(address: str) -> list[tuple[int, list[str], Any]]:
    """Return of each call in the lake its number, what it was asked and what it answered, sorted."""
    with open_store(address) as lake:
        calls = lake.calls(limit=None)
    talk = [(int(c.span_id, 16), [str(m.parts[0].content) for m in c.messages_in], c.output) for c in calls]
    return sorted(talk)


def expect_calls(count: int) -> list[tuple[int, list[str], Any]]:
    return [(n, ["Be kind.", f"n{n}"], n) for n in range(count)]


@pytest.mark.parametrize(("point", "occurrence"), POINTS)
def test_killed_at_any_point_each_call_arrives_once(tmp_path: Path, point: str, occurrence: int) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    write_calls(store, 0, 8)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, address, str(store), point, str(occurrence)], check=False
    )
    assert child.returncode == -signal.SIGKILL
    write_calls(store, 8, 2)
    ship(address, store)
    assert read_calls(address) == expect_calls(10)
    with open_store(address) as lake:
        assert lake.fetch("SELECT count(*) FROM scores") == [(2,)]
    assert not list(spool_of(store).glob("outbox"))


def test_machines_that_ship_at_a_time_lose_and_double_nothing(tmp_path: Path) -> None:
    address = f"delta://{tmp_path}/lake"
    stores = [tmp_path / f"m{machine}.duckdb" for machine in range(3)]
    for machine, store in enumerate(stores):
        write_calls(store, machine * 10, 10)
    command = [sys.executable, "-c", CHILD, address]
    processes = [subprocess.Popen([*command, str(store), "never", "1"]) for store in stores]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert read_calls(address) == expect_calls(30)


def test_a_copy_of_a_machine_loses_nothing(tmp_path: Path) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    write_calls(store, 0, 4)
    child = [sys.executable, "-c", CHILD, address, str(store), "before commit", "3"]
    assert subprocess.run(child, check=False).returncode == -signal.SIGKILL
    copy = tmp_path / "copy" / "t.duckdb"
    shutil.copytree(spool_of(store), spool_of(copy))
    shutil.copy(store, copy)
    write_calls(copy, 4, 3)
    write_calls(store, 7, 3)
    ship(address, store)
    ship(address, copy)
    # the copy has the calls that had not left the store as well: they are recorded twice
    assert {call[0] for call in read_calls(address)} == set(range(10))


def test_a_trace_stays_while_a_call_of_it_is_open(tmp_path: Path) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(store))
    writer.start(0, trace_id="a" * 32)
    writer.call(1, trace_id="a" * 32, parent_id=span(0))
    writer.call(2)
    assert (ship(address, store).calls, ship(address, store).held) == (1, 2)
    writer.end(0)
    assert ship(address, store).calls == 2
    writer.start(3)
    writer.close()
    ship(address, store)
    with open_store(address) as lake:
        statuses = [(c.span_id, c.status) for c in lake.calls(order="oldest")]
    assert statuses == [(span(0), "ok"), (span(1), "ok"), (span(2), "ok"), (span(3), "interrupted")]


def test_a_call_that_stands_for_one_shipped_earlier_takes_its_place(tmp_path: Path) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(store))
    writer.call(1, model="gpt")
    writer.call(2)
    assert ship(address, store).calls == 2
    writer.start(3)
    writer.end(3, same=[span(1)], output="whole")
    writer.close()
    ship(address, store)
    with open_store(address) as lake:
        assert [c.span_id for c in lake.calls(order="oldest")] == [span(2), span(3)]
        assert lake.fetch("SELECT span_id, kept FROM _same") == [(span(1), span(3))]


def test_what_comes_later_about_a_shipped_run_or_call_is_joined(tmp_path: Path) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(store))
    run = "00000000000000aa"
    writer.event("run", id=run, name="exp", start_ns=BEGIN)
    writer.event("prompt", name="p", version="v", template="t", time_ns=BEGIN + 5)
    writer.call(1, run=run)
    ship(address, store)
    writer.event("run", id=run, end_ns=BEGIN + 9)
    writer.event("prompt", name="p", version="v", template="t", time_ns=BEGIN + 2)
    writer.event("score", id="1" * 16, span_id=span(1), name="s", value=3, time_ns=BEGIN)
    writer.close()
    ship(address, store)
    with open_store(address) as lake:
        ((stored,), (prompt,)) = lake.runs(), lake.prompts()
        assert (stored.name, stored.start_ns, stored.end_ns) == ("exp", BEGIN, BEGIN + 9)
        assert (prompt.name, prompt.first_ns) == ("p", BEGIN + 2)
        assert [score.value for score in lake.scores(span(1))] == [3]


def test_a_message_that_is_sent_again_within_the_hour_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    monkeypatch.setattr(time, "time_ns", lambda: BEGIN + 10**9)
    writer = write_calls(store, 0, 2, close=False)
    ship(address, store)
    writer.call(3, input={"m": {"$messages": [0, 2]}}, messages_in=[[0, 1]])
    writer.close()
    ship(address, store)
    with open_store(address) as lake:
        assert lake.fetch("SELECT count(*) FROM messages WHERE role = 'system'") == [(1,)]
        assert [str(m.parts[0].content) for m in lake.call(span(3)).messages_in] == ["Be kind.", "n0"]


def test_the_spool_keeps_everything_while_the_lake_cannot_be_reached(tmp_path: Path) -> None:
    store, place = tmp_path / "t.duckdb", tmp_path / "lake"
    write_calls(store, 0, 3)
    before = {file.name: file.read_bytes() for file in spool_of(store).glob("*.jsonl")}
    place.write_text("no folder")
    with pytest.raises(StoreError, match=r"lake .* cannot be reached: .*check that the folder is there"):
        ship(f"delta://{place}", store)
    assert {file.name: file.read_bytes() for file in spool_of(store).glob("*.jsonl")} == before
    assert "cannot be reached" in (spool_of(store) / "ingest.failed").read_text()
    place.unlink()
    ship(f"delta://{place}", store)
    assert read_calls(f"delta://{place}") == expect_calls(3)
    assert not (spool_of(store) / "ingest.failed").exists()


def test_a_lake_that_vanishes_between_two_shipments_is_made_again(tmp_path: Path) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    write_calls(store, 0, 2)
    ship(address, store)
    shutil.rmtree(tmp_path / "lake")
    write_calls(store, 2, 2)
    ship(address, store)
    assert [call[0] for call in read_calls(address)] == [2, 3]


def test_a_table_of_a_newer_delta_lake_is_refused_and_everything_stays(tmp_path: Path) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    write_calls(store, 0, 1)
    ship(address, store)
    log = tmp_path / "lake" / "calls" / "_delta_log"
    newer = {"protocol": {"minReaderVersion": 99, "minWriterVersion": 99}}
    (log / f"{len(list(log.glob('*.json'))):020d}.json").write_text(json.dumps(newer) + "\n")
    write_calls(store, 1, 1)
    with pytest.raises(StoreVersionError, match="newer Delta Lake.*pip install -U deltalake"):
        ship(address, store)
    assert list(spool_of(store).glob("*.jsonl"))


def test_a_clock_that_is_apart_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    write_calls(store, 0, 1)
    ship(address, store)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3 * 3600)
    (notice,) = ship(address, store).notices
    assert notice.startswith("the lake's last commit is 180 min in the future")


def test_columns_that_one_version_knows_and_the_other_does_not_are_kept(tmp_path: Path) -> None:
    import deltalake
    from deltalake.schema import Field, PrimitiveType

    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    write_calls(store, 0, 2)
    ship(address, store)
    table = deltalake.DeltaTable(f"{tmp_path}/lake/calls")
    table.alter.add_columns([Field("mood", PrimitiveType("string"))])  # a newer version's
    import pyarrow

    row = pyarrow.table(
        {"span_id": ["f" * 16], "start_ns": [BEGIN], "mood": ["calm"], "day": [table.partitions()[0]["day"]]}
    )
    row = row.set_column(3, "day", row["day"].cast(pyarrow.date32()))
    deltalake.write_deltalake(table, row, mode="append", schema_mode="merge")
    write_calls(store, 2, 1)
    ship(address, store)
    with open_store(address) as lake:
        rows = lake.sql("SELECT span_id, mood, name FROM calls ORDER BY span_id").fetchall()
        assert lake.summary().calls == 4
    assert rows == [(span(n), None, "ask") for n in range(3)] + [("f" * 16, "calm", None)]


def test_a_table_of_an_earlier_version_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    import deltalake
    from deltalake.schema import Field, PrimitiveType, Schema

    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    earlier = [Field("id", PrimitiveType("string")), Field("span_id", PrimitiveType("string"))]
    earlier.append(Field("day", PrimitiveType("date")))
    deltalake.DeltaTable.create(f"{tmp_path}/lake/scores", Schema(earlier), partition_by=["day"])
    write_calls(store, 0, 1)
    ship(address, store)
    with open_store(address) as lake:
        assert [score.value for score in lake.scores(span(0))] == [1]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"span_id": [1, 2], "start_ns": ["x", "y"]}, "column 'span_id' is long, not string"),
        ({"name": ["a", "b"]}, "days are missing"),
    ],
)
def test_a_table_of_somebody_else_is_left_as_it_is_and_nothing_leaves_this_machine(
    tmp_path: Path, columns: dict[str, list[object]], reason: str
) -> None:
    import deltalake
    import pyarrow

    address, store = f"delta://{tmp_path}/lake", tmp_path / "m.duckdb"
    deltalake.write_deltalake(f"{tmp_path}/lake/calls", pyarrow.table(columns))
    write_calls(store, 0, 2)
    for refused in (lambda: ship(address, store), lambda: open_store(address).calls()):
        with pytest.raises(StoreError, match=f"none of a lake: .*{reason}.*name another folder"):
            refused()
    assert deltalake.DeltaTable(f"{tmp_path}/lake/calls").version() == 0
    with open_store(store) as here:
        assert len(here.calls()) == 2
