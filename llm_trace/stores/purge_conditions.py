"""Which calls a purge takes, and what it says that it did: of a store and of a lake alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.stores.filters import convert_to_nanoseconds

if TYPE_CHECKING:
    from llm_trace.stores.filters import Moment


@dataclass(frozen=True)
class PurgeReport:
    """What a purge removed, and what is still to go."""

    calls: int = 0
    messages: int = 0
    """Messages that no remaining call has."""
    scores: int = 0
    attributions: int = 0
    runs: int = 0
    spool_lines: int = 0
    """Lines made unreadable in quarantine, in refused events, and in spool files that others still need."""
    bytes_before: int = 0
    """Size of the DuckDB file, or of a lake's files."""
    bytes_after: int = 0
    pending: tuple[str, ...] = ()
    """Spool files of living writers that still hold removed calls; they go when the writer is done."""


def build_condition(
    user: str | None,
    run: str | None,
    identity: str | None,
    older_than: Moment | None,
) -> tuple[str, list[Any]]:
    """Return the condition over `calls` that all of these hold, empty where none is given, and its values."""
    parts: list[str] = []
    values: list[Any] = []
    if user is not None:
        parts.append('"user" = ?')
        values.append(user)
    if run is not None:
        parts.append("(run = ? OR run IN (SELECT id FROM runs WHERE name = ?))")
        values += [run, run]
    if identity is not None:
        parts.append("(span_id = ? OR trace_id = ?)")
        values += [identity, identity]
    if older_than is not None:
        parts.append("start_ns < ?")
        values.append(convert_to_nanoseconds(older_than))
    return " AND ".join(parts), values
