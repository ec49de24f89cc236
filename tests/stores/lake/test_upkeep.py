"""Compaction changes no answer; a purge leaves nothing of whom it is for, in any file."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store, purge
from llm_trace.errors import ConfigurationError, StoreNotFoundError
from llm_trace.examination import examine
from llm_trace.record import Call
from llm_trace.stores.lake.compaction import CompactReport, compact_lake
from llm_trace.stores.lake.delta import CommitConflictError, LakeTable, TableChange
from llm_trace.stores.lake.shipping import ship
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

DAY = 24 * 3600
SHARED = {"role": "system", "content": "Shared greeting"}
SECRET = "zebra-crossing-7"


LIVING = f"""
import sys
import llm_trace
from llm_trace.stores.lake.shipping import ship
llm_trace.configure(sys.argv[1], record_env=False)
@llm_trace.trace(kind="llm")
def ask(messages):
    return "so"
for user, word in (("anna", {SECRET!r}), ("ben", "plain")):
    with llm_trace.using_session("s", user=user):
        ask([{{"role": "user", "content": word}}])
llm_trace.flush()
ship(sys.argv[1])
print("shipped", flush=True)
sys.stdin.read()
"""


def ship_calls(folder: Path, *groups: tuple[int, ...]) -> str:
    """Ship calls of two users, each group in a shipment of its own; return the lake's address."""
    address = f"delta://{folder}/lake"
    for group in groups:
        store = folder / f"m{group[0]}.duckdb"
        writer = HandWriter(spool_of(store))
        for number in group:
            user, word = ("anna", SECRET) if number % 2 else ("ben", "plain")
            said = {"role": "user", "content": f"{word} {number}"}
            position = 0 if number == group[0] else group.index(number) + 1
            fresh = bodies(SHARED, said) if position == 0 else bodies(said, first=position)
            at = max(position, 1)
            writer.start(
                number, user=user, input={"m": {"$messages": [0, 2]}}, messages_in=[[0, 0], [at, at]],
                messages=fresh, metadata={"note": word},
            )  # fmt: skip
            writer.end(number, output=f"{word} answered")
            writer.event(
                "score",
                id=f"{number:016x}",
                span_id=span(number),
                name="s",
                value=1,
                comment=word,
                time_ns=BEGIN,
            )
        writer.close()
        ship(address, store)
    return address


def read_all(address: str) -> tuple[list[Call], list[Any]]:
    with open_store(address) as lake:
        return lake.calls(limit=None, order="oldest"), lake.fetch("SELECT * FROM scores ORDER BY id")


