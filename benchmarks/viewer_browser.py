"""How soon a browser shows the viewer's pages, what they weigh, and when a new call is on the page.

    python benchmarks/viewer_browser.py --calls 100000
    python benchmarks/viewer_browser.py --store PATH

Needs what `make browser` installs. While the last line is measured another process writes 50 calls a second,
each named by its time: the table is watched until it shows one, and its age is the delay.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import sync_playwright

from benchmarks.ingest import fold, write_calls
from benchmarks.viewer import list_pages
from llm_trace.collect.server import open_listener
from llm_trace.stores.duckdb import Store, open_store
from llm_trace.viewer.server import build_viewer_server, make_link

PAGES = ("calls, newest", "calls, tag and kind", "calls, slowest", "trace", "session", "runs", "prompts")
WRITER = """
import sys, time, llm_trace
llm_trace.configure(sys.argv[1])
while True:
    with llm_trace.span(f"written at {time.time():.3f}", kind="llm"):
        pass
    time.sleep(0.02)
"""
NEWEST = """() => {
    const name = document.querySelector("#rows .name a")?.textContent ?? "";
    return name.startsWith("written at") ? Date.now() / 1000 - Number(name.slice(11)) : null;
}"""
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
WEIGHT = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .reduce((sum, entry) => sum + entry.transferSize, 0)"""


def measure_browser(store: Store, seconds: float) -> None:
    """Print first paint and weight of each page, then how old the newest call on the live table is."""
    with open_listener("127.0.0.1", 0) as listener, sync_playwright() as driver:
        server = build_viewer_server(store, listener, "link")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        asked: set[str] = set()
        page.on("request", lambda request: asked.add(request.url.split("/")[2]))
        page.goto(make_link(listener, "link"))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        print(f"{'page':28}{'first paint ms':>16}{'all kB':>9}")
        pages = list_pages(store)
        for name in PAGES:
            paints = [measure_page(page, address + pages[name]) for _ in range(3)]
            paint, weight = (statistics.median(column) for column in zip(*paints, strict=True))
            print(f"{name:28}{paint:16.0f}{weight / 1000:9.0f}", flush=True)
        ages = watch_live(page, address, store.path, seconds)
        print(f"new calls on the live table: {statistics.median(ages):.2f} s old, at most {max(ages):.2f} s")
        print(f"machines that were asked: {', '.join(sorted(asked))}")
        browser.close()
        server.should_exit = True
        thread.join()


def measure_page(page: Any, address: str) -> tuple[float, float]:
    """Return first contentful paint in ms and the bytes of a page with all it asks for, nothing cached."""
    page.goto(address, wait_until="networkidle")
    return page.evaluate(PAINT), page.evaluate(WEIGHT)


def watch_live(page: Any, address: str, store: Path, seconds: float) -> list[float]:
    """Return how old the newest call on the page was whenever the table was drawn anew."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(store)]) as writer:
        try:
            page.goto(f"{address}/calls")
            page.locator("#live").check()
            ages, began = [], time.monotonic()
            before: float | None = None
            while (watched := time.monotonic() - began) < seconds:
                age = page.evaluate(NEWEST)
                if age is not None and before is not None and age < before < watched:  # no call of before
                    ages.append(before)  # as old as it became before the next one came
                before = age
                page.wait_for_timeout(30)
        finally:
            writer.kill()
    return ages


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    if options.store is not None:
        measure_browser(open_store(options.store), options.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "calls.duckdb"
        write_calls(store.with_name(store.name + ".spool"), options.calls)
        fold(store)
        measure_browser(open_store(store), options.seconds)


if __name__ == "__main__":
    main()
