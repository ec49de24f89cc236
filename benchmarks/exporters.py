"""Delivery to an OTLP receiver: cost to the caller, speed, and what is lost when server or process fails.

    python -m benchmarks.exporters [--rounds 5] [--kills 20] [--parts caller,rate,down,killed,memory]

The receiver is a loopback sink in a process of its own that counts spans by distinct id. Ratios are of one
run; subjects take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.capture import split_words, table
from benchmarks.hot_path import BLOCK, PROMPTS, answer, time_block
from benchmarks.peers import ROOT, environment, sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS, HUNG_CALLS = 20_000, 100_000
EXPORTERS = (0, 1, 3, 5)

# In a child: the traced process


def trace(folder: Path, addresses: list[str], calls: int) -> dict[str, float]:
    """Make calls in blocks of 1,000; return what they cost the caller, in µs, and their memory, in MB."""
    import llm_trace

    llm_trace.configure(folder / "t.duckdb", exporters=addresses, record_env=False)
    traced = llm_trace.trace(kind="llm", model="bench")(answer)
    wall: list[int] = []
    start = 0.0
    for number in range(-1, calls // BLOCK):  # the first block warms up
        block = time_block(traced, [PROMPTS[(number * BLOCK + n) % 64] for n in range(BLOCK)])
        if number < 0:
            start = memory_mb(os.getpid(), "VmRSS")
        else:
            wall += block.wall
    grown = memory_mb(os.getpid(), "VmHWM") - start
    return {"p50": statistics.median(wall) / 1000, "grown": grown, "start": start}


def export(url: str) -> dict[str, float]:
    """Send as many spans with OpenTelemetry's exporter; return how many a second, without their making."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    finished, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(finished))
    for number in range(CALLS):
        with provider.get_tracer("bench").start_as_current_span("chat bench") as span:
            span.set_attributes(
                {"gen_ai.operation.name": "chat", "gen_ai.request.model": "bench", "llm_trace.kind": "llm"}
            )
            span.set_attributes(
                {"llm_trace.input": PROMPTS[number % 64], "gen_ai.output.messages": answer("")}
            )
    spans, exporter = (
        finished.get_finished_spans(),
        OTLPSpanExporter(url + "/v1/traces", compression=Compression.Gzip),
    )
    begin, spent = time.perf_counter(), time.process_time()
    for at in range(0, CALLS, 512):
        exporter.export(spans[at : at + 512])
    return {"rate": CALLS / (time.perf_counter() - begin), "cpu": CALLS / (time.process_time() - spent)}


def memory_mb(pid: int, name: str) -> float:
    """Return a figure of a process's memory, `VmRSS` or `VmHWM` (the peak); 0 where it is not known."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return 0.0


# In the parent


def tracing(folder: Path, addresses: list[str], calls: int) -> dict[str, float]:
    """Run `trace` in a process of its own."""
    return child("trace", str(folder), str(calls), *addresses)


def child(*work: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.exporters", "--child", *work]
    done = subprocess.run(command, cwd=ROOT, env=environment(""), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextlib.contextmanager
def delivering(folder: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the process that delivers."""
    command = [sys.executable, "-m", "llm_trace.exporters.delivery.daemon", str(folder / "t.duckdb")]
    variables = environment("") | {"LLM_TRACE_EXPORTERS": address}
    process = subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def name_of(url: str) -> str:
    return "otlp://" + url.removeprefix("http://")


def count_delivered(folder: Path, address: str) -> int:
    from llm_trace.exporters.delivery.cursor import Cursor

    return Cursor.load(folder / "t.duckdb.spool", address).delivered


def caller(rounds: int, _: int) -> None:
    """Print what a call costs with exporters, beside the spool alone."""
    latencies: dict[int, list[float]] = {count: [] for count in EXPORTERS}
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(sink(keep=False)).url for _ in range(max(EXPORTERS))]
        for _ in range(rounds):
            for count in EXPORTERS:
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
                    figures = tracing(Path(place), [name_of(url) for url in urls[:count]], CALLS)
                    _end(_serving(place))
                latencies[count].append(figures["p50"])
    least = {count: min(p50) for count, p50 in latencies.items()}
    middle = {count: statistics.median(p50) for count, p50 in latencies.items()}
    rows = [
        [
            str(count),
            f"{least[count]:.1f}",
            f"{least[count] / least[0]:.3f}",
            f"{middle[count] / middle[0]:.3f}",
        ]
        for count in EXPORTERS
    ]
    print(f"\n{CALLS:,} calls of 1 kB + 1 kB back to back while exporters deliver; {rounds} rounds in turn\n")
    print(table(["exporters", "p50 µs", "x spool alone", "median x"], rows))
    print(
        f"\nreach p50 at most 1.05 x the spool alone: {_met(max(least.values()) <= 1.05 * least[0])}",
        flush=True,
    )


