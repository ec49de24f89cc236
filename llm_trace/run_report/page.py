"""The page: what the runs came to, how they compare, what failed, which calls say most, what it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.comparison.api import compare
from llm_trace.comparison.html import render_comparison_html
from llm_trace.errors import NotFoundError
from llm_trace.rendering import formatting, pages
from llm_trace.rendering.attribution_html import render_attribution
from llm_trace.rendering.call_html import list_figures, render_error, render_status, render_talk
from llm_trace.rendering.elements import Html, element
from llm_trace.rendering.formatting import count_things
from llm_trace.rendering.record_html import render_run_facts
from llm_trace.rendering.tables import Column, render_table
from llm_trace.run_report.telling_calls import choose_calls, list_failures
from llm_trace.run_report.worth import render_worth
from llm_trace.stores.html import render_figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.comparison.comparison import Comparison
    from llm_trace.record import Run
    from llm_trace.run_report.telling_calls import Failure, TellingCall
    from llm_trace.stores.duckdb import Store

_FAILURES = 20
"""Kinds of failures that are listed."""
_MEANS = """
    SELECT s.name, avg(s.number), count(s.number) FROM scores s JOIN calls USING (span_id)
    WHERE run = ? AND s.number IS NOT NULL GROUP BY s.name ORDER BY s.name"""
_FAILURE_COLUMNS = (
    Column("Calls", "num"), Column("Status"), Column("Error"), Column("Message"),
    Column("Such as", "dim nowrap"),
)  # fmt: skip


def render_report(
    store: Store, a: str, b: str | None = None, *, by: str | None = None, most: int = 12
) -> str:
    """Return a page about a run, or about b against a: no script, no request, every text escaped.

    Args:
        a: id of a run, or a name, which means the newest run of that name.
        by: what pairs the calls of two runs, as for `compare`.
        most: calls that are shown in full.

    Raises:
        NotFoundError: the store has no such run.
    """
    runs = [find_run(store, name) for name in (a, b) if name is not None]
    comparison, problem = _compare(store, runs, by)
    failures = list_failures(store, runs)
    calls = choose_calls(store, runs, failures, comparison, most)
    value = render_worth(store)
    title = runs[0].name if len(runs) == 1 else f"{runs[1].name} against {runs[0].name}"
    return pages.render_page(
        title,
        element("h1", title),
        element("div", (_render_run(store, run) for run in runs), class_="beside"),
        None if comparison is None else _render_section("Comparison", render_comparison_html(comparison)),
        element("p", f"Not compared: {problem}", class_="remark") if problem else None,
        _render_section("Failures", _render_failures(failures)),
        _render_section("Calls to look at", _render_calls(calls)),
        None if value is None else _render_section("What it is worth", value),
    )


def find_run(store: Store, name: str) -> Run:
    """Return a run by id, or the newest of a name.

    Raises:
        NotFoundError: there is none.
    """
    run = next((run for run in store.runs() if name in (run.id, run.name)), None)
    if run is None:
        raise NotFoundError(f"no run {name!r} in {str(store.path)!r}: `llm-trace runs` lists them")
    return run


def _compare(store: Store, runs: Sequence[Run], by: str | None) -> tuple[Comparison | None, str | None]:
    """Return the comparison of two runs, or why there is none."""
    if len(runs) < 2:
        return None, None
    try:
        return compare(runs[0], runs[1], store=store, by=by), None
    except NotFoundError as exc:
        return None, str(exc)


def _render_section(title: str, content: Html) -> Html:
    return element("section", element("h2", title), content)


def _render_run(store: Store, run: Run) -> Html:
    means = (
        element("div", element("dt", name), element("dd", f"{mean:.3g} ", element("small", f"of {count:,}")))
        for name, mean, count in store.sql(_MEANS, run.id)
    )
    return element(
        "article",
        element("h3", run.name),
        render_figures(store.summary(run=run)),
        element("dl", means, class_="figures"),
        render_run_facts(run),
        class_="panel",
    )


def _render_failures(failures: Sequence[Failure]) -> Html:
    if not failures:
        return element("p", "No call failed.", class_="good")
    rows = (
        (
            f"{failure.calls:,}",
            render_status(failure.status),
            failure.type,
            element("bdi", formatting.format_one_line(failure.message or "", 200)),
            element("code", failure.span_ids[0]),
        )
        for failure in failures[:_FAILURES]
    )
    return render_table(_FAILURE_COLUMNS, rows, len(failures) - _FAILURES)


def _render_calls(calls: Sequence[TellingCall]) -> Html:
    if not calls:
        return element("p", "No call failed, got worse, has a low score or is explained.", class_="good")
    explained = sum(bool(entry.attributions) for entry in calls)
    hint = f"{count_things(len(calls), 'call')}, {explained} explained: `llm-trace attribute` explains more."
    return element("div", element("p", hint, class_="dim"), map(_render_call, calls))


def _render_call(entry: TellingCall) -> Html:
    call = entry.call
    facts = (element("span", element("span", f"{name} ", class_="dim") if name else None, value)
             for name, value in list_figures(call) if name != "run")  # fmt: skip
    return element(
        "article",
        element("h3", formatting.format_one_line(call.name, 80), " ", render_status(call.status)),
        element("p", (element("span", reason, class_="chip") for reason in entry.reasons), class_="chips"),
        element("p", facts, " ", element("code", call.span_id, class_="dim"), class_="facts"),
        render_error(call),
        element("div", render_talk(call), class_="panel"),
        map(render_attribution, entry.attributions),
    )
