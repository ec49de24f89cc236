"""An attribution as a picture: PNG, SVG or PDF by matplotlib (extra `plot`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.attribution.core.naming import shorten_text
from llm_trace.errors import MissingExtraError
from llm_trace.rendering.heatmap import BLUE, GREY, ORANGE, scale_of

if TYPE_CHECKING:
    import os

    from llm_trace.record import Attribution

MOST = 30
"""Segments that a picture shows, the strongest."""


def draw_figure(attribution: Attribution, *, most: int = MOST) -> Any:
    """Return a matplotlib figure: one bar a segment in the prompt's order, with bounds where there are some.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise MissingExtraError("'matplotlib' is not installed: pip install 'llm-trace[plot]'") from exc
    a = attribution
    strongest = sorted(range(len(a.values)), key=lambda i: -abs(a.values[i]))[:most]
    shown = sorted(strongest, reverse=True)
    figure = Figure(figsize=(7, 0.6 + 0.28 * len(shown)), layout="constrained")
    axes = figure.subplots()
    values = [a.values[i] for i in shown]
    chosen = [(BLUE if a.values[i] > 0 else ORANGE) if a.stands_out(i) else GREY for i in shown]
    colours = [tuple(c / 255 for c in colour) for colour in chosen]
    places = list(range(len(shown)))
    axes.barh(places, values, color=colours)
    if a.low is not None and a.high is not None:
        low, high = ([abs(bound[i] - a.values[i]) for i in shown] for bound in (a.low, a.high))
        axes.errorbar(values, places, xerr=[low, high], fmt="none", ecolor="black", elinewidth=0.8)
    axes.set_yticks(places, [_label(a.segments[i].text) for i in shown], parse_math=False)
    scale = 1.05 * max([scale_of(a), *(abs(x) for bound in (a.low, a.high) if bound for x in bound)])
    axes.set_xlim(-scale, scale)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"{a.unit}; {a.method}, baseline {a.baseline}", parse_math=False)
    verdict = "" if a.verdict == "ok" else f" (not evidence: {a.verdict})"
    axes.set_title(_label(a.response, 60) + verdict, loc="left", parse_math=False)
    return figure


def save(attribution: Attribution, path: str | os.PathLike[str], *, most: int = MOST) -> None:
    """Write the picture; the ending of the path says which format.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    draw_figure(attribution, most=most).savefig(path)


def _label(text: str, most: int = 30) -> str:
    return shorten_text(" ".join(text.split()), most)
