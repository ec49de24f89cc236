"""How long the viewer's pages take on a large store, and what they weigh.

    python benchmarks/viewer.py                     200,000 calls
    python benchmarks/viewer.py --calls 1000000     the full table
    python benchmarks/viewer.py --store PATH        a store that is there already

Each page is asked for through the whole application, compressed as a browser gets it; the store's own
newest-50 query, in the same process, is what the times are to be seen beside.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from starlette.testclient import TestClient

from benchmarks.ingest import BEGIN_NS, Spool, fold, write_calls
from llm_trace.stores.duckdb import Store, open_store
from llm_trace.viewer.app import build_viewer
from llm_trace.viewer.columns import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

REACH_MS = 150


def list_pages(store: Store) -> dict[str, str]:
    """Return the pages to ask for by what they are."""
    middle, trace, early = store.sql(
        "SELECT start_ns, trace_id, (SELECT text FROM messages WHERE id = 40) FROM calls ORDER BY start_ns "
        "LIMIT 1 OFFSET ?",
        store.sql("SELECT count(*) // 2 FROM calls").fetchall()[0][0],
    ).fetchall()[0]
    return {
        "calls, newest": "/calls",
        "calls, next page": f"/calls/rows?after={middle}-0",
        "calls, tag and kind": "/calls?tag=prod&kind=llm",
        "calls, a run, failed": "/calls?run=run-7&status=error",
        "calls, a session": "/calls?session=session-7",
        "calls, a prompt version": "/calls?prompt=desk-1&version=000000000002",
        "calls, low scores": "/calls?score=helpful&score_below=0.2",
        "calls, long and dear": "/calls?min_ms=9000&min_cost=0.009",
        "calls, slowest": "/calls?order=slowest",
        "calls, dearest of a model": "/calls?order=dearest&model=gpt-5",
        "calls, every column": "/calls?" + "&".join(f"column={name}" for name in BY_NAME),
        "calls, common word": f"/calls?text={early.split()[0]}",
        "choices of the filters": "/calls/choices",
        "totals of all": "/calls/summary",
        "totals of a tag": "/calls/summary?tag=prod",
        "trace": f"/trace/{trace}",
        "session": "/session/session-7",
        "runs": "/runs",
        "prompts": "/prompts",
        "health": "/health",
    }


def write_scores(path: Path, each: int = 20) -> None:
    """Give one call in so many a score."""
    store, spool = open_store(path), Spool(path.with_name(path.name + ".spool"))
    for number, (span_id,) in enumerate(store.sql("SELECT span_id FROM calls ORDER BY start_ns")):
        if number % each == 0:
            about = {"span_id": span_id, "name": "helpful", "value": number % 7 / 6, "source": "human"}
            spool.write({"event": "score", "id": f"{number:016x}", "time_ns": BEGIN_NS + number, **about})
    spool.close()
    fold(path)


def measure_pages(path: Path, times: int) -> None:
    """Print the times and weights of the pages."""
    store = open_store(path)
    client = TestClient(build_viewer(store, "link", {"testserver"}), "http://testserver")
    client.get("/?token=link")
    base = time_asks(lambda: store.calls(limit=50), times)
    print(f"{'page':28}{'p50 ms':>9}{'p95 ms':>9}{'CPU ms':>9}{'x query':>9}{'kB':>7}")
    print(f"{'(newest 50, the query)':28}{base[0]:9.0f}{base[1]:9.0f}{base[2]:9.0f}{1:9.1f}")
    pages = list_pages(store)
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    for name, address in pages.items():
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        middle, high, cpu = time_asks(lambda address=address: client.get(address), times)  # type: ignore[misc]
        weight = int(answer.headers["content-length"]) / 1000
        over = "" if high <= REACH_MS else f"  over {REACH_MS}"
        print(f"{name:28}{middle:9.0f}{high:9.0f}{cpu:9.0f}{middle / base[0]:9.1f}{weight:7.0f}{over}")
    print(f"memory at most {read_peak_mb():,.0f} MB")


def read_peak_mb() -> float:
    """Return the most memory of this process since the peak was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def time_asks(ask: Callable[[], object], times: int) -> tuple[float, float, float]:
    """Return median and 95th percentile in ms, and the median of the CPU time of all threads."""
    took, used = [], []
    for _ in range(times):
        began, cpu = time.perf_counter(), time.process_time()
        ask()
        took.append((time.perf_counter() - began) * 1e3)
        used.append((time.process_time() - cpu) * 1e3)
    return statistics.median(took), statistics.quantiles(took, n=20)[18], statistics.median(used)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    if options.store is not None:
        measure_pages(options.store, options.times)
        return
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "calls.duckdb"
        write_calls(store.with_name(store.name + ".spool"), options.calls)
        fold(store)
        write_scores(store)
        measure_pages(store, options.times)


if __name__ == "__main__":
    main()
