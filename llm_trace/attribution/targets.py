"""What of the response is explained: all of it, a stretch, a pattern, one token."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.attribution.segments import Span

Target = str | re.Pattern[str] | tuple[int, int] | int | None
"""`None`: the whole response; a text or pattern in it; characters (start, end); the index of one token, negative from the end."""


def rows_of(target: Target, response: str, spans: Sequence[Span]) -> tuple[list[int], str]:
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
    stretches = _stretches(target, response)
    rows = [
        i
        for i, (a, b) in enumerate(spans)
        if any(a < end and start < max(b, a + 1) for start, end in stretches)
    ]
    if not rows:
        raise AttributionError(f"target {target!r} holds no token of the response {response[:80]!r}")
    return rows, " and ".join(repr(response[start:end]) for start, end in stretches)


def _stretches(target: str | re.Pattern[str] | tuple[int, int], response: str) -> list[Span]:
    if isinstance(target, re.Pattern):
        found = [m.span() for m in target.finditer(response) if m.end() > m.start()]
    elif isinstance(target, str):
        at = response.find(target) if target else -1
        found = [] if at < 0 else [(at, at + len(target))]
    else:
        start, end = target
        found = [(start, end)] if 0 <= start < end <= len(response) else []
    if not found:
        raise AttributionError(f"target {target!r} does not stand in the response {response[:80]!r}")
    return found
