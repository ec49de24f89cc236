"""How long the viewer's pages take on a large store, and what they weigh.

    python benchmarks/viewer.py                     200,000 calls
    python benchmarks/viewer.py --calls 1000000     the full table
    python benchmarks/viewer.py --store PATH        a store that is there already
    python benchmarks/viewer.py --browser           a trace of 5,000 calls and a prompt of 20,000 words with
                                                    what mattered, in Chromium (make browser)

Each page is asked for through the whole application, compressed as a browser gets it: "anew" where nothing
is remembered, then again and again, the store changed before each ask. The store's own newest-50
query, in the same process, is what the times are to be seen beside. CPU time is of all threads: other load
on the machine changes it less than the time on the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from starlette.testclient import TestClient

import llm_trace
from benchmarks.ingest import BEGIN_NS, Spool, Words, fold, write_calls
from llm_trace.collect.server import open_listener
from llm_trace.record import Attribution, Segment
from llm_trace.stores.duckdb import Store, open_store
from llm_trace.viewer.app import PAGES, build_viewer
from llm_trace.viewer.columns import BY_NAME
from llm_trace.viewer.page import STEADY_S
from llm_trace.viewer.server import build_viewer_server, make_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

REACH_MS = 150
TEXT_MS = 500
"""Of a page with a text filter, whose counts follow."""
OPEN_MS = 1000
# The milliseconds between frames while a part of the page is scrolled for three seconds.
_SCROLL = """async (selector) => {
  const box = document.querySelector(selector);
  const target = box.scrollHeight > box.clientHeight + 50 ? box : document.scrollingElement;
  const frames = [], begin = performance.now();
  let last = begin;
  while (last - begin < 3000) {
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
    target.scrollBy(0, 400);
  }
  return frames.slice(2);
}"""


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
    print(f"{'':28}{'anew':>9}{'after each change':>27}")
    heads = ("CPU ms", "p50 ms", "p95 ms", "CPU ms")
    print(f"{'page':28}{''.join(f'{head:>9}' for head in heads)}{'kB':>7}{'reach':>8}")
    base = time_asks(lambda: store.calls(limit=50), times)
    print(f"{'(newest 50, the query)':28}{base[2]:9.0f}{base[0]:9.0f}{base[1]:9.0f}{base[2]:9.0f}")
    pages = list_pages(store)
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    for name, address in pages.items():
        part = any(page.whole and page.path == address.partition("?")[0] for page in PAGES)
        headers = {"HX-Request": "true"} if part else {}  # parts of pages are for htmx alone
        ask = functools.partial(client.get, address, headers=headers)
        answer = ask()
        assert answer.status_code == 200, answer.text
        change = functools.partial(os.utime, path)
        store.keep_answers(0.0)
        anew = time_asks(ask, 1, before=change)
        store.keep_answers(STEADY_S)
        figures = (anew[2], *time_asks(ask, times, before=change))
        reach = TEXT_MS if "text=" in address else REACH_MS
        over = "".join(
            f"  {what} over" for what, ms in (("p95", figures[2]), ("CPU", figures[3])) if ms > reach
        )
        print(f"{name:28}{''.join(f'{figure:9.0f}' for figure in figures)}", end="")
        print(f"{int(answer.headers['content-length']) / 1000:7.0f}{reach:8}{over}", flush=True)
    print(f"memory at most {read_peak_mb():,.0f} MB")


def read_peak_mb() -> float:
    """Return the most memory of this process since the peak was last forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def time_asks(
    ask: Callable[[], object], times: int, before: Callable[[], object] = lambda: None
) -> tuple[float, float, float]:
    """Return median and 95th percentile in ms, and the median of the CPU time of all threads."""
    took, used = list[float](), list[float]()
    for _ in range(times):
        before()
        began, cpu = time.perf_counter(), time.process_time()
        ask()
        took.append((time.perf_counter() - began) * 1e3)
        used.append((time.process_time() - cpu) * 1e3)
    high = statistics.quantiles(took, n=20)[18] if times > 1 else took[0]
    return statistics.median(took), high, statistics.median(used)


