"""tail, ingest, doctor and export: what follows, checks and carries away."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.stores.paging import FLAT
from tests.helpers.cli_toys import answer, invoke, record, start


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "traces.duckdb"
    record(path)
    return path


def test_tail_prints_calls_as_they_end_and_leaves_after_the_limit(place: Path) -> None:
    with start(
        "tail", "--store", str(place), "--last", "1", "--limit", "3", "--interval", "0.1", "--json"
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["name"] == "ask"
        llm_trace.configure(place)
        with llm_trace.span("outer", input="a"), llm_trace.span("inner"):
            pass
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(60) == 0
    assert {(call["name"], call["status"]) for call in rest} == {("inner", "ok"), ("outer", "ok")}


def test_tail_waits_for_a_store_and_ends_well_with_ctrl_c(tmp_path: Path) -> None:
    place = tmp_path / "later.duckdb"
    with start("tail", "--interval", "0.1", LLM_TRACE_STORE=str(place)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "waiting for the first call" in process.stderr.readline()
        record(place)
        assert process.stdout.readline().split()[:3] == ["time", "id", "name"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()


def test_tail_shows_calls_that_a_dying_process_left_open(place: Path) -> None:
    with start(
        "tail", "--store", str(place), "--last", "1", "--limit", "2", "--interval", "0.1", "--json"
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        child = os.fork()
        if child == 0:
            llm_trace.configure(place)
            llm_trace.span("never ends", input="x").__enter__()
            os._exit(0)
        os.waitpid(child, 0)
        call = json.loads(process.stdout.readline())
        assert process.wait(60) == 0
    assert (call["name"], call["status"], call["input"]) == ("never ends", "interrupted", {"input": "x"})


def test_ingest_says_what_was_read_and_what_was_set_aside(place: Path) -> None:
    (file,) = place.with_name(place.name + ".spool").glob("*.jsonl")
    with file.open("ab") as spool:
        spool.write(b'{"event":"lost","count":3,"reason":"ENOSPC","time_ns":5}\nno event\n')
    written = file.read_bytes()
    figures = answer(place, "ingest")
    seconds = figures.pop("seconds")
    assert figures == {
        "lines": written.count(b"\n"), "bad_lines": 1, "bytes": len(written), "deleted": 1, "calls": 6,
        "interrupted": 0, "lost": 3, "quarantined": 1,
    }  # fmt: skip
    assert seconds > 0
    assert invoke(place, "ingest").stdout.splitlines()[1:] == [
        "quarantined  0 lines now, 1 in all",
        "deleted      0 spool files that nobody needs any more",
        "lost         3 events that could not be written",
        "store        6 calls, 0 of them interrupted",
    ]


def test_ingest_makes_no_store_where_there_is_none(tmp_path: Path) -> None:
    assert invoke(tmp_path / "none.duckdb", "ingest").exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_doctor_finds_a_sound_store_and_changes_nothing(place: Path) -> None:
    report = answer(place, "doctor")
    assert (report["problems"], report["store"]["exists"], report["spool"]["files"]) == ([], False, 1)
    assert report["spool"]["pending"] == report["spool"]["bytes"] > 0
    assert not place.exists()
    invoke(place, "ls")
    report = answer(place, "doctor")
    shown = ("path", "exists", "writable", "calls", "runs", "interrupted")
    assert {name: report["store"][name] for name in shown} == {
        "path": str(place), "exists": True, "writable": True, "calls": 6, "runs": 2, "interrupted": 0,
    }  # fmt: skip
    assert (report["spool"]["pending"], report["spool"]["open writers"], report["spool"]["lost"]) == (
        0,
        [],
        {},
    )
    assert report["store"]["schema"] == report["store"]["known schema"]
    assert report["versions"]["llm-trace"] == llm_trace.__version__
    assert invoke(place, "doctor").stdout.splitlines()[-1] == "✓ nothing is known to be lost"


def test_doctor_names_open_writers_pending_bytes_and_settings(place: Path) -> None:
    invoke(place, "ls")
    llm_trace.configure(place, sample=0.5, run="night")
    with llm_trace.span("s"):
        report = json.loads(invoke(place, "doctor", "--json", LLM_TRACE_SAMPLE="0.5").stdout)
    (writer,) = report["spool"]["open writers"]
    assert writer["pid"] == os.getpid()
    assert report["spool"]["pending"] > 0
    assert report["environment"]["LLM_TRACE_SAMPLE"] == "0.5"
    assert report["remarks"][0].startswith("some events are not in the store yet")


def test_doctor_exits_with_1_when_something_was_lost(place: Path) -> None:
    (file,) = place.with_name(place.name + ".spool").glob("*.jsonl")
    with file.open("ab") as spool:
        spool.write(b'{"event":"lost","count":3,"reason":"ENOSPC","time_ns":5}\ntorn')
    assert answer_with_losses(place)["store"]["exists"] is False
    invoke(place, "ls")
    result = invoke(place, "doctor", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    aside, lost = report["problems"]
    assert aside.startswith("1 lines of the spool could not be read and were set aside")
    assert lost == "events were lost because they could not be written: 3 x ENOSPC"
    assert report["spool"]["quarantined lines"] == 1
    assert "✗ events were lost" in invoke(place, "doctor").stdout


def answer_with_losses(place: Path) -> Any:
    """Return what doctor finds where 3 events were lost: exit code 1."""
    result = invoke(place, "doctor", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["spool"]["lost"]) == (1, {"ENOSPC": 3})
    return report


def test_doctor_says_that_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x" * 5000)
    result = invoke(tmp_path / "notes.txt", "doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"][0].startswith("the store cannot be read: ")
    assert (tmp_path / "notes.txt").read_text() == "x" * 5000


def exported_calls(text: str) -> list[dict[str, Any]]:
    """Return the calls of exported lines as `ls` has them, without what only an import reads."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in line.items() if k != "stored"} for line in lines if "event" not in line]


