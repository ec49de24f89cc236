"""Where HTML of records stands: in a notebook's cell or on a page of its own; both bring their style."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from llm_trace.rendering.elements import Html, element

if TYPE_CHECKING:
    from llm_trace.rendering.elements import Content

_REM_PX = 15
"""Size of the viewer's text, which a notebook's page does not have."""
# What the front end gives every table and text would shine through; an id's weight, of an id that nobody has,
# stands above all of it. Pictures keep the places of their parts, which are attributes.
_OPENING = """
.llm-trace:not(#_) {
  *:not(svg, svg *) { all: revert; }
  style + * { margin-top: 0; }
  border-radius: 10px; padding: .8rem 1rem; text-align: start; overflow-x: auto;
"""
# Jupyter, VS Code, Colab and documentation say in their own ways whether they are light or dark.
_CLOSING = """
  :is([data-jp-theme-light="true"], .vscode-light, [theme="light"], [data-theme="light"]) & {
    color-scheme: light;
  }
  :is([data-jp-theme-light="false"], .vscode-dark, [theme="dark"], [data-theme="dark"]) & {
    color-scheme: dark;
  }
}
"""
_PAGE = """
body { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
section > h2 { margin-top: 2.2rem; }
article > h3 + .chips { margin: .3rem 0; }
.figures + .figures { margin-top: .5rem; }
article + article > h3 { margin-top: 1.6rem; }
.beside > article > h3 { margin-top: 0; }
@media print { body { max-width: none; padding: 0; } h2, h3 { break-after: avoid; } }
"""


def render_fragment(*content: Content) -> str:
    """Return an element for somebody else's page, such as a notebook; its style touches nothing else."""
    return element("div", Html(f"<style>{_scope_style()}</style>"), *content, class_="llm-trace")


def render_page(title: str, *content: Content) -> str:
    """Return a page that stands alone: no script, no request."""
    head = element(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        Html(f"<style>{_compress(read_style() + _PAGE)}</style>"),
    )
    return f"<!doctype html>\n{element('html', head, element('body', *content), lang='en')}\n"


def read_style() -> str:
    """Return the style sheet of everything that is shown."""
    return (Path(__file__).parent / "static" / "look.css").read_text(encoding="utf-8")


@functools.cache
def _scope_style() -> str:
    """Return the style for what is inside an element of class `llm-trace`, and for nothing else."""
    style = re.sub(r"(?m)^(\s*)(:root|body) \{", r"\1& {", read_style())
    style = f"{_OPENING}{style}{_CLOSING}"
    return re.sub(
        r"(\d*\.?\d+)rem", lambda size: f"{round(float(size[1]) * _REM_PX, 2):g}px", _compress(style)
    )


def _compress(style: str) -> str:
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    return re.sub(r"\s*([{};,])\s*", r"\1", re.sub(r"\s+", " ", style)).strip()
