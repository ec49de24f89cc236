"""What results and messages call things that users pass in."""

from __future__ import annotations

from typing import Any


def name_callable(fn: Any) -> str:
    """Return the qualified name of a function or class, of any other callable that of its class."""
    return str(getattr(fn, "__qualname__", type(fn).__qualname__))


def locate_callable(fn: Any) -> str:
    """Return `module:name` of a callable, the same in every process."""
    return f"{getattr(fn, '__module__', '?')}:{name_callable(fn)}"
