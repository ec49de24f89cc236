"""What of the response is explained: all, a stretch, a pattern, a token, or one answer over another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llm_trace.attribution_settings import Contrast as Contrast
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.attribution.question.segmenters import Span


Target = str | re.Pattern[str] | tuple[int, int] | tuple[str, str] | int | Contrast | None
"""`None`: the whole response; a text or pattern in it; characters (start, end); the index of one token,
negative from the end; or a `Contrast`, also as a pair of texts.
"""
ResponsePart = str | re.Pattern[str] | tuple[int, int] | int | None


def get_contrast(target: Target) -> Contrast | None:
    """Return the contrast that a target is, or `None`."""
    if isinstance(target, tuple) and len(target) == 2 and all(isinstance(t, str) for t in target):
        return Contrast(*(str(t) for t in target))
    return target if isinstance(target, Contrast) else None


def replace_contrast(contrast: Contrast, response: str) -> tuple[Span, str]:
    """Return where `this` stands in the response, and the response with `that` in its place.

    Raises:
        AttributionError: the response does not contain `this`, or both are the same.
    """
    start, end = (0, len(response)) if contrast.this is None else _find_stretches(contrast.this, response)[0]
    piece, that = response[start:end], contrast.that
    if not that[:1].isspace():
        that = piece[: len(piece) - len(piece.lstrip())] + that
    if that == piece:
        raise AttributionError(f"the contrast is between {piece!r} and itself: name another answer")
    return (start, end), response[:start] + that + response[end:]


def find_decision_rows(
    this: Sequence[int], that: Sequence[int], this_rows: Sequence[int], that_rows: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return the rows of both answers from the first token in which they differ."""
    shared = next(
        (i for i, (a, b) in enumerate(zip(this, that, strict=False)) if a != b), min(len(this), len(that))
    )
    return list(range(shared, max(this_rows) + 1)), list(range(shared, max(that_rows) + 1))


def find_rows(target: ResponsePart, response: str, spans: Sequence[Span]) -> tuple[list[int], str]:
    """Return the indices of the response's tokens that are explained, and the target in words.

    A token belongs to a stretch of characters when they overlap.

    Raises:
        AttributionError: the response does not contain the target.
    """
    if target is None:
        return list(range(len(spans))), "the whole response"
    if isinstance(target, int):
        if not -len(spans) <= target < len(spans):
            raise AttributionError(f"target {target!r} is outside the response's {len(spans)} tokens")
        return [target % len(spans)], f"token {target % len(spans)}"
    stretches = _find_stretches(target, response)
    rows = [
        i
        for i, (a, b) in enumerate(spans)
        if any(a < end and start < max(b, a + 1) for start, end in stretches)
    ]
    if not rows:
        raise AttributionError(f"target {target!r} holds no token of the response {response[:80]!r}")
    return rows, " and ".join(repr(response[start:end]) for start, end in stretches)


def _find_stretches(target: str | re.Pattern[str] | tuple[int, int], response: str) -> list[Span]:
    if isinstance(target, re.Pattern):
        stretches = [m.span() for m in target.finditer(response) if m.end() > m.start()]
    elif isinstance(target, str):
        at = response.find(target) if target else -1
        stretches = [] if at < 0 else [(at, at + len(target))]
    else:
        start, end = target
        stretches = [(start, end)] if 0 <= start < end <= len(response) else []
    if not stretches:
        raise AttributionError(f"target {target!r} does not stand in the response {response[:80]!r}")
    return stretches
