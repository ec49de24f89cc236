"""Several processes that take OTLP behind one port: what belongs together becomes one call all the same."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

import llm_trace
from tests.conftest import Recorded
from tests.helpers.cli_toys import Process, invoke, start
from tests.helpers.otlp_toys import export, span

TRACES = 40


def list_workers(process: Process) -> list[int]:
    """Return the ids of the processes that take requests."""
    listed = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True, check=True
    )
    return [int(line) for line in listed.stdout.split()]


def is_running(process: int) -> bool:
    """Say whether a process goes on; one whose end nobody has asked for yet has no command line."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{process}/cmdline").read_bytes() != b""
    return False


@contextmanager
def serve(store: Path) -> Iterator[str]:
    """Start workers, and end them."""
    with start("collect", "--port", "0", "--workers", "2", "--store", str(store)) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[0]
        try:
            yield url
        finally:
            process.terminate()
            complaints = process.stderr.read()
            code = process.wait(60)
        assert (code, "Traceback" in complaints) == (0, False), complaints


def make_requests() -> list[dict[str, Any]]:
    """Return requests of two programs; of each trace one has the client's span, one the framework's."""
    ids = random.Random(7)
    clients, frameworks = [], []
    for number in range(1, TRACES + 1):
        trace = f"{ids.getrandbits(128):032x}"
        outer, inner = f"{number:016x}", f"{1000 + number:016x}"
        clients.append(span(traceId=trace, spanId=inner, parentSpanId=outer))
        frameworks.append(
            span(traceId=trace, spanId=outer, name="ChatOpenAI", endTimeUnixNano="1763740000360000000")
        )
    return [export(*clients[: TRACES // 2]), export(*clients[TRACES // 2 :]), export(*frameworks)]


def send(url: str, body: dict[str, Any], client: httpx.Client) -> None:
    """Send a request as exporters do: again after what may pass."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = client.post(f"{url}/v1/traces", json=body)
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            assert answer.json() == {}
            return
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    raise AssertionError("never taken")


def read(store: Path) -> list[tuple[str, str, str | None, int | None]]:
    with llm_trace.open_store(store) as opened:
        return sorted(
            (call.trace_id, call.name, call.model, call.usage.input_tokens if call.usage else None)
            for call in opened.calls(limit=None)
        )


def test_spans_of_one_call_that_come_to_different_workers_are_one_call(
    recorded: Recorded, tmp_path: Path, client: httpx.Client
) -> None:
    requests = make_requests()
    for body in requests:
        send(str(client.base_url).rstrip("/"), body, client)
    store = tmp_path / "shared.duckdb"
    with serve(store) as url, ExitStack() as stack:
        clients = itertools.cycle([stack.enter_context(httpx.Client(timeout=60)) for _ in range(6)])
        for body in requests:
            send(url, body, next(clients))
            send(url, body, next(clients))  # again, as after an answer that was lost
        written = [path for path in Path(f"{store}.spool").glob("*.jsonl") if path.stat().st_size]
    assert len(read(store)) == TRACES
    assert read(store) == read(recorded.path)
    assert len(written) == 2  # both wrote


def test_a_worker_that_is_killed_is_replaced_without_a_loss_and_all_end_with_what_started_them(
    tmp_path: Path,
) -> None:
    store, requests = tmp_path / "t.duckdb", make_requests()
    command = ("collect", "--port", "0", "--workers", "2", "--store", str(store))
    with start(*command, TMPDIR=str(tmp_path)) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[0]
        with httpx.Client(timeout=60) as client:
            send(url, requests[0], client)
            killed, _ = list_workers(process)
            os.kill(killed, signal.SIGKILL)
            for body in requests[1:]:
                send(url, body, client)
        workers = list_workers(process)
        assert len(workers) == 2
        assert re.fullmatch(rf"worker \d \(process {killed}\) died .*\n", process.stderr.readline())
        os.kill(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while any(map(is_running, workers)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert list(tmp_path.glob("llm-trace-*")) == []  # of their sockets
    assert {trace for trace, *_ in read(store)} == {
        entry["traceId"] for body in requests for entry in body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    }


@pytest.mark.parametrize("count", ["0", "65"])
def test_a_number_of_workers_that_makes_no_sense_is_refused(recorded: Recorded, count: str) -> None:
    assert invoke(recorded.path, "collect", "--workers", count).exit_code == 2
