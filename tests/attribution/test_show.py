"""Attributions in the terminal and on a page."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from llm_trace.attribution.studies.plot import draw_figure
from llm_trace.cli.tree import render_bars
from llm_trace.exporters.attribution_payload import build_searchable
from llm_trace.record import Attribution, Segment
from llm_trace.rendering.attribution_html import render_attribution_page
from llm_trace.rendering.heatmap import (
    BLUE,
    GREY,
    ORANGE,
    blend_colour,
    render_terminal,
)
from tests.helpers.elements import Elements

HOSTILE = "<script>alert(1)</script>"


def made(**fields: Any) -> Attribution:
    prompt = f"Be kind {HOSTILE} now"
    words = (("Be", 0, 2), ("kind", 3, 7), (HOSTILE, 8, 8 + len(HOSTILE)))
    segments = tuple(
        Segment(start=a, end=b, text=t, name='"><b>' if t == "Be" else None) for t, a, b in words
    )
    given: dict[str, Any] = {
        "method": "occlusion", "segments": segments, "values": (2.0, -4.0, 0.01), "bounds": "exact",
        "prompt": prompt, "response": f"Yes {HOSTILE}", "target": "the whole response",
        "baseline": "delete",
    }  # fmt: skip
    return Attribution(**(given | fields))


def test_colours_are_symmetric_around_zero() -> None:
    assert blend_colour(4.0, 4.0, (255, 255, 255)) == BLUE
    assert blend_colour(-4.0, 4.0, (255, 255, 255)) == ORANGE
    assert blend_colour(0.0, 4.0, (255, 255, 255)) is None


def test_the_terminal_shows_the_whole_prompt_with_the_unit() -> None:
    shown = render_terminal(made(verdict="redundant"))
    assert shown.plain.startswith(made().prompt)
    assert "nats" in shown.plain
    assert "not evidence: redundant" in shown.plain
    assert [str(s.style) for s in shown.spans if s.start == 3] == ["black on #e69f00"]


def test_a_page_shows_the_text_and_runs_nothing_of_it() -> None:
    page = Elements(render_attribution_page(made(), title=HOSTILE))
    assert not {tag for tag, _ in page.tags} & {"script", "b"}
    assert made().prompt in page.text
    assert f"Yes {HOSTILE}" in page.text
    assert '"><b>: +2 nats' in page.list_values("span", "title")


def test_words_and_colours_follow_the_test_that_is_corrected_for_the_number_of_words() -> None:
    tested = {
        "method": "smile", "unit": "distance", "values": (0.4, -0.3, 0.2), "confidence": 0.95,
        "low": (0.3, -0.5, 0.1), "high": (0.5, -0.1, 0.3), "p_values": (0.001, 0.04, 0.05),
        "q_values": (0.003, 0.06, 0.06),
    }  # fmt: skip
    found = made(**tested)
    assert found.summary() == (
        f"'Be' moves this answer by +0.4 (distance); '{HOSTILE}' and 1 other made no measurable difference."
    )
    assert [str(s.style) for s in render_terminal(found).spans if s.start < len(found.prompt)] == [
        "white on #0072b2"
    ]
    coloured = [
        name
        for name in Elements(render_attribution_page(found)).list_values("span", "class")
        if "w v" in name
    ]
    assert coloured == ["w v5", "w v0", "w v0"]
    assert build_searchable(found.model_dump())["top_words"] == "Be"
    assert [line.plain.endswith("not told from noise") for line in render_bars(found)] == [False, True, True]
    assert draw_figure(found).axes[0].patches[1].get_facecolor()[:3] == tuple(c / 255 for c in GREY)
    bolder = made(**{**tested, "confidence": 0.9})
    assert [bolder.stands_out(i) for i in range(3)] == [True, True, True]


def test_the_record_imports_nothing_above_rendering() -> None:
    code = (
        "import sys\n"
        "from llm_trace.record import Attribution, Segment\n"
        "light = not any(name.startswith('llm_trace.rendering') for name in sys.modules)\n"
        "word = Segment(start=0, end=2, text='Be')\n"
        "why = Attribution(method='occlusion', segments=(word,), values=(2.0,), bounds='exact',\n"
        "                  prompt='Be', response='Yes', target='the whole response', baseline='delete')\n"
        "why.summary(), why._repr_html_()\n"
        "above = {'attribution', 'exporters', 'semconv', 'spool', 'stores'}\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('llm_trace.')}\n"
        "print(light, sorted(above & rooms))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"
