"""What becomes of traced calls: how fast they are rows, what `kill -9` leaves, many processes at once, and
what importing costs.

    python -m benchmarks.delivery [--peers opik,langfuse,traceloop,phoenix] [--rounds 3] [--parts
    burst,killed,shared,imports]

Peers send to a loopback sink that answers at once; a row of theirs is a span that arrived, by distinct id.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.capture import split_words, table
from benchmarks.hot_path import answer, prompts
from benchmarks.peers import IMPORTS, PACKAGES, ROOT, environment, python_of, sink, version_of
from benchmarks.subjects import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS, KILLED, PROCESSES, EACH = 20_000, 1_000, 4, 2_000
IMPORT_ROUNDS = 15
SDK = "import opentelemetry.sdk.trace"
IMPORTED = (SDK, "import llm_trace", "from llm_trace import trace, configure")
STORED = "SELECT count(*) FROM calls WHERE status = 'ok'"
OPEN = "SELECT count(*) FROM calls WHERE status = 'interrupted' AND name = 'hang' AND input IS NOT NULL"

# In a child, in the subject's environment: the traced process


def work(subject: str, job: str, folder: Path, calls: int, pause: float) -> None:
    """Do a traced process's work and print its figures as JSON."""
    tracer = SUBJECTS[subject](folder)
    traced, inputs = tracer.decorate(answer), prompts(0, calls)
    if job == "killed":
        for asked in inputs:
            traced(asked)
        tracer.decorate(hang)("why?")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start_mb, spent, begin = memory_mb("VmRSS"), cpu_s(), time.perf_counter()
    for asked in inputs:
        traced(asked)
        if pause:
            time.sleep(pause)
    tracer.flush()
    figures = {"flushed_s": time.perf_counter() - begin, "start_mb": start_mb}
    figures["peak_mb"] = memory_mb("VmHWM") - start_mb
    if subject == "llm_trace" and job == "burst":
        figures |= {"rows": count_stored(folder), "rows_s": time.perf_counter() - begin}
        figures["peak_rows_mb"] = memory_mb("VmHWM") - start_mb
    figures["cpu_s"] = cpu_s() - spent
    tracer.close()
    print(json.dumps(figures), flush=True)
    os._exit(0)  # exit handlers of some libraries wait for seconds


def hang(asked: Any) -> None:
    """Be a call that is open when the process is killed."""
    print("open", flush=True)
    time.sleep(600)


def memory_mb(name: str) -> float:
    """Return a figure of this process's memory, `VmRSS` or `VmHWM` (the peak); 0 where it is not known."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


def cpu_s() -> float:
    """Return the CPU time of this process, all its threads and the children it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def count_stored(folder: Path, query: str = STORED) -> int:
    """Return the answer of a counting query to the store in a folder, opened for it."""
    from llm_trace import open_store

    with open_store(folder / "traces.duckdb") as store:
        return int(store.sql(query).fetchall()[0][0])


# In the parent


def child(*work: Any, url: str) -> subprocess.Popen[str]:
    """Start `work` in the environment of its subject."""
    command = [python_of(work[0]), "-m", "benchmarks.delivery", "--child", *map(str, work)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment(url), stdout=pipe, stderr=pipe, text=True)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a child and return its figures.

    Raises:
        SystemExit: it failed.
    """
    out, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args!r} failed:\n{errors}")
    figures: dict[str, Any] = json.loads(out.splitlines()[-1])
    return figures


def burst(peers: list[str], rounds: int) -> None:
    """Print how fast 20,000 calls back to back become rows."""
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(rounds):
        for subject in ["floor", "raw_otel", "llm_trace", *peers]:
            with tempfile.TemporaryDirectory() as folder, sink() as receiver:
                figures = result(child(subject, "burst", folder, CALLS, 0, url=receiver.url))
                if subject in peers:
                    figures |= {"rows": receiver.count()["spans"]}
            results[subject].append(figures)
    header = [
        "subject",
        "flushed /s",
        "rows /s",
        "rows",
        "lost",
        "CPU s",
        "start MB",
        "peak + MB",
        "with reading",
    ]
    print(
        f"\n{CALLS:,} calls of 1 kB + 1 kB back to back; best (median) of {rounds} rounds, worst of losses "
        f"and memory\n"
    )
    print(table(header, [_burst_row(subject, rounds) for subject, rounds in results.items()]))
    ours = results["llm_trace"]
    rate, peak = CALLS / min(r["rows_s"] for r in ours), max(r["peak_rows_mb"] for r in ours)
    complete = all(r["rows"] == CALLS for r in ours)
    print(f"\nreach 0 lost: {_met(complete)}; 10,000 calls/s until rows: {_met(rate >= 10_000)}; ", end="")
    print(f"peak at most 100 MB above start: {_met(peak <= 100)}", flush=True)


def _burst_row(subject: str, rounds: list[dict[str, Any]]) -> list[str]:
    every = {name: [r[name] for r in rounds] for name in rounds[0]}
    cells = [subject]
    for took in (every["flushed_s"], every.get("rows_s")):
        cells.append(f"{CALLS / min(took):,.0f} ({CALLS / statistics.median(took):,.0f})" if took else "")
    rows = every.get("rows")
    cells += [f"{min(rows):,}", f"{1 - min(rows) / CALLS:.1%}"] if rows else ["", ""]
    cells += [f"{min(every['cpu_s']):.1f}", f"{max(every['start_mb']):.0f}", f"{max(every['peak_mb']):.0f}"]
    return [*cells, f"{max(every['peak_rows_mb']):.0f}" if "peak_rows_mb" in every else ""]


def kill_process(peers: list[str], rounds: int) -> None:
    """Print what is left of 1,000 calls that returned when the process is killed."""
    rows = []
    for subject in ["llm_trace", *peers]:
        left, still_open = [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder, sink() as receiver:
                _kill(child(subject, "killed", folder, KILLED, 0, url=receiver.url))
                if subject in peers:
                    time.sleep(1)  # what is on the wire may arrive
                    left.append(receiver.count()["spans"])
                else:
                    left.append(count_stored(Path(folder)))
                    still_open.append(count_stored(Path(folder), OPEN))
        rows.append([subject, ", ".join(map(str, left)), ", ".join(map(str, still_open))])
    print(
        f"\nkill -9 right after {KILLED:,} calls returned, while another was open; each of {rounds} rounds\n"
    )
    print(table(["subject", "rows", "the open call as interrupted"], rows))
    met = {rows[0][1], rows[0][2]} == {", ".join([str(KILLED)] * rounds), ", ".join(["1"] * rounds)}
    print(f"\nreach {KILLED:,} rows and 1 interrupted: {_met(met)}", flush=True)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a child as soon as it says that its last call is open."""
    assert process.stdout is not None
    line = "?"
    while line and line != "open\n":  # some libraries print too
        line = process.stdout.readline()
    process.kill()
    _, errors = process.communicate()
    if not line:
        raise SystemExit(f"{process.args!r} failed:\n{errors}")


