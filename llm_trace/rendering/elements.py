"""HTML from elements, so that no text of a record is ever taken for HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from llm_trace.controls import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    Content = str | int | float | None | Iterable["Content"]


class Html(str):
    """HTML that is shown as it is; every other text is escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return it for templates, which ask for this."""
        return self


def element(tag: str, *content: Content, **attributes: str | float | None) -> Html:
    """Return an element.

    Args:
        content: texts, which are escaped, elements, `None` for nothing, and iterables of these.
        attributes: `class_` is `class`, `aria_label` is `aria-label`; those that are `None` are left out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(clean(str(value)))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{written}>{join_elements(*content)}</{tag}>")


def join_elements(*content: Content) -> Html:
    """Return content after content."""
    return Html("".join(map(_write, content)))


def _write(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Html):
        return content
    if isinstance(content, str | int | float):
        return escape(clean(str(content)))
    return join_elements(*content)
