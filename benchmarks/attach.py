"""Read the traces of a real Phoenix and a real MLflow, killed and resumed, beside their own clients.

    LLM_TRACE_SERVERS=build/servers/bin python benchmarks/attach.py --traces 1000

Each trace has three spans, sent over OTLP. `llm-trace attach` reads them once without a pause, for its rate;
its client reads the same through the same interface. Another `attach` is killed with SIGKILL again and again
until it has all. Then every span's ids, name, parent and messages are compared with what was sent, findings
of some calls are written back, and the platform's own client says on how many spans they stand. Needs both
servers as `make test-servers` installs them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import llm_trace
from benchmarks.servers import count_rows, run_mlflow, run_phoenix
from tests.helpers.explained import keep_attributions, make_attribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from benchmarks.servers import Server

ENV = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
SPANS = 3
"""Of a trace."""
PRECISION_NS = 1_000
QUESTION = "Is order 7 late?"
WAIT_S = 3_600.0
_CONTENTS = """
    SELECT start_ns, end_ns, span_id, trace_id, parent_id, name, status,
        (SELECT list(role || ': ' || text ORDER BY position) FROM call_messages m
         WHERE m.span_id = c.span_id AND direction = 'in'),
        coalesce(
            (SELECT any_value(text) FROM call_messages m WHERE m.span_id = c.span_id AND direction = 'out'),
            output ->> '$')
    FROM calls c"""
PLATFORMS: dict[str, tuple[Callable[[Path], AbstractContextManager[Server]], str, str]] = {
    "phoenix": (run_phoenix, "default", "phoenix.db"),
    "mlflow": (run_mlflow, "Default", "mlflow.db"),
}
"""How to run it, its project, and its sqlite."""


def send_traces(store: Path, server: Server, database: Path, traces: int) -> float:
    """Trace a pipeline, its search and its model to a platform; return the seconds until it has all."""
    os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = "x-mlflow-experiment-id=0"
    address = server.address.replace("http://", "otlp://") + "?metrics=false"
    llm_trace.configure(store, exporters=(address,))

    @llm_trace.trace(kind="tool")
    def search(order: int) -> str:
        return f"order {order} is on its way"

    @llm_trace.trace(kind="llm", model="small-1")
    def ask(messages: list[dict[str, str]]) -> str:
        return "Yes, by two days."

    @llm_trace.trace(kind="agent")
    def pipeline(order: int) -> str:
        return ask([{"role": "system", "content": search(order)}, {"role": "user", "content": QUESTION}])

    began = time.perf_counter()
    for order in range(traces):
        pipeline(order)
    report = llm_trace.flush(WAIT_S)
    llm_trace.shutdown()
    if not report.ok:
        raise SystemExit(f"not all was sent: {report}")
    while count_rows(database, "spans") < SPANS * traces:
        if time.perf_counter() - began > WAIT_S:
            raise SystemExit(f"{database} has {count_rows(database, 'spans'):,} spans after {WAIT_S:,.0f} s")
        time.sleep(0.5)
    return time.perf_counter() - began


def build_command(store: Path, address: str) -> list[str]:
    command = [sys.executable, "-m", "llm_trace.cli", "attach", address, "--store", str(store), "--json"]
    return [*command, "--read-only"]


def attach(store: Path, address: str) -> tuple[dict[str, Any], float, float]:
    """Attach once; return what it says, the seconds that it took, and those of CPU."""
    began, used = time.perf_counter(), _read_cpu_s()
    done = subprocess.run(
        build_command(store, address),
        env=ENV,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout), time.perf_counter() - began, _read_cpu_s() - used


def _read_cpu_s() -> float:
    """Return the CPU time of the processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def attach_and_kill(store: Path, address: str, after_s: float, kills: int) -> int:
    """Kill `attach` so often, each time that it has read on for a while; return how many calls the last one
    found new.
    """
    state = f"{store.name}.*.json"
    for _ in range(kills):
        before = _read_states(store.parent, state)
        process = subprocess.Popen(build_command(store, address), env=ENV, stdout=subprocess.DEVNULL)
        while process.poll() is None and _read_states(store.parent, state) == before:
            time.sleep(0.01)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.kill()
        process.wait()
    return int(attach(store, address)[0]["calls"])


