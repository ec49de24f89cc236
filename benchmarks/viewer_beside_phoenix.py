"""How soon a browser shows the newest calls and an opened trace: this viewer beside a real Phoenix.

    LLM_TRACE_SERVERS=build/servers/bin python benchmarks/viewer_beside_phoenix.py --calls 20000

Phoenix keeps the same calls in its own sqlite, sent to it over OTLP; where it is not done with them when
patience ends, it is measured with those that it has, and the line above the table says how many. Needs
Phoenix as `make test-servers` installs it, and what `make browser` installs. Each page is opened anew; the
time is until the first row, or the first name in the tree of a trace, can be seen. Server CPU is what all
processes of the server used meanwhile, which other load on the machine changes less than the time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
from playwright.sync_api import sync_playwright

from benchmarks.ingest import fold, write_calls
from benchmarks.servers import START_S, Server, count_rows, find_port, run_phoenix, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET_S = 60
"""Seconds without a new span after which Phoenix takes no more."""


@contextlib.contextmanager
def run_viewer(store: Path, log: Path) -> Iterator[tuple[Server, str]]:
    """Run this viewer, and give the link that opens it."""
    port = find_port()
    command = [sys.executable, "-m", "llm_trace.cli", "view", "--store", str(store), "--port", str(port)]
    root = str(Path(__file__).resolve().parents[1])
    with run_server([*command, "--no-browser"], f"http://127.0.0.1:{port}", log, PYTHONPATH=root) as server:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if links := [word for word in log.read_text().split() if "token=" in word]:
                yield server, links[0]
                return
            time.sleep(0.2)
        raise SystemExit(f"the viewer did not start: {log.read_text()}")


def send_calls(store: Path, phoenix: Server, calls: int, folder: Path, patience_s: float) -> None:
    """Send a store to Phoenix, and wait until its sqlite has all, none comes any more, or patience ends."""
    address = phoenix.address.replace("http://", "otlp://") + "?metrics=false"
    command = [sys.executable, "-m", "llm_trace.cli", "export", "--store", str(store), "--to", address]
    root = str(Path(__file__).resolve().parents[1])
    began = time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, env=os.environ | {"PYTHONPATH": root}, check=False, timeout=patience_s)
    count, changed = 0, time.monotonic()
    while count < calls and time.monotonic() - changed < QUIET_S and time.monotonic() - began < patience_s:
        now = count_rows(folder / "phoenix.db", "spans")
        if now != count:
            count, changed = now, time.monotonic()
        time.sleep(1)
    print(f"{count:,} of {calls:,} calls are in Phoenix's sqlite after {time.monotonic() - began:,.0f} s")


def find_trace(folder: Path) -> tuple[str, str]:
    """Return a trace from the middle of those that Phoenix has, and the name of its outermost call."""
    query = """SELECT t.trace_id, (SELECT name FROM spans WHERE trace_rowid = t.id AND parent_id IS NULL)
        FROM traces t ORDER BY t.id LIMIT 1 OFFSET (SELECT count(*) / 2 FROM traces)"""
    with sqlite3.connect(f"file:{folder}/phoenix.db?mode=ro", uri=True) as database:
        trace_id, name = database.execute(query).fetchone()
    return str(trace_id), str(name)


def measure_page(page: Any, server: Server, address: str, seen: str, times: int) -> None:
    """Print the time until something is seen on a page, and what the server used for it."""
    took, used = [], []
    for _ in range(times):
        page.goto("about:blank")
        began, cpu = time.perf_counter(), server.read_cpu_ms()
        page.goto(address, wait_until="commit")
        page.locator(seen).first.wait_for()
        took.append((time.perf_counter() - began) * 1e3)
        page.wait_for_load_state("networkidle")
        used.append(server.read_cpu_ms() - cpu)
    print(f"{statistics.median(took):12.0f}{max(took):9.0f}{statistics.median(used):16.0f}", flush=True)


def find_project(phoenix: Server) -> str:
    """Return the id of the project that the calls are in."""
    projects = httpx.get(f"{phoenix.address}/v1/projects", timeout=60).json()["data"]
    return str(projects[0]["id"])


def compare_servers(folder: Path, calls: int, times: int, patience_s: float) -> None:
    """Print the times of both for the list and for a trace."""
    store = folder / "calls.duckdb"
    if not store.exists():
        write_calls(folder / "calls.duckdb.spool", calls)
        fold(store)
    with (
        run_phoenix(folder) as phoenix,
        run_viewer(store, folder / "viewer.log") as (viewer, link),
        sync_playwright() as driver,
    ):
        if not count_rows(folder / "phoenix.db", "spans"):
            send_calls(store, phoenix, calls, folder, patience_s)
        number = count_rows(folder / "phoenix.db", "spans")
        print(f"Phoenix's sqlite has {number:,} of them, the viewer's store {calls:,}")
        trace_id, name = find_trace(folder)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        project = f"{phoenix.address}/projects/{find_project(phoenix)}"
        print(f"{'page':30}{'median ms':>12}{'most':>9}{'server CPU ms':>16}")
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(1000 * START_S)
        page.set_default_navigation_timeout(1000 * START_S)
        page.goto(link)
        for title, server, address, seen in (
            ("list of calls, viewer", viewer, f"{viewer.address}/calls", "#rows tr"),
            ("list of calls, Phoenix", phoenix, f"{project}/spans", "table tbody tr"),
            ("a trace, viewer", viewer, f"{viewer.address}/trace/{trace_id}", "#lines .name"),
            ("a trace, Phoenix", phoenix, f"{project}/traces/{trace_id}", f"text={name}"),
        ):
            print(f"{title:30}", end="")
            measure_page(page, server, address, seen, times)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keeps store and sqlite for another time")
    parser.add_argument(
        "--patience", type=float, default=900, help="seconds to wait for Phoenix to take them"
    )
    options = parser.parse_args()
    if "LLM_TRACE_SERVERS" not in os.environ:
        raise SystemExit("LLM_TRACE_SERVERS says where Phoenix is installed: make test-servers")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).absolute()
        folder.mkdir(exist_ok=True)
        compare_servers(folder, options.calls, options.times, options.patience)


if __name__ == "__main__":
    main()
