"""A comparison as HTML: what is decided, each metric with its bounds, the pairs that got worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.comparison import words
from llm_trace.comparison.show import format_cells
from llm_trace.rendering import pages
from llm_trace.rendering.elements import Html, element
from llm_trace.rendering.formatting import count_things
from llm_trace.rendering.ranges import draw_range, place_range
from llm_trace.rendering.record_html import render_difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.comparison.records import ComparisonRecord, Loss, Metric


def render_comparison_page(comparison: ComparisonRecord) -> str:
    """Return a page that stands alone: no script, no link, every text escaped."""
    title = f"{comparison.b} against {comparison.a}"
    return pages.render_page(title, element("h1", title), render_comparison_html(comparison))


def render_body(comparison: ComparisonRecord) -> str:
    """Return the part that goes into any page, such as a notebook's."""
    title = element("h2", f"{comparison.b} against {comparison.a}")
    return pages.render_fragment(title, render_comparison_html(comparison))


def render_comparison_html(comparison: ComparisonRecord) -> Html:
    """Return all of a comparison but its title."""
    about = (
        f"{count_things(comparison.pairs, 'pair')} by {comparison.paired_by} of "
        f"{comparison.calls[0]:,} and {comparison.calls[1]:,} calls"
    )
    return element(
        "section",
        element("p", element("strong", words.conclude(comparison)), class_="lead"),
        element("p", costs) if (costs := words.describe_costs(comparison)) else None,
        element("p", about, class_="dim"),
        (element("p", text, class_="remark") for text in comparison.warnings),
        _render_metrics(comparison),
        element("h3", "What got worse") if comparison.losses else None,
        map(render_loss, comparison.losses),
        (
            element("p", f"Unpaired in {u.side}: {count_things(u.calls, 'call')}, {u.reason}", class_="dim")
            for u in comparison.unpaired
        ),
        (element("p", text, class_="dim") for text in comparison.notes),
    )


def _render_metrics(comparison: ComparisonRecord) -> Html:
    heads = ("Metric", "A", "B", "Difference", f"{100 * comparison.confidence:g} % bounds", "q", "Verdict")
    head = (
        element("th", text, scope="col", class_="num" if text in ("A", "B", "q") else None) for text in heads
    )
    groups = [("", comparison.pairs, comparison.metrics)]
    groups += [(part.name, part.pairs, part.metrics) for part in comparison.slices]
    body = [row for name, pairs, metrics in groups for row in _list_rows(name, pairs, metrics)]
    return element(
        "div",
        element("table", element("thead", element("tr", head)), element("tbody", body), class_="metrics"),
        class_="scroll",
    )


def _list_rows(name: str, pairs: int, metrics: Sequence[Metric]) -> list[Html]:
    heading = element("th", f"{name}, {count_things(pairs, 'pair')}", colspan=7, scope="rowgroup")
    return [*([element("tr", heading, class_="group")] if name else []), *map(_render_metric, metrics)]


def _render_metric(metric: Metric) -> Html:
    name, pairs, a, b, difference, _, q, verdict = format_cells(metric)
    places, bounds = place_bounds(metric), words.format_bounds(metric)
    return element(
        "tr",
        element("th", name, element("span", f" {pairs}", class_="dim"), scope="row"),
        element("td", a, class_="num"),
        element("td", b, class_="num"),
        element("td", difference.partition(" (")[0], class_="num"),
        element("td", draw_range(places, f"d-{metric.verdict}", bounds) if places else None, " ",
                element("span", bounds, class_="dim nowrap")),
        element("td", q, class_="num"),
        element("td", verdict, class_=f"verdict d-{metric.verdict}"),
    )  # fmt: skip


def place_bounds(metric: Metric) -> dict[str, float] | None:
    """Return where dot and whiskers of a difference stand; `None` without bounds."""
    if metric.low is None or metric.high is None:
        return None
    return place_range(metric.difference, metric.low, metric.high)


def render_loss(loss: Loss) -> Html:
    """Return a pair that got worse, with what changed in the answer."""
    before, after = map(words.format_number, (loss.before, loss.after))
    return element(
        "article",
        element("h4", f"{loss.metric}: {before} → {after}"),
        element("p", element("bdi", loss.input)),
        element("p", render_difference(loss.output_a, loss.output_b), class_="diff"),
        element("p", "a ", element("code", loss.a), " · b ", element("code", loss.b), class_="dim"),
        class_="loss",
    )
