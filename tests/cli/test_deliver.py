"""`llm-trace export --to ADDRESS` and what `doctor` says of destinations."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from llm_trace.exporters import protocol
from llm_trace.exporters.delivery.cursor import get_cursor_path
from llm_trace.exporters.delivery.delivery import Delivery
from llm_trace.exporters.delivery.rejected import Rejected
from llm_trace.exporters.delivery.status import get_standing
from llm_trace.exporters.registry import make_exporter
from tests.helpers.cli_toys import invoke, record, start
from tests.helpers.exporter_contract import PATIENCE
from tests.helpers.loopback import Loopback, Reply
from tests.helpers.otlp_server import spans_of, strict
from tests.helpers.spool_toys import HandWriter, span, spool_of


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback(strict) as server:
        yield server


def address(server: Loopback) -> str:
    return f"otlp://{server.address}"


def names(server: Loopback) -> list[str]:
    return sorted(span.name for request in server.received for span in spans_of(request))


def test_export_sends_stored_calls_with_their_scores_by_the_usual_filters(
    tmp_path: Path, server: Loopback
) -> None:
    place = tmp_path / "t.duckdb"
    record(place)
    done = invoke(place, "export", "--to", address(server), "--run", "first", "--header", "x-team=a=b")
    assert done.exit_code == 0, done.output
    assert names(server) == ["answer", "chat toy-1", "evaluation kind"]
    assert {request.headers["x-team"] for request in server.received} == {"a=b"}
    assert "3 delivered, 0 set aside" in done.stderr
    again = invoke(place, "export", "--to", address(server), "--name", "nobody")
    assert (again.exit_code, again.stderr) == (3, "no call matches\n")


def test_export_says_which_setting_is_wrong(tmp_path: Path, server: Loopback) -> None:
    place = tmp_path / "t.duckdb"
    record(place)
    server.answer = lambda _: Reply(401, b"no key")
    done = invoke(place, "export", "--to", address(server))
    assert done.exit_code == 1
    assert "OTEL_EXPORTER_OTLP_HEADERS" in done.stderr
    assert invoke(place, "export", "--to", "otlp://", "--follow").exit_code == 1
    assert invoke(place, "export", "--to", address(server), "--header", "x").exit_code == 2
    assert invoke(place, "export", "--to", "jsonl", "--follow").exit_code == 2


def test_what_was_set_aside_is_sent_again_on_request(tmp_path: Path, server: Loopback) -> None:
    place = tmp_path / "t.duckdb"
    spool = HandWriter(spool_of(place))
    spool.call(1)
    server.answer = lambda _: Reply(400, b"not today")
    delivery = Delivery(spool.folder, make_exporter(address(server)), patience=PATIENCE)
    assert delivery.claim()
    delivery.step()
    stands = json.loads(invoke(place, "doctor", "--json").stdout)["destinations"][address(server)]
    assert (stands["delivered"], stands["pending"], stands["rejected"]) == (0, 0, 1)
    assert "not today" in invoke(place, "doctor").stdout

    server.answer = strict
    over = Event()  # the process that delivers does it when asked, for it keeps the counts
    thread = Thread(target=lambda: [delivery.step() for _ in iter(over.is_set, True)])
    thread.start()
    done = invoke(place, "export", "--to", address(server), "--retry-rejected")
    over.set()
    thread.join()
    assert (done.exit_code, "1 of 1 delivered" in done.stderr) == (0, True)
    delivery.close()

    spool.call(2)
    Rejected(get_cursor_path(spool.folder, delivery.name)).add(call(2), "by hand")
    done = invoke(place, "export", "--to", address(server), "--retry-rejected")
    assert (done.exit_code, "1 of 1 delivered" in done.stderr) == (0, True)
    assert invoke(place, "export", "--to", address(server), "--retry-rejected").exit_code == 3


def call(number: int) -> protocol.Event:
    return protocol.Event(
        "call", span(number), {"span_id": span(number), "trace_id": f"{number:032x}", "name": "ask"}
    )


def test_follow_carries_on_where_another_process_stopped(tmp_path: Path, server: Loopback) -> None:
    place = tmp_path / "t.duckdb"
    spool = HandWriter(spool_of(place))
    for number in range(1, 4):
        spool.call(number)
    process = start("export", "--to", address(server), "--follow", "--store", str(place))
    assert server.asked.acquire(timeout=60)
    spool.call(4)
    until = time.monotonic() + 60
    while get_standing(spool.folder, address(server)).delivered < 4:
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "4 delivered, 0 pending, 0 rejected" in complaint or "3 delivered, 1 pending" in complaint, (
        "killed at the answer"
    )
