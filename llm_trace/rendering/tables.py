"""Tables as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_trace.rendering.elements import Html, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.rendering.elements import Content


class Column(NamedTuple):
    """A column: its head, and the classes of its cells."""

    head: str
    kind: str | None = None


def render_table(columns: Sequence[Column], rows: Iterable[Iterable[Content]], left: int = 0) -> Html:
    """Return a table, and below it how many rows are left out."""
    head = (element("th", column.head, scope="col", class_=column.kind) for column in columns)
    body = (element("tr", map(_render_cell, row, columns)) for row in rows)
    return element(
        "div",
        element("table", element("thead", element("tr", head)), element("tbody", body)),
        element("p", f"… {left:,} more", class_="dim") if left > 0 else None,
        class_="scroll",
    )


def _render_cell(content: Content, column: Column) -> Html:
    return element("td", content, class_=column.kind)
