"""An attribution for the eyes: coloured words in the terminal. Blue supports, orange opposes,
symmetric around zero.

What was tested and does not stand out from noise has no colour, see `Attribution.stands_out`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llm_trace.controls import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    """Return the score that gets the full colour: the largest finite one."""
    return find_scale(attribution.values)


def find_scale(values: Iterable[float]) -> float:
    """Return the largest finite value without its sign, 1 where all are 0."""
    return max((abs(v) for v in values if math.isfinite(v)), default=0.0) or 1.0


def measure_share(value: float, scale: float) -> float:
    """Return how large a score is on a scale, from 0 to 1; 0 for NaN."""
    return 0.0 if math.isnan(value) else min(1.0, abs(value) / scale)


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


def choose_colour(
    attribution: ScoredPrompt, i: int, ground: tuple[int, int, int]
) -> tuple[int, int, int] | None:
    """Return the colour of a segment, `None` where its score is faint or cannot be told from noise."""
    if not attribution.stands_out(i):
        return None
    return blend_colour(attribution.values[i], scale_of(attribution), ground)


def blend_colour(value: float, scale: float, ground: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """Return the colour of a score on a ground, `None` where it is too faint to show."""
    share = measure_share(value, scale)
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