def share_store(peers: list[str], rounds: int) -> None:
    """Print what arrives when four processes write while this one reads."""
    rows, met = [], True
    for says, pause in [("back to back", 0.0), ("1 ms apart", 0.001)]:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            writers = [child("llm_trace", "write", folder, EACH, pause, url="") for _ in range(PROCESSES)]
            seen, errors = _read_while(writers, Path(folder))
            for writer in writers:
                result(writer)
            final, took = count_stored(Path(folder)), time.perf_counter() - begin
        met = met and final == PROCESSES * EACH and not errors and seen == sorted(seen)
        trouble = ", ".join(f"{n} x {name}" for name, n in errors.items()) or "none"
        rows.append([says, f"{final:,}", str(len(seen)), str(len(set(seen))), trouble, f"{took:.1f}"])
    print(f"\n{PROCESSES} processes x {EACH:,} calls into one store while a fifth ingests and reads\n")
    print(table(["calls", "rows", "reads", "different answers", "errors", "s with start and end"], rows))
    print(f"\nreach {PROCESSES * EACH:,} rows and no error: {_met(met)}", flush=True)


def _read_while(writers: list[subprocess.Popen[str]], folder: Path) -> tuple[list[int], Counter[str]]:
    """Open the store and count again and again; return the counts and what went wrong, by exception."""
    from llm_trace.errors import StoreNotFoundError

    seen: list[int] = []
    errors: Counter[str] = Counter()
    while any(writer.poll() is None for writer in writers):
        try:
            seen.append(count_stored(folder))
        except StoreNotFoundError:
            time.sleep(0.001)  # no writer has begun
        except Exception as exc:
            errors[type(exc).__name__] += 1
    return seen, errors


def imports(peers: list[str], rounds: int) -> None:
    """Print what importing costs, beside the import of OpenTelemetry's SDK."""
    statements = dict.fromkeys(IMPORTED, sys.executable)
    statements |= {f"import {IMPORTS[peer]}": python_of(peer) for peer in peers}
    took: dict[str, list[float]] = defaultdict(list)
    for number in range(IMPORT_ROUNDS + 1):
        for statement, python in statements.items():
            once = _import(python, statement)
            if number:  # the first round may write .pyc files
                took[statement].append(once)
    least, middle = min(took[SDK]), statistics.median(took[SDK])
    rows = []
    for statement, seconds in took.items():
        low, mid = min(seconds), statistics.median(seconds)
        times = [f"{low * 1e3:.1f}", f"{mid * 1e3:.1f}"]
        rows.append([statement, *times, f"{low / least:.2f}", f"{mid / middle:.2f}"])
    print(f"\nimports in fresh processes, {IMPORT_ROUNDS} rounds in turn\n")
    print(table(["statement", "least ms", "median ms", "x SDK", "median x SDK"], rows))
    print(
        f"\nreach import llm_trace at most 1.5 x SDK: {_met(min(took['import llm_trace']) <= 1.5 * least)}",
        flush=True,
    )


def _import(python: str, statement: str) -> float:
    code = f"import time\nbegin = time.perf_counter()\n{statement}\nprint(time.perf_counter() - begin)"
    done = subprocess.run(
        [python, "-c", code], cwd=ROOT, env=environment(""), check=True, capture_output=True, text=True
    )
    return float(done.stdout.splitlines()[-1])


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


PARTS: dict[str, Callable[[list[str], int], None]] = {
    "burst": burst,
    "killed": kill_process,
    "shared": share_store,
    "imports": imports,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers",
        type=split_words,
        default=[],
        help=f"of {', '.join(PACKAGES)}, installed by benchmarks.peers",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", type=split_words, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        subject, job, folder, calls, pause = options.child
        return work(subject, job, Path(folder), int(calls), float(pause))
    print(" ".join(f"{peer} {version_of(peer)}" for peer in options.peers))
    for part in options.parts:
        PARTS[part](options.peers, options.rounds)
    return None


if __name__ == "__main__":
    main()
