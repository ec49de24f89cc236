"""A comparison as a page that stands alone: no script, no link, every text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from llm_trace.comparison import words
from llm_trace.comparison.show import HEADS, format_cells

if TYPE_CHECKING:
    from llm_trace.comparison.records import ComparisonRecord, Loss, Metric

STYLE = """
.llm-trace { font: 14px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; }
.llm-trace table { border-collapse: collapse; margin: 1em 0; }
.llm-trace td, .llm-trace th { padding: .25em .8em; text-align: right; border-bottom: 1px solid #8884; }
.llm-trace td:first-child, .llm-trace th:first-child, .llm-trace td:last-child { text-align: left; }
.llm-trace .better { color: #18794e; font-weight: 600; }
.llm-trace .worse { color: #ca244d; font-weight: 600; }
.llm-trace .warning { color: #ad5700; }
"""


WIDE = 1000
"""Units across the picture of the bounds."""


def render_page(comparison: ComparisonRecord) -> str:
    """Return the whole page."""
    title = escape(f"{comparison.b} against {comparison.a}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{render_body(comparison)}</body></html>\n'
    )


def render_body(comparison: ComparisonRecord) -> str:
    """Return the part that goes into any page, such as a notebook's."""
    parts = [
        f"<style>{STYLE}</style>",
        f"<h1>{escape(comparison.b)} against {escape(comparison.a)}</h1>",
        (
            f"<p>{words.count_things(comparison.pairs, 'pair')} by {escape(comparison.paired_by)}; bounds at "
            f"{comparison.confidence:.0%}.</p>"
        ),
        *(f'<p class="warning">{escape(text)}</p>' for text in comparison.warnings),
        _render_table(comparison.metrics),
        *(
            f"<h2>{escape(part.name)}, "
            f"{words.count_things(part.pairs, 'pair')}</h2>{_render_table(part.metrics)}"
            for part in comparison.slices
        ),
        *(["<h2>Pairs that got worse</h2>"] if comparison.losses else []),
        *map(_render_loss, comparison.losses),
        *(
            f"<p>Unpaired in {u.side}: {words.count_things(u.calls, 'call')}, {escape(u.reason)}</p>"
            for u in comparison.unpaired
        ),
        *(f"<p>{escape(text)}</p>" for text in comparison.notes),
    ]
    return f'<div class="llm-trace">{"".join(parts)}</div>'


def _render_loss(loss: Loss) -> str:
    sides = "".join(
        f"<dt>{side} <code>{span}</code></dt><dd>{escape(output)}</dd>"
        for side, span, output in (("a", loss.a, loss.output_a), ("b", loss.b, loss.output_b))
    )
    return f"<dl><dt><b>{escape(words.describe_loss(loss))}</b></dt>{sides}</dl>"


def _render_table(metrics: tuple[Metric, ...]) -> str:
    head = "".join(f"<th>{name}</th>" for name in HEADS)
    rows = "".join(_render_row(metric) for metric in metrics)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _render_row(metric: Metric) -> str:
    *cells, verdict = (escape(cell) for cell in format_cells(metric))
    return (
        f'<tr>{"".join(f"<td>{cell}</td>" for cell in cells)}<td class="{metric.verdict}">{verdict}</td></tr>'
    )


def draw_range(metric: Metric) -> dict[str, float] | None:
    """Return where dot and whiskers of a difference stand on a line whose middle is no difference."""
    if metric.low is None or metric.high is None:
        return None
    reach = max(abs(metric.low), abs(metric.high), abs(metric.difference)) or 1.0
    low, dot, high = (
        round((value / reach + 1) * WIDE / 2, 1) for value in (metric.low, metric.difference, metric.high)
    )
    return {"low": low, "dot": dot, "high": high, "width": round(high - low, 1)}
