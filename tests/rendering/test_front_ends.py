"""Records in the front ends of notebooks, and reports, in a real browser that `make browser` installs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.record import Attribution, Segment
from llm_trace.run_report.page import render_report
from tests.helpers.cli_toys import record

playwright = pytest.importorskip("playwright.sync_api", reason="no browser to drive: make browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser to drive: make browser")
WHY = Attribution(
    method="occlusion", values=(3.7, -3.0, 0.01), bounds="exact", prompt="gold please now",
    segments=(Segment(start=0, end=4, text="gold"), Segment(start=5, end=11, text="please"),
              Segment(start=12, end=15, text="now")),
    low=(3.0, -3.5, -0.1), high=(4.0, -2.5, 0.1), confidence=0.95, response="APPROVE",
    target="the whole response", baseline="delete", verdict="redundant",
)  # fmt: skip
# As JupyterLab has it: a class around every output, and tables and code in its own way.
NOTEBOOK = """<style>
.out table { table-layout: fixed } .out th, .out td { text-align: right; padding: 9px; color: red }
.out tbody tr:nth-child(odd) { background: rgb(245, 0, 0) }
.out pre { margin: 30px; background: rgb(0, 250, 0) }
</style><div class="out"><h3 id="theirs">theirs</h3>
<table id="table"><tbody><tr><td>1</td></tr></table>%s</div>"""
LIGHT, DARK = "rgb(251, 251, 250)", "rgb(21, 23, 26)"
THEIRS = "['theirs', 'table'].map(id => { const s = getComputedStyle(document.getElementById(id)); "
THEIRS += "return [s.font, s.color, s.margin, s.width, s.borderCollapse] })"


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 800, "height": 600})
        opened.set_default_timeout(60_000)
        yield opened
        browser.close()


def find_faults(page: Any) -> list[Any]:
    """Return what is seriously hard to use for somebody with a screen reader or weak eyes."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make browser").Axe()
    return [
        (rule["id"], [node["html"] for node in rule["nodes"]][:3])
        for rule in axe.run(page).response["violations"]
        if rule["impact"] in ("serious", "critical") and rule["id"] not in ("html-has-lang", "document-title")
    ]


def read_style(page: Any, selector: str, name: str) -> str:
    value = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{name}")
    assert isinstance(value, str)
    return value


def test_the_notebooks_own_style_and_ours_do_not_touch_each_other(page: Any) -> None:
    page.set_content(f"<!doctype html>{NOTEBOOK % ''}")
    before = page.evaluate(THEIRS)
    page.set_content(f"<!doctype html>{NOTEBOOK % WHY._repr_html_()}")
    assert page.evaluate(THEIRS) == before
    assert read_style(page, ".llm-trace tbody tr", "backgroundColor") == "rgba(0, 0, 0, 0)"
    assert read_style(page, ".llm-trace pre", "backgroundColor") == "rgba(0, 0, 0, 0)"
    assert read_style(page, ".llm-trace tbody th", "textAlign") in ("left", "start")


@pytest.mark.parametrize("mode", ["", "<!doctype html>"], ids=["quirks", "standards"])
@pytest.mark.parametrize(
    ("body", "ground"),
    [
        ('data-jp-theme-light="true"', LIGHT), ('data-jp-theme-light="false"', DARK),
        ('class="vscode-light"', LIGHT), ('class="vscode-dark"', DARK),
    ],
    ids=["lab-light", "lab-dark", "vscode-light", "vscode-dark"],
)  # fmt: skip
def test_light_and_dark_are_those_of_the_front_end(page: Any, body: str, ground: str, mode: str) -> None:
    page.emulate_media(color_scheme="dark" if "light" in body.partition("=")[2] else "light")
    page.set_content(f"{mode}<html><body {body}>{WHY._repr_html_()}")
    assert read_style(page, ".llm-trace", "backgroundColor") == ground
    ink = read_style(page, ".llm-trace", "color")
    assert read_style(page, ".llm-trace tbody tr:not(.dim) th", "color") == ink
    assert find_faults(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_fits_and_is_accessible_at_both_sizes(page: Any, tmp_path: Path, scheme: Any) -> None:
    path = tmp_path / "t.duckdb"
    record(path)
    report = render_report(llm_trace.open_store(path), "first", "second")
    page.emulate_media(color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.set_content(report)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert find_faults(page) == []
    assert asked == []
