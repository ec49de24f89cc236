"""How results and messages name things that users pass in."""

from __future__ import annotations

from typing import Any


def name_callable(fn: Any) -> str:
    """Return the qualified name of a function or class, of any other callable that of its class."""
    return str(getattr(fn, "__qualname__", type(fn).__qualname__))


def locate_callable(fn: Any) -> str:
    """Return `module:name` of a callable, the same in every process."""
    return f"{getattr(fn, '__module__', '?')}:{name_callable(fn)}"


def shorten_text(text: str, most: int = 40) -> str:
    """Return a text that is at most so many characters long, an ellipsis where it goes on."""
    return text if len(text) <= most else text[: most - 1] + "…"
