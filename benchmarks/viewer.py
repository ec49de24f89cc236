"""How long the viewer's pages take on a large store, and what they weigh.

    python benchmarks/viewer.py                     200,000 calls
    python benchmarks/viewer.py --calls 1000000     the full table
    python benchmarks/viewer.py --store PATH        a store that is there already

Each page is asked for through the whole application, compressed as a browser gets it; the store's own
newest-50 query, in the same process, is what the times are to be seen beside.
"""

from __future__ import annotations

import argparse
import resource
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
        "calls, a run": "/calls?run=run-7",
        "calls, slowest": "/calls?order=slowest",
        "calls, common word": f"/calls?text={early.split()[0]}",
        "totals of all": "/calls/summary",
        "totals of a tag": "/calls/summary?tag=prod",
        "trace": f"/trace/{trace}",
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
    print(f"{'page':24}{'p50 ms':>9}{'p95 ms':>9}{'x query':>9}{'kB':>7}")
    print(f"{'(newest 50, the query)':24}{base[0]:9.0f}{base[1]:9.0f}{1:9.1f}")
    for name, address in list_pages(store).items():
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        middle, high = time_asks(lambda address=address: client.get(address), times)  # type: ignore[misc]
        weight = int(answer.headers["content-length"]) / 1000
        over = "" if high <= REACH_MS else f"  over {REACH_MS}"
        print(f"{name:24}{middle:9.0f}{high:9.0f}{middle / base[0]:9.1f}{weight:7.0f}{over}")
    print(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def time_asks(ask: Callable[[], object], times: int) -> tuple[float, float]:
    """Return median and 95th percentile in ms."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took), statistics.quantiles(took, n=20)[18]


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
