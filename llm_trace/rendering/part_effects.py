"""Parts of an input that were tested by asking again without them, as HTML for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_trace.rendering.elements import element
from llm_trace.rendering.formatting import format_one_line
from llm_trace.rendering.pages import render_fragment
from llm_trace.rendering.ranges import draw_range, place_range
from llm_trace.rendering.tables import Column, render_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.rendering.elements import Content


class PartEffect(NamedTuple):
    """A part, what became of the answers with it and without it, and its effect with bounds."""

    name: str
    text: str
    with_it: str
    without_it: str
    effect: float
    low: float
    high: float
    stands_out: bool
    """Whether the effect is told from chance."""


def render_part_effects(
    heads: tuple[str, str, str, str], parts: Sequence[PartEffect], summary: str, notes: Sequence[str]
) -> str:
    """Return a summary, a line for each part and notes as HTML for somebody else's page.

    Args:
        heads: of the columns for the part, the answers with it and without it, and the effect.
    """
    named, with_it, without_it, effect = heads
    columns = (
        Column(named), Column("Text", "excerpt"), Column(with_it, "num nowrap"),
        Column(without_it, "num nowrap"), Column(effect),
    )  # fmt: skip
    table = render_table(columns, map(_list_cells, parts)) if parts else None
    return render_fragment(
        element("p", element("strong", summary), class_="lead"),
        table,
        (element("p", note, class_="dim") for note in notes),
    )


def _list_cells(part: PartEffect) -> tuple[Content, ...]:
    bounds = f"{part.low:+.2f} to {part.high:+.2f}"
    line = draw_range(place_range(part.effect, part.low, part.high, 1.0), "", f"{part.effect:+.2f}, {bounds}")
    return (
        element("strong" if part.stands_out else "span", part.name),
        element("bdi", format_one_line(part.text, 300)),
        part.with_it,
        part.without_it,
        (line, " ", element("span", f"{part.effect:+.2f} ({bounds})", class_="dim nowrap")),
    )
