"""An attribution for the eyes: coloured words in the terminal, a page of HTML. Blue supports, orange opposes,
symmetric around zero.

What was tested and does not stand out from noise has no colour, see `Attribution.stands_out`.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from llm_trace.controls import clean
from llm_trace.rendering.sentences import name_segment, write_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from llm_trace.rendering.scores import ScoredPrompt

BLUE = (0, 114, 178)
"""Okabe and Ito's blue: supports the target."""
ORANGE = (230, 159, 0)
"""Okabe and Ito's orange: opposes it."""
GREY = (160, 160, 160)
"""Of bars that cannot be told from noise."""
_FAINT = 0.04
"""Part of the largest score below which nothing is coloured."""


def scale_of(attribution: ScoredPrompt) -> float:
    """Return the score that gets the full colour."""
    return max((abs(v) for v in attribution.values), default=0.0) or 1.0


def split_pieces(attribution: ScoredPrompt) -> Iterator[tuple[str, int | None]]:
    """Return the prompt in order as (text, index of its segment or `None`)."""
    at = 0
    stretches = sorted((*span, i) for i, s in enumerate(attribution.segments) for span in s.stretches)
    for start, end, i in stretches:
        if start > at:
            yield attribution.prompt[at:start], None
        yield attribution.prompt[start:end], i
        at = end
    if at < len(attribution.prompt):
        yield attribution.prompt[at:], None


def describe_legend(attribution: ScoredPrompt) -> str:
    """Return what the colours mean, with the unit."""
    scale, plain = scale_of(attribution), not all(map(attribution.stands_out, range(len(attribution.values))))
    noise = "; without colour: not told from noise" if plain else ""
    return (
        f"orange -{scale:.2g} · 0 · blue +{scale:.2g} {attribution.unit}; {attribution.method}, "
        f"baseline {attribution.baseline}{noise}"
    )


def choose_colour(
    attribution: ScoredPrompt, i: int, ground: tuple[int, int, int]
) -> tuple[int, int, int] | None:
    """Return the colour of a segment, `None` where its score is faint or cannot be told from noise."""
    if not attribution.stands_out(i):
        return None
    return blend_colour(attribution.values[i], scale_of(attribution), ground)


def blend_colour(value: float, scale: float, ground: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """Return the colour of a score on a ground, `None` where it is too faint to show."""
    share = min(1.0, abs(value) / scale)
    if share < _FAINT:
        return None
    red, green, blue = (
        round(g + (c - g) * share) for c, g in zip(BLUE if value > 0 else ORANGE, ground, strict=True)
    )
    return red, green, blue


def render_terminal(attribution: ScoredPrompt, *, dark: bool = True) -> Text:
    """Return the prompt with its words coloured by score, then the response and the legend, for rich."""
    from rich.text import Text

    scale, ground = scale_of(attribution), (30, 30, 30) if dark else (255, 255, 255)
    text = Text()
    for piece, i in split_pieces(attribution):
        colour = None if i is None else choose_colour(attribution, i, ground)
        text.append(clean(piece), style=None if colour is None else _make_style(colour))
    text.append("\n→ ", style="dim")
    text.append(clean(attribution.response.strip()), style="bold")
    text.append("\n")
    for value in (-1.0, -0.5, 0.0, 0.5, 1.0):
        colour = blend_colour(value * scale, scale, ground)
        text.append(f" {value * scale:+.2g} ", style=None if colour is None else _make_style(colour))
    text.append(f" {clean(attribution.unit)}", style="dim")
    if attribution.verdict != "ok":
        text.append(f"  not evidence: {attribution.verdict}", style="bold red")
    return text


def _make_style(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "white"
    return f"{ink} on #{red:02x}{green:02x}{blue:02x}"


def render_html(attribution: ScoredPrompt, *, title: str = "Attribution") -> str:
    """Return a page that stands alone; everything of the prompt and the response is escaped."""
    verdict = (
        "" if attribution.verdict == "ok" else f'<p class="v">not evidence: {escape(attribution.verdict)}</p>'
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_CSS}</style></head><body>"
        f"<h1>{escape(title)}</h1>{verdict}<p>{escape(write_summary(attribution))}</p>"
        f"{render_fragment(attribution)}"
        f"<h2>Response</h2><pre>{escape(attribution.response)}</pre>"
        f"{_render_table(attribution)}</body></html>"
    )


def render_fragment(attribution: ScoredPrompt) -> str:
    """Return the coloured prompt with its legend as one element, for a page of one's own."""
    words = [
        escape(piece) if i is None else _render_word(attribution, i, piece)
        for piece, i in split_pieces(attribution)
    ]
    return (
        f'<div class="attribution"><pre style="white-space:pre-wrap">{"".join(words)}</pre>'
        f"<p><small>{escape(describe_legend(attribution))}</small></p></div>"
    )


def _render_word(attribution: ScoredPrompt, i: int, piece: str) -> str:
    name, colour = attribution.segments[i].name, choose_colour(attribution, i, (255, 255, 255))
    label = f"{f'{name}: ' if name else ''}{attribution.values[i]:+.3g} {attribution.unit}"
    if attribution.q_values is not None:
        label += f", q {attribution.q_values[i]:.2g}"
    style = ""
    if colour is not None:
        ink = "#000" if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 120 else "#fff"
        style = f' style="background:rgb{colour};color:{ink}"'.replace(", ", ",")
    return f'<span title="{escape(label, quote=True)}"{style}>{escape(piece)}</span>'


def _render_table(attribution: ScoredPrompt) -> str:
    """Return the scores as a table, strongest first, with their bounds."""
    order = sorted(range(len(attribution.values)), key=lambda i: -abs(attribution.values[i]))
    low, high, q_values = attribution.low, attribution.high, attribution.q_values
    rows = [["segment", attribution.unit, attribution.bounds, *(["q"] if q_values is not None else [])]]
    for i in order:
        bounds = "" if low is None or high is None else f"{low[i]:+.3g} to {high[i]:+.3g}"
        rows.append([name_segment(attribution.segments[i]), f"{attribution.values[i]:+.3g}", bounds])
        rows[-1] += [f"{q_values[i]:.2g}"] if q_values is not None else []
    head, *body = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    head = head.replace("td>", "th>")
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"


_CSS = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
    "1rem;color:#111;background:#fff}"
    "pre{font:15px/1.7 ui-monospace,monospace;white-space:pre-wrap}.v{color:#b00020;font-weight:bold}"
    "span{border-radius:3px}td,th{padding:.1rem .8rem .1rem "
    "0;text-align:left;font-variant-numeric:tabular-nums}"
)
