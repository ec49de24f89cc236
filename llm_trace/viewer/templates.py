"""The templates and what they may call: every text is escaped, and its control characters made visible."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from llm_trace.controls import clean
from llm_trace.rendering import formatting, texts
from llm_trace.rendering.attribution_html import render_words
from llm_trace.rendering.curves import draw_curve
from llm_trace.rendering.media import name_media
from llm_trace.rendering.pictures import list_pictures
from llm_trace.rendering.ranges import draw_range
from llm_trace.viewer import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST = 200_000
"""Characters of a text that a page shows; its JSON has them all."""
EXCERPT = 1000
"""Characters of a text that stands among others."""
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")


def render_template(template: str, data: Mapping[str, Any]) -> str:
    """Return a page."""
    return _make_environment().get_template(template).render(data)


@functools.cache
def _make_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("llm_trace.viewer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "clock": formatting.format_clock,
        "cost": formatting.format_cost,
        "duration": formatting.format_duration,
        "excerpt": functools.partial(texts.format_text, most=EXCERPT),
        "markdown": render_markdown,
        "one_line": formatting.format_one_line,
        "pictures": list_pictures,
        "pretty": format_pretty,
        "tool_answer": format_tool_answer,
        "segment": lambda text: quote(str(text), safe=""),
        "size": formatting.format_size,
        "text": functools.partial(texts.format_text, most=LONGEST),
        "thousands": lambda number: "" if number is None else f"{number:,}",
    }
    environment.globals |= {
        "render_words": render_words,
        "all_columns": columns.COLUMNS,
        "default_columns": columns.DEFAULT,
        "draw_curve": draw_curve,
        "draw_range": draw_range,
        "sparkline": place_sparkline,
        "tokens": formatting.format_tokens,
    }
    return environment


def _finalize(value: Any) -> Any:
    """Return what stands for a value on a page: nothing for `None`, visible signs for control characters."""
    if value is None:
        return ""
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def place_sparkline(bars: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return the points of a line through a number of each stretch of time, 100 wide and 20 high."""
    values = [bar[name] or 0 for bar in bars]
    top = max(values, default=0)
    if len(values) < 2 or not top:
        return ""
    step = 100 / (len(values) - 1)
    return " ".join(f"{i * step:.1f},{19 - 18 * value / top:.1f}" for i, value in enumerate(values))


def render_markdown(text: str) -> Markup:
    """Return a text's Markdown as HTML: no HTML of its own, no link but http, https and mailto, no image."""
    shown = _MARKDOWN.render(clean(texts.cut_text(name_media(text), LONGEST)))
    return Markup(shown)


def format_pretty(data: Any) -> str:
    """Return JSON data for people, with media by name and size."""
    return texts.cut_text(json.dumps(name_media(data), indent=2, ensure_ascii=False, default=str), LONGEST)


def format_tool_answer(data: Any) -> str:
    """Return what a tool answered, for people: of a text with JSON in it the JSON, of another the text."""
    if not isinstance(data, str):
        return format_pretty(data)
    try:
        inside = json.loads(data)
    except ValueError:
        inside = None
    return format_pretty(inside) if isinstance(inside, dict | list) else texts.cut_text(data, LONGEST)
