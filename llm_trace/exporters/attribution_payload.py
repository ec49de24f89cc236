"""What platforms are told of an attribution: a few searchable values, and the page that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.record import Attribution
from llm_trace.rendering.attribution_html import render_attribution_page

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOP = 5


def record(data: Mapping[str, Any]) -> Attribution:
    """Return an attribution from the fields of its event."""
    return Attribution.from_stored(data)


def build_searchable(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strongest words that stand out from noise with their scores and bounds, the verdict and
    what it rests on, as flat values.
    """
    attribution = record(data)
    shown = filter(attribution.stands_out, range(len(attribution.values)))
    order = sorted(shown, key=lambda i: -abs(attribution.values[i]))[:_TOP]
    words = [" ".join(attribution.segments[i].text.split()) for i in order]
    ends = list(zip(attribution.low or (), attribution.high or (), strict=True))
    intervals = [
        f"{w} {ends[i][0]:+.3g} to {ends[i][1]:+.3g}" for w, i in zip(words, order, strict=True) if ends
    ]
    fields: dict[str, Any] = {
        "top_words": ", ".join(words),
        "scores": ", ".join(f"{w} {attribution.values[i]:+.3g}" for w, i in zip(words, order, strict=True)),
        "intervals": ", ".join(intervals) or None,
        "bounds": attribution.bounds,
        "unit": attribution.unit,
        "method": attribution.method,
        "baseline": attribution.baseline,
        "verdict": attribution.verdict,
        "summary": attribution.summary(),
        "completeness_gap": attribution.completeness_gap,
    }
    return {name: value for name, value in fields.items() if value is not None}


def encode_attribution_page(data: Mapping[str, Any]) -> bytes:
    """Return the heat map as an HTML page that stands alone."""
    return render_attribution_page(record(data)).encode()
