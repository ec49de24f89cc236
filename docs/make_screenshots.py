"""Run the demo and take pictures of the viewer: `python docs/make_screenshots.py` writes docs/viewer-*.png.

Needs what `make browser` installs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

from llm_trace.collect.server import open_listener
from llm_trace.stores.duckdb import open_store
from llm_trace.viewer.server import build_viewer_server, make_link

WIDTH, HEIGHT = 1280, 720


def main(folder: Path) -> None:
    """Write the pictures into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "demo.duckdb"
        subprocess.run(
            [sys.executable, "-c", "from llm_trace.cli import main; main()", "demo", "--store", str(path)],
            check=True,
            capture_output=True,
        )
        with open_store(path) as store, open_listener("127.0.0.1", 0) as listener:
            server = build_viewer_server(store, listener, "link")
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            explained = next(
                call for call in store.calls(kind="llm", limit=None) if store.attributions(call.span_id)
            )
            pages = {"calls": "/calls", "trace": f"/trace/{explained.trace_id}?call={explained.span_id}"}
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            take_pictures(address, make_link(listener, "link"), pages, folder)
            server.should_exit = True
            thread.join()


def take_pictures(address: str, link: str, pages: dict[str, str], folder: Path) -> None:
    """Take a picture of each page."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(link)
        for name, path in pages.items():
            page.goto(address + path, wait_until="networkidle")
            page.screenshot(path=folder / f"viewer-{name}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(__file__).parent)