def rate(rounds: int, _: int) -> None:
    """Print how fast 20,000 calls that wait in the spool are with the receiver."""
    import psutil

    rows, lost = [], 0
    ours, theirs, wall = [], [], []
    for _ in range(rounds):
        with sink(keep=False) as receiver:
            theirs.append(child("export", receiver.url))
        with tempfile.TemporaryDirectory() as place, sink() as receiver:
            folder, address = Path(place), name_of(receiver.url)
            tracing(folder, [], CALLS - BLOCK)  # the block that warms up counts too
            with delivering(folder, address) as process:
                begin = first = time.perf_counter()
                while (done := count_delivered(folder, address)) < CALLS:
                    first = first if done else time.perf_counter()
                    time.sleep(0.005)
                end = time.perf_counter()
                cpu = sum(psutil.Process(process.pid).cpu_times()[:2])
            arrived = receiver.count()["spans"]
            lost += CALLS - arrived
            wall.append(CALLS / (end - first))
            ours.append(CALLS / cpu)
            rows.append(
                [f"{arrived:,}", f"{CALLS / (end - begin):,.0f}", f"{wall[-1]:,.0f}", f"{ours[-1]:,.0f}"]
            )
    print(f"\n{CALLS:,} calls in the spool, from the start of the delivering process on\n")
    print(
        table(
            ["arrived", "calls/s with start", "calls/s once started", "calls per CPU second, start included"],
            rows,
        )
    )
    best = max(figures["rate"] for figures in theirs)
    most = max(figures["cpu"] for figures in theirs)
    print(f"\nOpenTelemetry's own exporter, of spans in memory: {best:,.0f} /s, {most:,.0f} per CPU second")
    print(
        f"ours, read from the spool and joined: {max(wall) / best:.2f} x, per CPU second "
        f"{max(ours) / most:.2f} x"
    )
    print(f"reach 0 lost: {_met(not lost)}; 5,000 calls/s: {_met(max(wall) >= 5000)}", flush=True)


def down(_: int, __: int) -> None:
    """Print what arrives when the server was down while all calls were made."""
    with tempfile.TemporaryDirectory() as place, sink() as receiver, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        folder, address = Path(place), f"otlp://127.0.0.1:{reserved.getsockname()[1]}"
        tracing(folder, [address], CALLS - BLOCK)
        before = count_delivered(folder, address)
        time.sleep(1)
        reserved.listen()
        with forwarding(reserved, receiver.url):
            begin = time.perf_counter()
            while count_delivered(folder, address) < CALLS and time.perf_counter() - begin < 120:
                time.sleep(0.05)
            took = time.perf_counter() - begin
        arrived = receiver.count()["spans"]
    print(
        f"\nserver down while {CALLS:,} calls were made: {before:,} delivered then, {arrived:,} {took:.1f} "
        f"s after it was up"
    )
    print(f"\nreach all, once: {_met(arrived == CALLS)}", flush=True)


@contextlib.contextmanager
def forwarding(listener: socket.socket, url: str) -> Iterator[None]:
    """Pass what comes in on to the sink."""
    host, port = url.removeprefix("http://").split(":")

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield


def kill_deliverer(_: int, kills: int) -> None:
    """Print what arrives when the delivering process is killed again and again."""
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as place, sink() as receiver:
        folder, address = Path(place), name_of(receiver.url)
        tracing(folder, [], CALLS - BLOCK)
        moments = []
        for _ in range(kills):
            with delivering(folder, address) as process:
                before = count_delivered(folder, address)
                _at_work(folder, address, before, process)
                time.sleep(draw.uniform(0, 0.1))
                process.send_signal(signal.SIGKILL)
                process.wait()
            moments.append(count_delivered(folder, address))
        with delivering(folder, address) as process:
            process.wait(120)
        counted = receiver.count()
        arrived, acknowledged = counted["spans"], count_delivered(folder, address)
    print(f"\nkilled {kills} times; delivered at those moments: {', '.join(f'{n:,}' for n in moments)}")
    print(f"{arrived:,} of {CALLS:,} arrived, {acknowledged:,} counted as delivered\n")
    print(f"reach nothing lost: {_met(arrived == acknowledged == CALLS)}", flush=True)


def _at_work(folder: Path, address: str, before: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has delivered something, or there is nothing left."""
    until = time.perf_counter() + 5
    while (
        count_delivered(folder, address) == before and process.poll() is None and time.perf_counter() < until
    ):
        time.sleep(0.001)


def memory(rounds: int, _: int) -> None:
    """Print how much memory 100,000 calls take in both processes while the server hangs."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(64)  # takes connections, never answers
        address = f"otlp://127.0.0.1:{deaf.getsockname()[1]}"
        rows, most = [], 0.0
        for addresses in ([], [address]):
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
                figures = tracing(Path(place), addresses, HUNG_CALLS)
                other = _serving(place)
                peaks = [memory_mb(pid, "VmHWM") for pid in other]
                _end(other)
            rows.append(
                [
                    str(len(addresses)),
                    f"{figures['start']:.0f}",
                    f"{figures['grown']:.1f}",
                    ", ".join(f"{p:.0f}" for p in peaks),
                ]
            )
            most = max(most, figures["grown"])
    print(f"\n{HUNG_CALLS:,} calls while the server hangs, MB\n")
    print(table(["exporters", "start", "grown", "delivering process, peak"], rows))
    print(f"\nreach at most 50 MB above the start: {_met(most <= 50)}", flush=True)


def _serving(place: str) -> list[int]:
    """Return the processes that deliver what is in a folder."""
    import psutil

    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if place in " ".join(process.info["cmdline"] or ())
        and "llm_trace.exporters.delivery.daemon" in process.info["cmdline"]
    ]


def _end(processes: list[int]) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


PARTS: dict[str, Callable[[int, int], None]] = {
    "caller": caller,
    "rate": rate,
    "down": down,
    "killed": kill_deliverer,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--parts", type=split_words, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work, *arguments = options.child
        figures: dict[str, Any]
        if work == "export":
            figures = export(*arguments)
        else:
            figures = trace(Path(arguments[0]), arguments[2:], int(arguments[1]))
        print(json.dumps(figures), flush=True)
        return
    for part in options.parts:
        PARTS[part](options.rounds, options.kills)


if __name__ == "__main__":
    main()
