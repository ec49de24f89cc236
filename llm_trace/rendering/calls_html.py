"""Calls as HTML: in a table, or those of a trace as a tree over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.rendering import formatting
from llm_trace.rendering.call_html import render_error, render_status, render_talk
from llm_trace.rendering.elements import Html, element, join_elements
from llm_trace.rendering.tables import Column, render_table
from llm_trace.rendering.waterfall import arrange_lines, measure_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.rendering.shapes import ShownCall
    from llm_trace.rendering.waterfall import WaterfallLine

ROWS = 100
"""Calls in a table."""
LINES = 300
"""Calls in a tree."""
_TALK = 1000
"""Characters of each text of a call in a tree."""
_LAST = 4
"""Messages of a call in a tree: the calls before it have the others."""
NO_CALLS = (
    "No calls match. Record some by @llm_trace.trace or llm_trace.configure(instrument=True); a store that "
    "is open sees what was logged since after store.ingest()."
)
_COLUMNS = (
    Column("Time", "dim nowrap"), Column("Name"), Column("Kind", "dim"), Column("Model", "dim"),
    Column("Status"), Column("Took", "num nowrap"), Column("Tokens", "num nowrap"),
    Column("Cost", "num nowrap"), Column("Input", "excerpt"), Column("Output", "excerpt"),
)  # fmt: skip


def render_calls(calls: Sequence[ShownCall]) -> Html:
    """Return a table of calls."""
    if not calls:
        return element("p", NO_CALLS, class_="dim")
    return render_table(_COLUMNS, map(_list_cells, calls[:ROWS]), len(calls) - ROWS)


def _list_cells(call: ShownCall) -> tuple[Html | str, ...]:
    usage = call.usage
    return (
        formatting.format_clock(call.start_ns),
        element("strong", formatting.format_one_line(call.name, 60)),
        call.kind,
        formatting.format_one_line(call.model or "", 40),
        render_status(call.status),
        formatting.format_duration(call.duration_ns),
        formatting.format_tokens(usage.input_tokens, usage.output_tokens) if usage else "",
        formatting.format_cost(call.cost_usd),
        element("bdi", formatting.format_one_line(formatting.describe_input(call), 160)),
        element("bdi", formatting.format_one_line(formatting.describe_output(call), 160)),
    )


def render_trace(calls: Sequence[ShownCall]) -> Html:
    """Return the calls of a trace as a tree, with bars over time; each opens to what went in and out."""
    if not calls:
        return element("p", "No calls: the store knows no trace of that id.", class_="dim")
    lines = arrange_lines(calls)
    left = len(lines) - LINES
    root = lines[0].row
    count = f"{len(lines):,} call{'' if len(lines) == 1 else 's'}"
    about = (
        count,
        formatting.format_duration(measure_duration(calls)),
        formatting.format_clock(root.start_ns),
    )
    return element(
        "section",
        element("h3", formatting.format_one_line(root.name, 60)),
        element("p", " · ".join(about), " · ", element("code", root.trace_id), class_="dim"),
        element("ol", map(_render_line, lines[:LINES]), class_="lines"),
        element("p", f"… {left:,} more calls", class_="dim") if left > 0 else None,
    )


def _render_line(line: WaterfallLine[ShownCall]) -> Html:
    call = line.row
    indent = element("svg", class_="indent", width=min(line.depth, 24) * 14, height=1, aria_hidden="true")
    status = element("span", class_=f"status s-{call.status}", title=call.status)
    name = element("span", formatting.format_one_line(call.name, 60), class_="name")
    about = element("span", " ", formatting.format_one_line(call.model or call.kind, 30), class_="dim")
    took = "no end" if call.end_ns is None else formatting.format_duration(call.duration_ns)
    look = f"b-{call.status}" if call.end_ns is not None else f"b-{call.status} endless"
    bar = element("rect", class_=look, x=line.left, y=2, width=line.width, height=6)
    silent = element("rect", class_="silent", x=line.left, y=2, width=line.silent, height=6)
    bars = (bar, silent if line.silent else None)
    return element(
        "li",
        element(
            "details",
            element(
                "summary",
                element("span", indent, status, name, about, class_="label"),
                element("svg", bars, class_="wait", viewBox="0 0 1000 10", preserveAspectRatio="none",
                        aria_hidden="true"),
                element("span", took, class_="num dim"),
            ),
            element(
                "div", render_error(call), join_elements(render_talk(call, _TALK, _LAST)), class_="panel"
            ),
        ),
        class_="line critical" if line.critical else "line",
    )  # fmt: skip
