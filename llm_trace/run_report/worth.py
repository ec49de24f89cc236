"""What operating with explanations is worth, as a part of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.operations.worth_figures import TOPICS
from llm_trace.operations.worth_summary import worth
from llm_trace.rendering import formatting
from llm_trace.rendering.elements import Html, element
from llm_trace.rendering.tables import Column, render_table

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

_COLUMNS = (Column("What"), Column("How much", "num"), Column("Rests on", "dim"))


def render_worth(store: Store) -> Html | None:
    """Return what is known of it over all runs, with bounds, and what is not, with the reason; `None` where
    nothing is known.
    """
    result = worth(store)
    if not result.known:
        return None
    rows = (
        (
            f"{TOPICS[figure.topic]}: {formatting.format_one_line(figure.name, 120)}",
            figure.shown,
            element("bdi", formatting.format_one_line(figure.words, 500)),
        )
        for figure in result.known
    )
    unknown = [
        element("li", f"{formatting.format_one_line(f.name, 120)}: ", element("bdi", f.words))
        for f in result.figures
        if f.value is None
    ]
    return element(
        "div",
        element("p", "Over all runs of the store.", class_="dim"),
        render_table(_COLUMNS, rows),
        element("p", "Not known, which is not nothing:", class_="dim") if unknown else None,
        element("ul", unknown, class_="dim") if unknown else None,
    )
