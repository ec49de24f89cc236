"""What platforms are told of an attribution: a few searchable values, and the page that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.record import Attribution
from llm_trace.rendering.heatmap import render_html

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOP = 5


def record(data: Mapping[str, Any]) -> Attribution:
    """Return an attribution from the fields of its event."""
    return Attribution.from_stored(data)


def build_searchable(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strongest words that stand out from noise with their scores, the verdict and what it
    rests on, as flat values.
    """
    found = record(data)
    shown = filter(found.stands_out, range(len(found.values)))
    order = sorted(shown, key=lambda i: -abs(found.values[i]))[:_TOP]
    words = [" ".join(found.segments[i].text.split()) for i in order]
    told: dict[str, Any] = {
        "top_words": ", ".join(words),
        "scores": ", ".join(f"{w} {found.values[i]:+.3g}" for w, i in zip(words, order, strict=True)),
        "unit": found.unit,
        "method": found.method,
        "baseline": found.baseline,
        "verdict": found.verdict,
        "summary": found.summary(),
        "completeness_gap": found.completeness_gap,
    }
    return {name: value for name, value in told.items() if value is not None}


def render_attribution_page(data: Mapping[str, Any]) -> bytes:
    """Return the heat map as an HTML page that stands alone."""
    return render_html(record(data)).encode()
