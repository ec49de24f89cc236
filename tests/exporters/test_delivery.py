"""Delivery as a program has it: several destinations, a process of its own, reports that are right."""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import llm_trace
from llm_trace.exporters.delivery import supervisor
from llm_trace.exporters.delivery.delivery import Delivery
from llm_trace.exporters.delivery.status import get_standing
from llm_trace.exporters.otlp import OtlpExporter
from llm_trace.exporters.registry import make_exporter
from llm_trace.stores.purge import purge
from tests.conftest import Recorded
from tests.helpers.exporter_contract import PATIENCE
from tests.helpers.loopback import Loopback, Reply
from tests.helpers.otlp_server import spans_of, strict
from tests.helpers.spool_toys import HandWriter, span, spool_of


@pytest.fixture
def server(recorded: Recorded) -> Iterator[Loopback]:
    with Loopback(strict) as server:
        yield server
        llm_trace.shutdown()
        for process in serving(recorded.path):  # those that wait for a server which never answers
            os.kill(process, signal.SIGKILL)


def address(server: Loopback) -> str:
    return f"otlp://{server.address}"


def arrived(server: Loopback) -> list[str]:
    return [span.span_id.hex() for request in list(server.received) for span in spans_of(request)]


def ask(number: int) -> None:
    with llm_trace.span("ask", kind="llm") as call:
        call.set(output=str(number))


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def serving(store: Path) -> list[int]:
    """Return the processes that deliver for a store."""
    found = subprocess.run(
        ["pgrep", "-f", f"llm_trace.exporters.delivery.daemon {store}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line) for line in found.stdout.split()]


def test_a_destination_in_trouble_stops_no_other(recorded: Recorded, server: Loopback) -> None:
    with Loopback(lambda _: Reply(401, b"who?")) as closed:
        llm_trace.configure(recorded.path, exporters=(address(server), address(closed)))
        for number in range(20):
            ask(number)
        report = llm_trace.flush(60)
        told = report.destinations
        assert (told[address(server)].delivered, told[address(server)].pending) == (20, 0)
        assert (told[address(closed)].delivered, told[address(closed)].pending) == (0, 20)
        assert not report.ok
        assert "OTEL_EXPORTER_OTLP_HEADERS" in str(report)
    assert sorted(arrived(server)) == sorted(call.span_id for call in recorded.calls())


def test_a_bill_that_is_not_paid_stops_the_destination_and_sets_no_call_aside(
    recorded: Recorded, server: Loopback
) -> None:
    server.answer = lambda _: Reply(402, b"out of credit")
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    report = llm_trace.flush(60)
    destination = report.destinations[address(server)]
    assert (destination.delivered, destination.pending, destination.rejected) == (0, 1, 0)
    assert "HTTP 402: out of credit" in str(report)


def test_a_key_that_was_put_right_is_tried_at_once(recorded: Recorded, server: Loopback) -> None:
    server.answer = lambda _: Reply(401)
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in str(llm_trace.flush(60))
    llm_trace.shutdown()
    until(lambda: not serving(recorded.path))
    server.answer = strict
    llm_trace.configure(recorded.path, exporters=(address(server),))
    assert llm_trace.flush(60).destinations[address(server)].delivered == 1


def test_flush_reports_what_another_process_delivers_and_waits_no_longer_than_told(
    recorded: Recorded, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_WAIT_S", 120.0)
    server.answer = lambda _: "hang"
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    begin = time.monotonic()
    report = llm_trace.flush(0.3)
    assert 0.3 <= time.monotonic() - begin < 60  # unless told it waits twice as long
    assert (report.destinations[address(server)].delivered, report.destinations[address(server)].pending) == (
        0,
        1,
    )


def test_a_process_that_delivers_and_dies_is_replaced(
    recorded: Recorded, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_CHECK_S", 0.1)
    monkeypatch.setattr(supervisor, "_LAUNCH_S", 2.0)
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    until(lambda: len(arrived(server)) == 1)
    until(lambda: len(serving(recorded.path)) == 1)  # on a slow machine a second one was started, and leaves
    (first,) = serving(recorded.path)
    os.kill(first, signal.SIGKILL)
    ask(2)
    assert llm_trace.flush(60).destinations[address(server)].pending == 0
    assert first not in serving(recorded.path)
    assert set(arrived(server)) == {call.span_id for call in recorded.calls()}


def test_calls_of_a_process_that_was_killed_are_delivered_all_the_same(
    tmp_path: Path, server: Loopback
) -> None:
    code = f"""
        import os, llm_trace
        llm_trace.configure({str(tmp_path / "t.duckdb")!r}, exporters=({address(server)!r},))
        for number in range(50):
            with llm_trace.span("ask", kind="llm"):
                pass
        lost = llm_trace.span("ask", kind="llm").__enter__()
        llm_trace.config.current.exporting.settle()
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    until(lambda: len(set(arrived(server))) == 51)
    until(lambda: not serving(tmp_path / "t.duckdb"))


def said(server: Loopback) -> list[str]:
    """Return the outputs of the calls that arrived, in order."""
    spans = [span for request in list(server.received) for span in spans_of(request)]
    return [
        a.value.string_value for span in spans for a in span.attributes if a.key == "gen_ai.output.messages"
    ]


def numbers(server: Loopback) -> list[str]:
    return sorted(json.loads(text)[0]["parts"][0]["content"] for text in said(server))


@pytest.mark.parametrize("between", [False, True], ids=["configured anew", "after a shutdown"])
def test_a_destination_that_was_taken_out_receives_no_later_call(
    recorded: Recorded, server: Loopback, *, between: bool
) -> None:
    with Loopback(strict) as other:
        llm_trace.configure(recorded.path, exporters=(address(server), address(other)))
        ask(1)
        assert llm_trace.flush(60).ok
        if between:
            llm_trace.shutdown()
        llm_trace.configure(recorded.path, exporters=(address(other),))
        ask(2)
        report = llm_trace.flush(60)
        assert (report.ok, set(report.destinations)) == (True, {"spool", address(other)})
        llm_trace.configure(recorded.path, exporters=())
        ask(3)
        assert set(llm_trace.flush(60).destinations) == {"spool"}
        until(lambda: not serving(recorded.path))
        llm_trace.configure(recorded.path, exporters=(address(server),))
        ask(4)
        assert llm_trace.flush(60).ok
        assert numbers(server) == ["1", "4"]
        assert numbers(other) == ["1", "2"]


def test_flush_says_what_waits_for_a_destination_that_was_taken_out_and_nothing_of_it_is_sent(
    recorded: Recorded, server: Loopback
) -> None:
    server.answer = lambda _: Reply(503)
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    until(lambda: arrived(server))
    llm_trace.configure(recorded.path, exporters=())
    until(lambda: not serving(recorded.path))
    server.received.clear()
    server.answer = strict
    ask(2)
    report = llm_trace.flush(0.5)
    assert report.ok
    stands = report.destinations[address(server)]
    assert (stands.delivered, stands.pending, stands.configured) == (0, 1, False)
    assert "not in configure(exporters=…)" in str(report)
    assert arrived(server) == []
    llm_trace.configure(recorded.path, exporters=(address(server),))
    assert llm_trace.flush(60).ok
    assert numbers(server) == ["1"]


def test_a_process_without_exporters_sends_nothing_while_another_has_some(
    recorded: Recorded, server: Loopback
) -> None:
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    code = f"""
        import llm_trace
        llm_trace.configure({str(recorded.path)!r}, exporters=())
        with llm_trace.span("ask", kind="llm") as call:
            call.set(output="other")
        llm_trace.log_score("good", 1.0, call=call)
    """
    subprocess.run([sys.executable, "-c", dedent(code)], check=True)
    ask(2)
    assert llm_trace.flush(60).ok
    assert (numbers(server), len(arrived(server))) == (["1", "2"], 2)


def test_a_score_given_later_goes_where_its_call_went(
    recorded: Recorded, server: Loopback, tmp_path: Path
) -> None:
    llm_trace.configure(recorded.path, exporters=(address(server) + "?metrics=false",))
    ask(1)
    assert llm_trace.flush(60).ok
    code = f"""
        import llm_trace
        llm_trace.configure({str(recorded.path)!r}, exporters=())
        with llm_trace.span("ask", kind="llm") as call:
            call.set(output="other")
    """
    subprocess.run([sys.executable, "-c", dedent(code)], check=True)
    rows = [f"{call.span_id},{call.output},1" for call in recorded.calls()]
    (tmp_path / "scores.csv").write_text("\n".join(["span_id,name,value", *rows]))
    command = ["annotate", "--csv", str(tmp_path / "scores.csv"), "--store", str(recorded.path)]
    subprocess.run([f"{Path(sys.executable).parent}/llm-trace", *command], check=True, capture_output=True)
    assert llm_trace.flush(60).ok
    spans = [span for request in list(server.received) for span in spans_of(request)]
    assert [span.name for span in spans] == ["ask", "evaluation 1"]


def test_what_is_said_of_a_call_that_was_for_others_goes_to_none_however_late_a_reader_is(
    recorded: Recorded, server: Loopback, tmp_path: Path
) -> None:
    llm_trace.configure(recorded.path, exporters=(address(server) + "?metrics=false",))
    ask(1)
    assert llm_trace.flush(60).ok
    (delivering,) = serving(recorded.path)
    os.kill(delivering, signal.SIGSTOP)
    try:
        code = f"""
            import llm_trace
            llm_trace.configure({str(recorded.path)!r}, exporters=())
            with llm_trace.span("ask", kind="llm") as call:
                call.set(output="other")
        """
        subprocess.run([sys.executable, "-c", dedent(code)], check=True)
        (other,) = [call for call in recorded.calls() if call.output == "other"]
        (tmp_path / "scores.csv").write_text(f"span_id,name,value\n{other.span_id},secret,1")
        command = ["annotate", "--csv", str(tmp_path / "scores.csv"), "--store", str(recorded.path)]
        subprocess.run(
            [f"{Path(sys.executable).parent}/llm-trace", *command], check=True, capture_output=True
        )
    finally:
        os.kill(delivering, signal.SIGCONT)
    assert llm_trace.flush(60).ok
    spans = [span for request in list(server.received) for span in spans_of(request)]
    assert [span.name for span in spans] == ["ask"]
    assert len(recorded.calls()) == 2
    assert len(list(spool_of(recorded.path).glob("*.jsonl"))) == 1  # this process's own


def test_a_new_option_of_an_address_is_heeded_at_once(recorded: Recorded, server: Loopback) -> None:
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    assert llm_trace.flush(60).ok
    llm_trace.configure(recorded.path, exporters=(address(server) + "?content=false",))
    ask(2)
    assert llm_trace.flush(60).ok
    assert (numbers(server), len(arrived(server))) == (["1"], 2)


def test_the_spool_is_not_kept_for_a_destination_that_was_taken_out(
    recorded: Recorded, server: Loopback
) -> None:
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    assert llm_trace.flush(60).ok
    llm_trace.configure(recorded.path, exporters=())
    ask(2)
    llm_trace.shutdown()
    assert len(recorded.calls()) == 2
    assert list(spool_of(recorded.path).glob("*.jsonl")) == []


def test_the_host_logs_what_stands_in_the_way_once(
    recorded: Recorded, server: Loopback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_CHECK_S", 0.02)
    server.answer = lambda _: Reply(403, b"not yours")
    with caplog.at_level(logging.WARNING, "llm_trace"):
        llm_trace.configure(recorded.path, exporters=(address(server),))
        ask(1)
        until(lambda: "not yours" in caplog.text)
        llm_trace.shutdown()
    assert caplog.text.count("not yours") == 1


def test_exporter_objects_are_delivered_to_by_a_thread(recorded: Recorded, server: Loopback) -> None:
    llm_trace.configure(recorded.path, exporters=[OtlpExporter("mine", server.url)])
    ask(1)
    assert llm_trace.flush(60).destinations["mine"].delivered == 1
    assert serving(recorded.path) == []
    assert len(arrived(server)) == 1


def test_the_environment_names_destinations_and_hands_them_down(
    recorded: Recorded, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_TRACE_EXPORTERS", f"{address(server)}, {address(server)}/again")
    llm_trace.configure(recorded.path)
    assert os.environ["LLM_TRACE_EXPORTERS"] == f"{address(server)} {address(server)}/again"
    assert set(llm_trace.flush(0).destinations) == {"spool", address(server), address(server) + "/again"}
    llm_trace.shutdown()  # gives the variable back, while it is the test's


def test_a_package_adds_an_exporter_by_an_entry_point(
    recorded: Recorded, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    told = site / "acme-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(
        "[llm_trace.exporters]\nacme = acme:make\nacme-bare = nowhere:make\n"
    )
    made = (
        "def make(parts):\n    from llm_trace.exporters.otlp import OtlpExporter\n    return "
        f"OtlpExporter(parts.geturl(), {server.url!r})\n"
    )
    (site / "acme.py").write_text(made)
    monkeypatch.syspath_prepend(str(site))
    llm_trace.configure(recorded.path, exporters=["acme://team"])
    ask(1)
    assert llm_trace.flush(60).destinations["acme://team"].delivered == 1
    with pytest.raises(llm_trace.errors.MissingExtraError, match="nowhere is not installed"):
        llm_trace.configure(recorded.path, exporters=["acme-bare://team"])


def test_an_event_too_large_for_any_request_is_set_aside(tmp_path: Path, server: Loopback) -> None:
    spool = HandWriter(spool_of(tmp_path / "t.duckdb"))
    made = make_exporter(address(server))
    made.max_bytes = 100_000
    delivery = Delivery(spool.folder, made, patience=PATIENCE)
    assert delivery.claim()
    spool.call(1)
    spool.call(2, output=os.urandom(300_000).hex())
    spool.call(3)
    delivery.step()
    delivery.close()
    assert arrived(server) == [span(1), span(3)]
    stands = get_standing(spool.folder, delivery.name)
    assert (stands.delivered, stands.pending, stands.rejected) == (2, 0, 1)
    assert "100000 allowed" in stands.said


def test_purge_takes_calls_out_of_what_was_set_aside(tmp_path: Path, server: Loopback) -> None:
    store = tmp_path / "t.duckdb"
    spool = HandWriter(spool_of(store))
    delivery = Delivery(spool.folder, make_exporter(address(server)), patience=PATIENCE)
    assert delivery.claim()
    server.answer = lambda _: Reply(400)
    spool.call(1, output="the secret", user="anna")
    spool.call(2, output="nothing much", user="bert")
    spool.close()
    delivery.step()
    delivery.close()
    (kept,) = (spool.folder / "rejected").glob("*.jsonl")
    assert b"the secret" in kept.read_bytes()
    assert purge(store, user="anna").calls == 1
    assert b"the secret" not in kept.read_bytes()
    assert b"nothing much" in kept.read_bytes()


def test_an_answer_without_an_end_is_read_in_part_and_named(recorded: Recorded, server: Loopback) -> None:
    small = gzip.compress(bytes(100 << 20), 1, mtime=0)
    server.answer = lambda _: Reply(200, small, {"content-type": "text/html", "content-encoding": "gzip"})
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    until(lambda: "is longer than 1,048,576 bytes" in str(llm_trace.flush(0.2)))
    server.answer = strict
    until(lambda: llm_trace.flush(60).destinations[address(server)].delivered == 1)


def test_a_packed_answer_is_read(recorded: Recorded, server: Loopback) -> None:
    packed = gzip.compress(b'{"error": "out of credit"}', mtime=0)
    server.answer = lambda _: Reply(402, packed, {"content-encoding": "gzip"})
    llm_trace.configure(recorded.path, exporters=(address(server),))
    ask(1)
    assert "out of credit" in str(llm_trace.flush(60))
