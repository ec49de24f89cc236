"""What is said about stored calls afterwards, written to their store's spool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from llm_trace.errors import StoreError
from llm_trace.settings import build_spool_writer, resolve_settings

if TYPE_CHECKING:
    from pathlib import Path


class EventWriter:
    """Writes events to a store's spool, whatever this process records otherwise; a context manager.

    Args:
        store: the DuckDB file. An event goes where its call went: to whatever destinations the store has.
    """

    def __init__(self, store: Path) -> None:
        settings = resolve_settings({}) | {"redact": None, "exporters": None}
        self._spool, self._encoder = build_spool_writer(settings, store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def write(self, event: dict[str, Any], what: str) -> None:
        """Append an event.

        Args:
            event: as the spool's format has it.
            what: its name in the error.

        Raises:
            StoreError: the spool cannot be written, and the event is not kept.
        """
        if not self._spool.write(self._encoder.encode_event(event)[:-1]):
            raise StoreError(f"{what} was not kept: {self._spool.folder} cannot be written")