def record_long(path: Path, calls: int = 5000, words: int = 20_000) -> dict[str, tuple[str, str]]:
    """Record an agent of many steps and a long prompt with what mattered; return their addresses, and what is
    scrolled there."""
    llm_trace.configure(path)
    llm_trace.trace(kind="agent", name="plan")(_take_steps)(calls // 2)
    prompt = Words(3).text(words)
    llm_trace.trace(kind="llm", name="read")(lambda prompt: "the third")(prompt=prompt)
    llm_trace.shutdown()
    store = open_store(path)
    read, plan = store.calls(name="read")[0], store.calls(name="plan")[0]
    header = {"event": "file", "format": 1, "writer": "b" * 16, "pid": 1, "time_ns": 1}
    event = {"event": "attribution", "id": "a" * 16, "method": "occlusion", "config_hash": "", "status": "ok"}
    event |= {"span_id": read.span_id, "trace_id": read.trace_id, "start_ns": read.start_ns, "time_ns": 1}
    event["attribution"] = _score_words(prompt).model_dump(mode="json")
    lines = "".join(f"{json.dumps(line)}\n" for line in (header, event))
    path.with_name(path.name + ".spool").joinpath(f"{'b' * 16}.00000001.jsonl").write_text(lines)
    return {
        f"trace of {calls:,} calls": (f"/trace/{plan.trace_id}?call={plan.span_id}", ".tree"),
        f"steps of {calls:,} calls": (f"/trace/{plan.trace_id}", ".steps"),
        f"prompt of {words:,} words": (f"/call/{read.span_id}", ".heat"),
    }


def _take_steps(rounds: int) -> str:
    for number in range(rounds):
        with llm_trace.span("think", "llm", model="toy-1") as step:
            part = {"type": "tool_call", "id": f"c{number}", "name": "search", "arguments": {"page": number}}
            step.set(output={"role": "assistant", "parts": [part]})
        with llm_trace.span("search", "tool", input={"page": number}) as step:
            step.set(output=f"nothing on page {number}")
    return "not found"


def _score_words(prompt: str) -> Attribution:
    places = [(match.start(), match.end()) for match in re.finditer(r"\S+", prompt)]
    values = tuple((i * 37 % 101 - 50) / 50 for i in range(len(places)))
    return Attribution(
        method="occlusion", prompt=prompt, response="the third", target="the third", baseline="deleted",
        segments=tuple(Segment(start=a, end=b, text=prompt[a:b]) for a, b in places), values=values,
        low=tuple(v - 0.1 for v in values), high=tuple(v + 0.1 for v in values), confidence=0.95,
        bounds="sampling",
    )  # fmt: skip


def measure_in_browser(path: Path, times: int) -> None:
    """Print how long the long pages take to open in Chromium, and their longest frames while one scrolls."""
    addresses = record_long(path)
    print(f"{'page':24}{'server CPU ms':>14}{'open ms':>9}{'p95 ms':>8}{'frame p95':>11}{'longest':>9}")
    with _browse(path) as (page, base):
        for name, (address, box) in addresses.items():
            took, servers = [], []
            for _ in range(times):
                began = time.process_time()
                page.goto(base + address)
                servers.append((time.process_time() - began) * 1e3)
                timing = page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
                took.append(timing["loadEventEnd"])
            frames = sorted(page.evaluate(_SCROLL, box))
            high = statistics.quantiles(took, n=20)[18] if times > 1 else took[0]
            over = "" if high <= OPEN_MS else f"  over {OPEN_MS}"
            print(
                f"{name:24}{statistics.median(servers):14.0f}{statistics.median(took):9.0f}{high:8.0f}"
                f"{frames[int(len(frames) * 0.95)]:11.0f}{frames[-1]:9.0f}{over}"
            )


@contextlib.contextmanager
def _browse(path: Path) -> Iterator[tuple[Any, str]]:
    """Give a page of a real browser in front of the store's viewer, and the viewer's address."""
    from playwright.sync_api import sync_playwright

    with open_store(path) as store, open_listener("127.0.0.1", 0) as listener, sync_playwright() as driver:
        server = build_viewer_server(store, listener, "link")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(make_link(listener, "link"))
        try:
            yield page, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            browser.close()
            server.should_exit = True
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--browser", action="store_true")
    options = parser.parse_args()
    if options.browser:
        with tempfile.TemporaryDirectory() as folder:
            measure_in_browser(Path(folder) / "long.duckdb", options.times)
        return
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
