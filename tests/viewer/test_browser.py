"""The pages in a real browser; `make browser` installs what they need."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.collect.server import open_listener
from llm_trace.operations import read_reviews
from llm_trace.record import Attribution, Segment
from llm_trace.viewer.server import build_viewer_server, make_link
from tests.helpers.cli_toys import record
from tests.helpers.fork_toys import write_forked_runs
from tests.helpers.hostile import record_hostile
from tests.helpers.spool_toys import HandWriter, spool_of
from tests.helpers.support_toys import record_agents
from tests.viewer.test_pages import list_addresses

playwright = pytest.importorskip("playwright.sync_api", reason="no browser to drive: make browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser to drive: make browser")
WRITER = """
import sys, time, llm_trace
llm_trace.configure(sys.argv[1])
with llm_trace.span(f"written at {time.time():.3f}", kind="llm"):
    pass
"""
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 800}}


class Visitor:
    """Somebody in front of a store's viewer, who notes what the browser complains about and whom it asks."""

    def __init__(self, browser: Any, address: str, link: str) -> None:
        self.address = address
        self.page = browser.new_page(viewport=SIZES["desk"])
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._close)
        self.page.on("request", lambda request: self.asked.add(request.url.split("/")[2]))
        self.page.goto(link)

    def _close(self, dialog: Any) -> None:
        self.complaints.append(dialog.message)
        dialog.dismiss()

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def go(self, path: str) -> Any:
        """Go to a page, and wait for what the table of calls asks for by itself."""
        self.page.goto(self.address + path)
        if path.partition("?")[0] in ("/", "/calls"):
            self.page.locator("#summary dl").wait_for()
        return self.page

    def wait_to_read(self, text: str) -> None:
        """Wait for a page with this text that takes keys: its script runs after its text is shown."""
        self.page.get_by_text(text).wait_for()
        self.page.wait_for_load_state()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def visit(browser: Any, path: Path) -> Iterator[Visitor]:
    with llm_trace.open_store(path) as store, open_listener("127.0.0.1", 0) as listener:
        server = build_viewer_server(store, listener, "link")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            visitor = Visitor(browser, address, make_link(listener, "link"))
            yield visitor
            visitor.page.close()
            assert visitor.complaints == []
            assert visitor.asked == {address.removeprefix("http://")}
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "t.duckdb"
    record(path)
    return path


@pytest.fixture
def visitor(browser: Any, place: Path) -> Iterator[Visitor]:
    yield from visit(browser, place)


def list_pages(path: Path) -> list[str]:
    fragments = "/rows|/lines|/steps|/summary|/attributions"
    return [page for page in list_addresses(path) if not re.search(fragments, page)]


# Colours do not depend on the width, nor widths on the colours: each is looked at once.
each_width_and_scheme = pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])


@each_width_and_scheme
def test_every_page_fits_and_is_accessible(visitor: Visitor, place: Path, size: str, scheme: Any) -> None:
    visitor.page.emulate_media(color_scheme=scheme)
    visitor.page.set_viewport_size(SIZES[size])
    check_pages(visitor, [*list_pages(place), f"/call/{explain(place)}"])


@each_width_and_scheme
def test_runs_with_forks_fit_and_are_accessible(browser: Any, path: Path, size: str, scheme: Any) -> None:
    for visitor in visit(browser, write_forked_runs(path)):
        visitor.page.emulate_media(color_scheme=scheme)
        visitor.page.set_viewport_size(SIZES[size])
        check_pages(visitor, ["/runs", f"/runs?like=e{0:031}"])


