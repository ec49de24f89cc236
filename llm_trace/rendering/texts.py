"""Texts and data cut to what one looks at."""

from __future__ import annotations

import json
from typing import Any

from llm_trace.rendering.media import name_media

LONGEST = 4000
"""Characters of a text in a notebook or a report."""


def cut_text(text: str, most: int = LONGEST) -> str:
    """Return the beginning of a text, and how much more there is."""
    left = len(text) - most
    if left <= 0:
        return text
    return f"{text[: most - 1]}…" if most < 200 else f"{text[:most]}\n… {left:,} more characters"


def format_text(data: Any, most: int = LONGEST) -> str:
    """Return the beginning of a text, also of one recorded in part, other data as JSON, media by name."""
    if data is None:
        return ""
    shown = name_media(data)
    if isinstance(shown, dict) and shown.get("__type__") == "str" and isinstance(shown.get("value"), str):
        whole = shown.get("truncated")
        note = f"\n… cut when it was recorded: it had {whole:,} characters" if whole else ""
        return cut_text(shown["value"], most) + note
    if not isinstance(shown, str):
        shown = json.dumps(shown, indent=2, ensure_ascii=False, default=str)
    return cut_text(shown, most)
