"""How much faster two processes of `llm-trace collect` take spans than one: 40,000 from 4 senders, in turns.

The senders' requests are made before the clock starts, of OpenTelemetry's own encoder, 512 spans each; each
trace has one span. "Could take" is what the cores of an idle machine would allow: spans by the processor
time of the worker that had most to do.

    python -m benchmarks.collect_workers
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from benchmarks.collect import make_attributes

SENDERS, BATCH = 4, 512


class Round(NamedTuple):
    """What one round came to."""

    rate: float
    """Spans per second, from the first byte to the last answer."""
    cpu_us: float
    """Of all workers together, per span."""
    possible: float
    """Spans per second of processor time of the busiest worker."""


def main() -> None:
    """Measure one and several workers in turns; print the medians and their ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--spans", type=int, default=10_000, help="of each of four senders")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds: dict[int, list[Round]] = {1: [], arguments.workers: []}
    for _ in range(arguments.rounds):
        for workers, measured in rounds.items():
            measured.append(measure(workers, arguments.spans))
    for workers, measured in rounds.items():
        rate, cpu_us, possible = map(statistics.median, zip(*measured, strict=True))
        print(
            f"{workers} workers {rate:8,.0f} spans/s, {cpu_us:5.1f} us CPU each, could take {possible:,.0f}"
        )
    one, more = rounds[1], rounds[arguments.workers]
    for name in ("rate", "possible"):
        ratio = statistics.median(getattr(r, name) for r in more) / statistics.median(
            getattr(r, name) for r in one
        )
        print(f"{name}: {ratio:.2f} x that of one; reach: 1.6 of two")


def measure(workers: int, spans: int) -> Round:
    """Return what some workers come to, and check that each span is there once."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "traces.duckdb"
        command = [sys.executable, "-m", "llm_trace.cli", "collect", "--port", "0", "--store", str(store)]
        server = subprocess.Popen([*command, "--workers", str(workers)], stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            address = urlsplit(server.stderr.readline().split()[0])
            context = multiprocessing.get_context("spawn")
            gate = context.Barrier(SENDERS + 1)
            arguments = [(address.hostname, address.port, gate, seed, spans) for seed in range(SENDERS)]
            senders = [context.Process(target=_send, args=each) for each in arguments]
            for sender in senders:
                sender.start()
            gate.wait()  # each has sent a first request: the workers are there
            before = _read_cpu(server.pid)
            began = time.perf_counter()
            gate.wait()
            for sender in senders:
                sender.join()
            seconds = time.perf_counter() - began
            assert all(sender.exitcode == 0 for sender in senders)
            spent = [cpu - before[pid] for pid, cpu in _read_cpu(server.pid).items()]
        finally:
            server.terminate()
            server.wait()
        _check(store, SENDERS * (spans + 1))
    count = SENDERS * spans
    return Round(count / seconds, sum(spent) / count * 1e6, count / max(spent))


def _read_cpu(pid: int) -> dict[int, float]:
    """Return the processor seconds of the process and its children, by process id."""
    top = psutil.Process(pid)
    return {each.pid: sum(each.cpu_times()[:2]) for each in (top, *top.children())}


def _send(host: str, port: int, gate: Any, seed: int, spans: int) -> None:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

    tracer = TracerProvider().get_tracer("benchmark")
    made: list[ReadableSpan] = []
    for number in range(spans + 1):
        with tracer.start_as_current_span(
            "chat gpt-4o", attributes=make_attributes(seed * spans + number)
        ) as span:
            pass
        assert isinstance(span, ReadableSpan)
        made.append(span)
    first, *rest = made
    bodies = [
        encode_spans(rest[begin : begin + BATCH]).SerializeToString() for begin in range(0, spans, BATCH)
    ]
    connection = http.client.HTTPConnection(host, port, timeout=120)
    _post(connection, encode_spans([first]).SerializeToString())
    gate.wait()
    gate.wait()
    for body in bodies:
        _post(connection, body)


def _post(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status


def _check(store: Path, count: int) -> None:
    from llm_trace.stores.duckdb import open_store

    with open_store(store) as opened:
        row = opened.sql("SELECT count(*), count(DISTINCT span_id), count(model) FROM calls").fetchone()
    assert row == (count, count, count), row


if __name__ == "__main__":
    main()