def find_word(folder: Path, word: str) -> list[str]:
    """Return the files of a folder that hold a word, packed or not."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if word.encode() in path.read_bytes():
            found.append(path.name)
        if path.suffix == ".parquet":
            import pyarrow.parquet

            if word in str(pyarrow.parquet.read_table(path, partitioning=None).to_pylist()):
                found.append(path.name)
    return found


def test_compaction_leaves_one_file_a_day_and_the_same_answers(tmp_path: Path) -> None:
    address = ship_calls(tmp_path, (1, 2), (3, DAY + 1), (5, 6), (DAY + 8, 8))
    before = read_all(address)
    report = compact_lake(address)
    assert (report.repeated, report.notices) == (0, [])
    assert report.files_after < report.files_before
    assert read_all(address) == before
    with open_store(address) as lake:
        sizes = lake.fetch(f"SELECT count(*) FROM glob('{tmp_path}/lake/calls/*/*.parquet')")
    assert sizes == [(8,)]  # six of before, kept for an hour for those who read them
    again = compact_lake(address)
    assert again == CompactReport(report.files_after, report.files_after)


def test_two_that_rewrite_at_a_time_do_not_double_rows(tmp_path: Path) -> None:
    address = ship_calls(tmp_path, (1, 2), (3, 4))
    root = f"{tmp_path}/lake"
    one, other = (LakeTable(root, "calls", "start_ns") for _ in range(2))
    for table in (one, other):
        table.load()
    first, second = one.list_files()
    one.commit(TableChange(remove=[first], transaction=one.next_rewrite()))
    with pytest.raises(CommitConflictError):
        other.commit(TableChange(remove=[first, second], transaction=other.next_rewrite()))
    with open_store(address) as lake:
        assert len(lake.calls()) == 2


def test_ids_that_two_fleets_share_are_said_by_compaction(tmp_path: Path) -> None:
    address = f"delta://{tmp_path}/lake"
    for name in ("east", "west"):
        writer = HandWriter(spool_of(tmp_path / f"{name}.duckdb"))
        writer.call(1, output=name)
        writer.close()
        ship(address, tmp_path / f"{name}.duckdb")
    report = compact_lake(address)
    assert report.repeated == 1
    assert report.notices[0].startswith("1 ids belong to more than one call each: two fleets")
    with open_store(address) as lake:
        assert sorted(str(call.output) for call in lake.calls()) == ["east", "west"]


def test_a_purge_by_user_leaves_no_byte_of_theirs(tmp_path: Path) -> None:
    address = ship_calls(tmp_path, (1, 2), (3, DAY + 1, 4), (5,))
    compact_lake(address)
    assert find_word(tmp_path / "lake", SECRET)
    kept = [call for call in read_all(address)[0] if call.user == "ben"]
    report = purge(address, user="anna")
    assert (report.calls, report.scores, report.pending) == (4, 4, ())
    assert report.messages == 6  # their four, and the greeting where nobody else was greeted within the hour
    assert report.bytes_after < report.bytes_before
    assert find_word(tmp_path / "lake", SECRET) == []
    assert find_word(tmp_path / "lake", "anna") == []
    calls, scores = read_all(address)
    assert calls == kept
    assert [score[1] for score in scores] == [call.span_id for call in kept]


def test_doctor_says_what_the_lake_has_beside_what_waits_here(tmp_path: Path) -> None:
    address = ship_calls(tmp_path, (1, 2), (3,))
    store = examine(address)["store"]
    assert (store["lake"], store["calls in the lake"], store["calls"]) == (address, 3, 0)
    assert store["bytes in the lake"] > 0


def test_a_purge_takes_what_this_machine_has_yet_to_ship(tmp_path: Path) -> None:
    from llm_trace.spool.paths import get_spool_dir

    address = ship_calls(tmp_path, (1, 2))
    folder = get_spool_dir(address)
    folder.parent.mkdir(parents=True)
    writer = HandWriter(folder)
    writer.call(7, user="anna", output=SECRET)
    writer.start(9, user="anna", input=SECRET)
    writer.close()
    assert purge(address, user="anna").calls == 3
    assert [call.user for call in read_all(address)[0]] == ["ben"]
    assert find_word(tmp_path / "lake", SECRET) == find_word(tmp_path / "state", SECRET) == []


def test_what_a_living_writer_still_holds_of_a_purged_call_is_named_and_goes_when_it_ends(
    tmp_path: Path,
) -> None:
    address = f"delta://{tmp_path}/lake"
    with subprocess.Popen(
        [sys.executable, "-c", LIVING, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        report = purge(address, user="anna")
        assert (report.calls, len(report.pending)) == (1, 1)
        process.stdin.close()
        assert process.wait(60) == 0
    ship(address)
    assert find_word(tmp_path / "lake", SECRET) == find_word(tmp_path / "state", SECRET) == []
    assert len(read_all(address)[0]) == 1


def test_a_purge_by_age_by_run_and_by_id(tmp_path: Path) -> None:
    address = f"delta://{tmp_path}/lake"
    writer = HandWriter(spool_of(tmp_path / "t.duckdb"))
    writer.event("run", id="a" * 16, name="old", start_ns=BEGIN)
    for number in range(4):
        writer.call(number, run="a" * 16 if number == 1 else None)
    recent = (time.time_ns() - BEGIN) // 10**9 - 60
    writer.call(recent)
    writer.close()
    ship(address, tmp_path / "t.duckdb")
    report = purge(address, run="old")
    assert (report.calls, report.runs) == (1, 1)
    assert purge(address, id=span(2)).calls == 1
    assert purge(address, older_than=timedelta(hours=1)).calls == 2
    assert [call.span_id for call in read_all(address)[0]] == [span(recent)]
    with pytest.raises(ConfigurationError, match="older_than= for a lake"):
        purge(address, max_bytes=1)


def test_a_review_of_a_purged_call_keeps_its_place_in_the_log(tmp_path: Path) -> None:
    address = f"delta://{tmp_path}/lake"
    writer = HandWriter(spool_of(tmp_path / "t.duckdb"))
    writer.call(1, user="anna")
    body = {"log": "l", "entry": 1, "before": None, "digest": "d", "comment": SECRET}
    for number, kind in enumerate(("review", "note")):
        writer.event(
            "operation",
            id=f"{number:016x}",
            kind=kind,
            subject="s",
            span_id=span(1),
            time_ns=BEGIN,
            body=body,
        )
    writer.close()
    ship(address, tmp_path / "t.duckdb")
    purge(address, user="anna")
    with open_store(address) as lake:
        rows = lake.fetch("SELECT kind, subject, span_id, body::TEXT FROM operations")
    gone = '{"log":"l","entry":1,"before":null,"digest":"d","gone":"purged"}'
    assert rows == [("review", "", None, gone)]
    assert find_word(tmp_path / "lake", SECRET) == []


def test_there_is_no_lake_to_compact(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="no lake at"):
        compact_lake(f"delta://{tmp_path}/lake")


def test_the_command_line_ships_lists_scores_compacts_and_purges(tmp_path: Path) -> None:
    writer = HandWriter(spool_of(tmp_path / "t.duckdb"))
    for number in (1, 2):
        writer.call(number, user=f"u{number}")
    writer.close()
    address = f"delta://{tmp_path}/lake"

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "llm_trace.cli", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert run("ship", "--to", address, "--store", str(tmp_path / "t.duckdb")).startswith(
        "shipped  2 calls, "
    )
    assert run("ls", "--store", address).count("ask") == 2
    scores = tmp_path / "scores.csv"
    scores.write_text(f"span_id,name,value\n{span(2)},helpful,1\n")
    run("annotate", "--csv", str(scores), "--store", address)
    with open_store(address) as lake:
        assert [score.name for score in lake.scores(span(2))] == ["helpful"]
    assert "before" in run("compact", "--store", address)
    assert "1 call" in run("purge", "--store", address, "--user", "u1", "--yes")
    assert run("sql", "SELECT count(*) AS n FROM calls", "--store", address, "--json").count("1") == 1
