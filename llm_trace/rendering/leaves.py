"""The leaves of nested values: made such as a reader can take them, or the texts among them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def convert_leaves(value: Any, convert: Callable[[Any], Any]) -> Any:
    """Return a value of dicts and lists in which each key and leaf is what `convert` makes of it."""
    if isinstance(value, dict):
        return {convert(key): convert_leaves(item, convert) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [convert_leaves(item, convert) for item in value]
    return convert(value)


def walk_texts(value: Any) -> Iterator[str]:
    """Yield the texts of a value of dicts and lists, in their order; keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from walk_texts(item)


def spell_float(value: Any) -> Any:
    """Return NaN and infinities as texts, for JSON has no numbers for them; all else as it is."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def encode_text(text: str) -> str:
    """Return a text with what is no Unicode, such as half of a pair of surrogates, replaced."""
    return text.encode("utf-8", "replace").decode()
