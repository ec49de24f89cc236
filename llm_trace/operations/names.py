"""Names as callers give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_subject(what: str, name: str) -> None:
    """Refuse a name that nobody could find again in the store.

    Raises:
        ConfigurationError: it is empty.
    """
    if not name.strip():
        raise ConfigurationError(f"{what} has the name {name!r}: give one that it can be found by")


def collect_texts(texts: Iterable[str] | str) -> tuple[str, ...]:
    """Return texts; one without a list around it is one text, not its letters."""
    return (texts,) if isinstance(texts, str) else tuple(texts)