def test_export_jsonl_gives_every_call_whole(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_trace.stores.export.PAGE", 2)
    calls = answer(place, "ls")
    result = invoke(place, "export", "--to", "jsonl", "--out", str(tmp_path / "c.jsonl"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("6 calls in ")
    assert exported_calls((tmp_path / "c.jsonl").read_text()) == calls
    printed = invoke(place, "export", "--to", "jsonl", "--limit", "3", "--where", "true OR false").stdout
    assert exported_calls(printed) == calls[:3]


def test_export_pages_split_calls_that_began_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_trace.stores.export.PAGE", 3)
    folder = tmp_path / "t.duckdb.spool"
    folder.mkdir()
    events = [{"event": "file", "format": 1, "writer": "f" * 16, "time_ns": 1}]
    events += [
        {
            "event": "start",
            "span_id": f"{n:016x}",
            "trace_id": "d" * 32,
            "start_ns": 7 + n // 8,
            "name": "f",
            "kind": "tool",
        }
        for n in range(20)
    ]
    (folder / f"{'f' * 16}.00000001.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    printed = invoke(tmp_path / "t.duckdb", "export", "--to", "jsonl").stdout
    assert sorted(json.loads(line)["span_id"] for line in printed.splitlines()) == [
        f"{n:016x}" for n in range(20)
    ]


def test_export_csv_has_a_column_for_each_field(place: Path, tmp_path: Path) -> None:
    invoke(
        place, "export", "--to", "csv", "--out", str(tmp_path / "c.csv"), "--kind", "llm", "--run", "first"
    )
    header, row = list(csv.reader((tmp_path / "c.csv").read_text().splitlines(keepends=True)))
    fields = dict(zip(header, row, strict=True))
    assert tuple(header) == (*FLAT, "input", "output")
    assert (fields["name"], fields["input_tokens"], fields["output"], fields["error"]) == (
        "ask",
        "9",
        "hello one",
        "",
    )
    assert json.loads(fields["input"]) == {"prompt": "Be kind.\n\nUser: one"}


def test_export_parquet_writes_every_table(place: Path, tmp_path: Path) -> None:
    result = invoke(place, "export", "--to", "parquet", "--out", str(tmp_path / "tables"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert {"calls.parquet", "runs.parquet"} <= {file.name for file in (tmp_path / "tables").iterdir()}
    query = f"SELECT count(*) AS n, min(name) AS first FROM '{tmp_path}/tables/calls.parquet'"
    assert answer(place, "sql", "--write", query) == [{"n": 6, "first": "answer"}]


def test_export_that_finds_nothing_or_cannot_write_says_so(place: Path, tmp_path: Path) -> None:
    nothing = invoke(place, "export", "--to", "jsonl", "--name", "nobody", "--out", str(tmp_path / "n.jsonl"))
    assert (nothing.exit_code, nothing.stderr) == (3, "no call matches\n")
    nowhere = invoke(place, "export", "--to", "csv", "--out", str(tmp_path / "no" / "c.csv"))
    assert nowhere.exit_code == 1
    assert nowhere.stderr.startswith("llm-trace: [Errno 2] No such file or directory")
    assert invoke(place, "export", "--to", "xml").exit_code == 2
    assert invoke(place, "export", "--to", "parquet").exit_code == 2


ENDLESS = "(SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a, b, start_ns) = 7) > 0"


def _has_open(process: subprocess.Popen[str], path: Path) -> bool:
    files = Path(f"/proc/{process.pid}/fd")
    with contextlib.suppress(OSError):  # one that is closed meanwhile
        return any(file.resolve() == path.resolve() for file in files.iterdir())
    return False


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nothing tells when the query begins")
def test_ctrl_c_stops_a_query_that_would_not_end(place: Path) -> None:
    with start("sql", f"SELECT * FROM calls WHERE {ENDLESS}", "--store", str(place)) as process:
        deadline = time.monotonic() + 60
        while not _has_open(process, place):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed, complained = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert "Traceback" not in complained


def test_an_export_over_its_time_limit_leaves_no_file(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "calls.jsonl"
    arguments = ["--to", "jsonl", "--out", str(out), "--store", str(place), "--where", ENDLESS]
    with start("export", *arguments, "--time-limit", "0.5") as process:
        printed, complained = process.communicate(timeout=60)
    assert (process.returncode, printed, list(tmp_path.glob("calls*"))) == (1, "", [])
    assert complained.startswith("llm-trace: the time limit of 0.5 s is over: raise --time-limit")


def test_a_pipe_that_closes_early_is_no_error(place: Path) -> None:
    with start("export", "--to", "jsonl", "--store", str(place)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.wait(60)
        assert process.stderr.read() == ""


def test_reading_goes_on_while_another_process_writes(place: Path) -> None:
    llm_trace.configure(place)
    begun = time.monotonic()
    with start("sql", "SELECT count(*) AS n FROM calls", "--store", str(place), "--json") as process:
        while process.poll() is None and time.monotonic() - begun < 30:
            with llm_trace.span("busy"):
                pass
        assert process.stdout is not None
        assert json.loads(process.stdout.read())[0]["n"] >= 6
    assert process.returncode == 0
