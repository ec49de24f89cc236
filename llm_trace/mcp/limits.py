"""How long an answer may be: an estimate of tokens that is never too low, and what is cut to keep to it."""

from __future__ import annotations

import math
import re
from typing import Any

from llm_trace.controls import clean
from llm_trace.rendering.texts import cut_text

TOKENS = 3_900
"""Of an answer, at most. It goes out twice, as text and as data: some clients hand on one, some both."""
_LENGTHS = (4000, 2000, 1000, 500, 250, 120, 60, 30)
"""Characters of each text, tried one after the other until the answer is short enough."""
_COUNTS = (100, 50, 25, 12, 6, 3, 1, 0)
"""Entries of each list, tried when shorter texts are not enough."""
_PIECES = re.compile(r"[A-Za-z]+|\d+|[^\x00-\x7f]+|\s+|.", re.DOTALL)


def estimate_tokens(text: str) -> int:
    """Return how many tokens a text has at most for a tokeniser of today.

    Measured beside those of OpenAI and Anthropic on prose, code, JSON, ids, base64 and other scripts
    (`python -m benchmarks.mcp_tools --tokens`).
    """
    return math.ceil(sum(map(_weigh_piece, _PIECES.findall(text))))


def _weigh_piece(piece: str) -> float:
    size, first = len(piece), piece[0]
    if not first.isascii():
        return len(piece.encode("utf-8", "replace"))
    if first.isalpha():
        is_word = size <= 12 and (piece.islower() or piece[1:].islower())
        return math.ceil(size / 5) if is_word else 0.85 * size
    if first.isdigit():
        return math.ceil(size / 2)
    return 0 if piece == " " else 1


def simplify(value: Any) -> Any:
    """Return JSON values with four significant digits, and texts without control characters."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean(str(key)): simplify(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [simplify(item) for item in value]
    return value if value is None or isinstance(value, int) else clean(str(value))


def shrink(value: Any, characters: int, entries: int) -> Any:
    """Return JSON values with the beginning of each text and of each list."""
    if isinstance(value, str):
        return cut_text(value, characters)
    if isinstance(value, dict):
        items = list(value.items())[: max(entries, 12)]
        return {cut_text(key, characters): shrink(item, characters, entries) for key, item in items}
    if isinstance(value, list):
        return [shrink(item, characters, entries) for item in value[:entries]]
    return value


def list_sizes() -> list[tuple[int, int]]:
    """Return the sizes to shrink to, the largest first: characters of a text, entries of a list."""
    return [(length, _COUNTS[0]) for length in _LENGTHS] + [(_LENGTHS[-1], count) for count in _COUNTS[1:]]
