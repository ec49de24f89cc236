"""A store as HTML: what its calls come to, the newest runs and the newest calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.rendering import formatting
from llm_trace.rendering.calls_html import render_calls
from llm_trace.rendering.elements import Html, element
from llm_trace.rendering.pages import render_fragment
from llm_trace.rendering.record_html import render_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llm_trace.record_lists import Calls, Runs
    from llm_trace.stores.summary import Summary


def render_store(path: Path, summary: Summary, runs: Runs, calls: Calls) -> str:
    """Return a store for notebooks."""
    return render_fragment(
        element("h3", "Store ", element("code", str(path))),
        render_figures(summary),
        (element("h3", "Newest runs"), render_runs(runs)) if runs else None,
        (element("h3", "Newest calls"), render_calls(calls)),
    )


def render_figures(summary: Summary) -> Html:
    """Return what calls come to."""
    figures = (
        element("div", element("dt", name), element("dd", value, class_=kind))
        for name, value, kind in _list_figures(summary)
        if value
    )
    return element("dl", figures, class_="figures")


def _list_figures(summary: Summary) -> Iterator[tuple[str, str, str | None]]:
    failed = f"{summary.failed:,}" + (f" · {summary.failed / summary.calls:.1%}" if summary.failed else "")
    yield "Calls", f"{summary.calls:,}", None
    yield "Failed", failed, "bad" if summary.failed else None
    if summary.median_ms is not None and summary.p95_ms is not None:
        times = map(formatting.format_duration, (summary.median_ms * 1e6, summary.p95_ms * 1e6))
        yield "Median · p95", " · ".join(times), None
    yield "Tokens in → out", formatting.format_tokens(summary.input_tokens, summary.output_tokens), None
    yield "Cost", formatting.format_cost(summary.cost_usd), None
