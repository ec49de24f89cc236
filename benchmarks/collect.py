"""How fast `llm-trace collect` takes spans: 20,000 of OpenTelemetry's own exporter from 4 processes.

Beside it, in the same run, a sink: the same server, that decodes each body, counts its spans and forgets
them. Where other work shares the cores, the processor time of the two says more than their rates.

    python -m benchmarks.collect
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

PROCESSES, SPANS, ROUNDS = 4, 5_000, 3
SENTENCE = "The customer wants her money back because the parcel came late. "


class Measured(NamedTuple):
    """One round."""

    rate: float
    """Spans per second, from the first span made to the last one answered."""
    cpu_us: float
    """Microseconds of the receiving process's processor time per span."""


def main() -> None:
    """Measure both, in turns, and print the ratios of their medians."""
    rounds: dict[str, list[Measured]] = {"sink": [], "collect": []}
    for _ in range(ROUNDS):
        for name in rounds:
            with tempfile.TemporaryDirectory() as folder:
                store = Path(folder) / "traces.duckdb"
                rounds[name].append(_measure(name, store))
                if name == "collect":
                    _check(store)
    for name, measured in rounds.items():
        rates = ", ".join(f"{m.rate:,.0f}" for m in measured)
        print(
            f"{name:8} {_rate(measured):8,.0f} spans/s (of {rates}), {_cpu(measured):6.1f} us of CPU a span"
        )
    sink, collect = rounds["sink"], rounds["collect"]
    print(f"collect takes {_rate(collect) / _rate(sink):.2f} x what a sink takes; reach: 0.6")
    print(f"one span costs it {_cpu(collect) / _cpu(sink):.1f} x the CPU time of a sink")


def _rate(measured: list[Measured]) -> float:
    return statistics.median(m.rate for m in measured)


def _cpu(measured: list[Measured]) -> float:
    return statistics.median(m.cpu_us for m in measured)


def _measure(name: str, store: Path) -> Measured:
    command = {
        "sink": [sys.executable, "-m", "benchmarks.collect", "sink"],
        "collect": [
            sys.executable,
            "-c",
            "from llm_trace.cli import main; main()",
            "collect",
            "--port",
            "0",
            "--store",
            str(store),
        ],
    }[name]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        url = server.stderr.readline().split()[0]
        context = multiprocessing.get_context("spawn")
        gate = context.Barrier(PROCESSES + 1)
        senders = [context.Process(target=_send, args=(url, gate)) for _ in range(PROCESSES)]
        for sender in senders:
            sender.start()
        gate.wait()
        receiver = psutil.Process(server.pid)
        began, spent = time.perf_counter(), sum(receiver.cpu_times()[:2])
        for sender in senders:
            sender.join()
        assert all(sender.exitcode == 0 for sender in senders)
        seconds, cpu = time.perf_counter() - began, sum(receiver.cpu_times()[:2]) - spent
        count = PROCESSES * SPANS
        return Measured(count / seconds, cpu / count * 1e6)
    finally:
        server.terminate()
        server.wait()


def _send(url: str, gate: Any) -> None:
    """Make spans and send them as a program would: the batch processor of the SDK, nothing dropped."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{url}/v1/traces", timeout=60)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=SPANS, export_timeout_millis=120_000)
    )
    tracer = provider.get_tracer("benchmark")
    gate.wait()
    for number in range(SPANS):
        with tracer.start_as_current_span("chat gpt-4o", attributes=make_attributes(number)):
            pass
    provider.shutdown()


def make_attributes(number: int) -> dict[str, Any]:
    """Return the attributes of a span of a chat."""
    asked = [{"role": "user", "parts": [{"type": "text", "content": f"{number}: {SENTENCE * 3}"}]}]
    answered = [
        {"role": "assistant", "parts": [{"type": "text", "content": SENTENCE}], "finish_reason": "stop"}
    ]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.usage.input_tokens": 90,
        "gen_ai.usage.output_tokens": 12,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps(answered),
    }


def _check(store: Path) -> None:
    from llm_trace.stores.duckdb import open_store

    with open_store(store) as opened:
        row = opened.sql("SELECT count(*), count(DISTINCT span_id), count(model) FROM calls").fetchone()
    assert row == (PROCESSES * SPANS,) * 3, row


def _sink() -> None:
    """Serve what decodes and counts, and does nothing else."""
    import uvicorn
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from llm_trace.collect.server import open_listener

    count = 0

    async def take(request: Request) -> Response:
        nonlocal count
        body = ExportTraceServiceRequest.FromString(await request.body())
        count += sum(len(part.spans) for group in body.resource_spans for part in group.scope_spans)
        return Response(b"", media_type="application/x-protobuf")

    with open_listener("127.0.0.1", 0) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        app = Starlette(routes=[Route("/v1/traces", take, methods=["POST"])])
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _sink() if sys.argv[1:] == ["sink"] else main()