def check_pages(visitor: Visitor, paths: list[str]) -> None:
    """Check that pages are no wider than the screen and that axe finds nothing serious in them."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make browser").Axe()
    for path in paths:
        page = visitor.go(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        serious = [
            (path, rule["id"], [node["html"] for node in rule["nodes"]][:3])
            for rule in axe.run(page).response["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert serious == []


def test_a_call_is_found_and_opened_with_the_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.go("/calls")
    page.keyboard.press("/")
    page.keyboard.type("three")
    page.keyboard.press("Enter")
    page.wait_for_url("**/calls?text=three*")
    assert page.locator("#rows tr[data-href]").count() == 2
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/trace/*")
    assert "answer" in page.locator(".tree").inner_text()
    page.keyboard.press("j")
    page.wait_for_url("**call=*")


def test_the_tree_shows_another_call_without_leaving_the_page(visitor: Visitor, place: Path) -> None:
    call = llm_trace.open_store(place).calls(kind="llm")[0]
    page = visitor.go(f"/trace/{call.trace_id}?call={call.span_id}")
    page.evaluate("window.stays = true")
    page.locator("#lines a").first.click()
    page.locator(".call h2").get_by_text("answer").wait_for()
    assert page.evaluate("window.stays")
    assert call.span_id not in page.url
    assert page.locator("#lines [aria-current]").count() == 1


def test_the_steps_of_an_agent_stand_beside_its_tree(browser: Any, path: Path) -> None:
    traces = record_agents(path)
    for visitor in visit(browser, path):
        page = visitor.go(f"/trace/{traces[0]}")
        assert page.locator(".steps .step").count() == 6
        page.locator("#lines a").nth(2).click()
        page.locator("#call .problem").get_by_text("the shop did not answer", exact=True).wait_for()
        page.get_by_role("link", name="Step by step (6)").click()
        page.locator(".steps .step").first.wait_for()
        page.wait_for_url("**view=steps")
        page.get_by_role("link", name="Beside another trace").click()
        page.get_by_label("Right").fill(traces[1])
        page.keyboard.press("Enter")
        page.get_by_text("They part at step 2").wait_for()


def test_calls_of_another_process_come_by_themselves(visitor: Visitor, place: Path) -> None:
    page = visitor.go("/calls")
    page.locator("#live").check()
    subprocess.run([sys.executable, "-c", WRITER, str(place)], check=True, timeout=60)
    name = page.get_by_text("written at").first
    name.wait_for()
    print(f"shown {time.time() - float(name.inner_text().split()[-1]):.2f} s after it was written")


def test_dragging_over_the_times_chooses_a_stretch_of_them(visitor: Visitor) -> None:
    page = visitor.go("/calls")
    box = page.locator("#times").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20, steps=4)
    page.mouse.up()
    page.wait_for_url("**since=*")
    assert "until=" in page.url
    assert 0 < page.locator("#rows tr[data-href]").count() < 6


def test_a_view_is_saved_opened_and_removed_with_the_keyboard(visitor: Visitor) -> None:
    page = visitor.go("/calls")
    page.locator("select[name=kind]").select_option("llm")
    page.locator("#filters button").click()
    page.wait_for_url("**/calls?kind=llm")
    press_in_views(page, "Tab")
    page.keyboard.type("<b>models</b>")
    page.keyboard.press("Enter")
    page.locator("#views a").wait_for()
    press_in_views(visitor.go("/calls"), "Tab", "Enter")
    page.wait_for_url("**/calls?kind=llm")
    assert page.locator("#views a[aria-current]").text_content() == "<b>models</b>"
    press_in_views(page, "Tab", "Tab", "Enter")
    assert page.locator("#views a").count() == 0


def press_in_views(page: Any, *keys: str) -> None:
    """Open the saved views and press keys."""
    page.locator("#views > summary").focus()
    for key in ("Enter", *keys):
        page.keyboard.press(key)


def introduce(visitor: Visitor, name: str = "anna", query: str = "kind=llm&rating=helpful") -> Any:
    """Say on the page Review who decides; return the page with the first call."""
    page = visitor.go(f"/review?{query}")
    page.get_by_label("Who decides").fill(name)
    page.keyboard.press("Enter")
    visitor.wait_to_read(f"left for {name}")
    return page


def test_a_decision_made_in_the_browser_is_kept_with_its_seconds(visitor: Visitor, place: Path) -> None:
    page = introduce(visitor)
    page.wait_for_timeout(20)  # some time passes, whatever it is
    page.keyboard.press("y")
    visitor.wait_to_read("2 calls left for anna")
    page.get_by_label("helpful", exact=True).fill("0.5")
    page.get_by_label("Comment").first.fill("so so")
    page.keyboard.press("Enter")
    visitor.wait_to_read("1 call left for anna")
    page.keyboard.press("s")
    page.get_by_text("Nothing left to look at").wait_for()
    with llm_trace.open_store(place) as store:
        reviews = read_reviews(store)
        scores = store.sql("SELECT name, number, source FROM scores WHERE name = 'helpful' ORDER BY time_ns")
        assert scores.fetchall() == [("helpful", 1.0, "human"), ("helpful", 0.5, "human")]
    assert [(r.reviewer, r.value, r.comment) for r in reviews] == [
        ("anna", True, None), ("anna", 0.5, "so so"),
    ]  # fmt: skip
    assert reviews[0].seconds is not None
    assert 0.02 <= reviews[0].seconds < 600


@pytest.mark.parametrize("explain_mode", ["always", "never"])
def test_the_queue_is_accessible_with_and_without_explanations(
    browser: Any, place: Path, explain_mode: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make browser").Axe()
    explain(place)  # before the viewer begins: it looks for what is new now and then
    for visitor in visit(browser, place):
        page = introduce(visitor, query=f"kind=llm&explain={explain_mode}")
        assert page.locator("[data-attribution]").count() == (explain_mode == "always")
        for size in SIZES.values():
            page.set_viewport_size(size)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            violations = axe.run(page).response["violations"]
            assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []


def explain(path: Path) -> str:
    """Give a call an attribution with a matrix; return the call's id."""
    call = llm_trace.open_store(path).calls(kind="llm")[0]
    places = ((0, 2), (3, 7), (8, 11))
    attribution = Attribution(
        span_id=call.span_id,
        method="occlusion",
        prompt="Be kind now",
        response="so it",
        target="so it",
        segments=tuple(Segment(start=a, end=b, text="Be kind now"[a:b]) for a, b in places),
        values=(2.0, -1.0, 0.0),
        matrix=((2.0, 0.0, 0.0), (0.0, -2.0, 0.0)),
        target_tokens=("so", " it"),
        bounds="exact",
        baseline="removed",
    )
    event: dict[str, Any] = {
        "event": "attribution",
        "id": "a1",
        "method": "occlusion",
        "config_hash": "",
        "status": "ok",
    }
    event |= {"span_id": call.span_id, "trace_id": call.trace_id, "start_ns": call.start_ns, "time_ns": 1}
    writer = HandWriter(spool_of(path))
    writer.event(**event, attribution=attribution.model_dump(mode="json"))
    writer.close()
    return call.span_id


