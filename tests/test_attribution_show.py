"""Attributions in the terminal and on a page."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from llm_trace.heatmap import BLUE, ORANGE, blended, fragment, html, legend, terminal
from llm_trace.record import Attribution, Segment

HOSTILE = "<script>alert(1)</script>"


def made(**fields: Any) -> Attribution:
    prompt = f"Be kind {HOSTILE} now"
    words = (("Be", 0, 2), ("kind", 3, 7), (HOSTILE, 8, 8 + len(HOSTILE)))
    segments = tuple(
        Segment(start=a, end=b, text=t, name='"><b>' if t == "Be" else None) for t, a, b in words
    )
    given: dict[str, Any] = {
        "method": "occlusion", "segments": segments, "values": (2.0, -4.0, 0.01), "bounds": "exact", "prompt": prompt,
        "response": f"Yes {HOSTILE}", "target": "the whole response", "baseline": "delete",
    }  # fmt: skip
    return Attribution(**(given | fields))


def test_colours_are_symmetric_around_zero() -> None:
    assert blended(4.0, 4.0, (255, 255, 255)) == BLUE
    assert blended(-4.0, 4.0, (255, 255, 255)) == ORANGE
    assert blended(0.0, 4.0, (255, 255, 255)) is None
    assert legend(made()) == "orange -4 · 0 · blue +4 nats; occlusion, baseline delete"


def test_the_terminal_shows_the_whole_prompt_with_the_unit() -> None:
    shown = terminal(made(verdict="redundant"))
    assert shown.plain.startswith(made().prompt)
    assert "nats" in shown.plain
    assert "not evidence: redundant" in shown.plain
    assert [str(s.style) for s in shown.spans if s.start == 3] == ["black on #e69f00"]


def test_a_page_shows_the_text_and_runs_nothing_of_it() -> None:
    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: set[str] = set()
            self.text = ""

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.tags.add(tag)

        def handle_data(self, data: str) -> None:
            self.text += data

    reader = Reader()
    reader.feed(html(made(), title=HOSTILE))
    assert not reader.tags & {"script", "b"}
    assert made().prompt in reader.text
    assert f"Yes {HOSTILE}" in reader.text
    assert 'title="&quot;&gt;&lt;b&gt;: +2 nats"' in fragment(made())


def test_a_notebook_shows_the_coloured_prompt() -> None:
    assert made()._repr_html_() == fragment(made())