def _read_states(folder: Path, pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob(pattern)]


def compare_contents(sent: Path, store: Path) -> str:
    """Say how many spans are in the store as they were sent, and how many twice or otherwise."""
    expected = {row[2]: row for row in llm_trace.open_store(sent).fetch(_CONTENTS)}
    rows = llm_trace.open_store(store).fetch(_CONTENTS)
    same = sum(row[2] in expected and _is_same(row, expected[row[2]]) for row in rows)
    return f"{same:,} of {len(expected):,} spans as they were sent, {len(rows) - same:,} twice or otherwise"


def _is_same(row: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Say whether two rows are of the same span, its times as exact as Phoenix keeps them."""
    return row[2:] == other[2:] and all(abs(row[i] - other[i]) <= PRECISION_NS for i in (0, 1))


def read_by_client(platform: str, server: Server, spans: int, *what: str) -> dict[str, Any]:
    """Return what the platform's own client says of all, or of `spans` alone."""
    script = Path(__file__).with_name("attach_clients.py")
    python = Path(os.environ["LLM_TRACE_SERVERS"]) / "python"
    command = [str(python), str(script), platform, server.address, str(spans), *what]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=tempfile.gettempdir())
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def write_back(store: Path, address: str, most: int) -> tuple[int, float]:
    """Keep an attribution of some calls by hand, and attach; return how many were written, in how long."""
    calls = llm_trace.open_store(store).calls(kind="llm", limit=most)
    prompt = calls[0].messages_in[-1].text
    for call in calls:
        keep_attributions(store, call, make_attribution(prompt, [0.0, 0.1, 0.5, 2.0]))
    command = [part for part in build_command(store, address) if part != "--read-only"]
    began = time.perf_counter()
    done = subprocess.run(command, env=ENV, stdout=subprocess.PIPE, check=True)
    return int(json.loads(done.stdout)["written"]), time.perf_counter() - began


def measure_platform(name: str, folder: Path, traces: int, kills: int, findings: int) -> Iterator[str]:
    """Yield what one platform comes to, a line at a time."""
    run, project, database = PLATFORMS[name]
    spans = SPANS * traces
    with run(folder) as server:
        address = server.address.replace("http", name) + f"/{project}"
        took = send_traces(folder / "sent.duckdb", server, folder / database, traces)
        yield f"{spans:,} spans sent in {took:,.1f} s"
        report, took, used = attach(folder / "whole.duckdb", address)
        rate = report["calls"] / took
        yield f"attach: {report['calls']:,} calls in {took:,.1f} s, {rate:,.0f} spans/s with start and ingest"
        yield f"attach: {used:,.1f} s of CPU, {report['calls'] / used:,.0f} spans/s of CPU"
        client = read_by_client(name, server, spans, "spans")
        own = client["spans"] / client["seconds"]
        yield f"own client: {client['spans']:,} spans in {client['seconds']:,.1f} s, {own:,.0f} spans/s"
        yield f"attach is {rate / own:.2f} x as fast"
        _, took, used = attach(folder / "whole.duckdb", address)
        yield f"a round without news: {took:,.1f} s with start, {used:,.1f} s of CPU"
        last = attach_and_kill(folder / "killed.duckdb", address, 0.3, kills)
        text = compare_contents(folder / "sent.duckdb", folder / "killed.duckdb")
        yield f"killed {kills} times, {last:,} calls left for the last: {text}"
        written, took = write_back(folder / "killed.duckdb", address, findings)
        shown = read_by_client(name, server, spans)["annotated"]
        yield f"{written:,} findings written in {took:,.1f} s; its client shows them on {shown:,} spans"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traces", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--findings", type=int, default=200, help="calls whose attribution is written back")
    parser.add_argument("--platform", choices=list(PLATFORMS), action="append")
    options = parser.parse_args()
    if "LLM_TRACE_SERVERS" not in os.environ:
        raise SystemExit("LLM_TRACE_SERVERS says where the servers are installed: make test-servers")
    for name in options.platform or PLATFORMS:
        with tempfile.TemporaryDirectory() as folder:
            for line in measure_platform(name, Path(folder), options.traces, options.kills, options.findings):
                print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