def test_a_part_of_the_answer_colours_the_prompt(browser: Any, place: Path) -> None:
    span_id = explain(place)
    for visitor in visit(browser, place):
        page = visitor.go(f"/call/{span_id}")
        assert read_colours(page) == ["w v5", "w v-2", "w v0"]
        page.locator(".token").nth(1).hover()
        assert read_colours(page) == ["w v0", "w v-5", "w v0"]
        page.mouse.move(0, 0)
        assert read_colours(page) == ["w v5", "w v-2", "w v0"]
        page.keyboard.press("Tab")
        page.locator(".token").first.focus()
        assert read_colours(page) == ["w v5", "w v0", "w v0"]
        page.locator(".w").nth(1).focus()
        assert [b.get_attribute("class") for b in page.locator(".token").all()] == [
            "token",
            "token coloured v-5",
        ]
        assert page.locator(".tip").inner_text() == "kind: -1 nats"
        page.mouse.move(0, 0)


def read_colours(page: Any) -> list[str]:
    return [str(word.get_attribute("class")) for word in page.locator(".w").all()]


def test_nothing_that_was_recorded_runs_in_the_browser(browser: Any, path: Path) -> None:
    record_hostile(path)
    calls = [call for call in llm_trace.open_store(path).calls(kind="llm") if call.name != "fail"]
    for visitor in visit(browser, path):
        for call in calls:
            visitor.go(f"/trace/{call.trace_id}?call={call.span_id}")
        for address in ("/calls", "/runs", "/prompts", "/health"):
            page = visitor.go(address)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
