"""What a store says of itself: its schema, how far it has read the spool, what was lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store


@dataclass(frozen=True)
class StoreFacts:
    """What a store holds and what it has read."""

    schema: int | None = None
    """Number of its last migration."""
    calls: int = 0
    runs: int = 0
    interrupted: int = 0
    """Calls whose process died."""
    positions: dict[str, int] = field(default_factory=dict)
    """Bytes read of each spool file."""
    lost: Counter[str] = field(default_factory=Counter)
    """Events that writers said they lost, by reason."""


def read_store_facts(store: Store) -> StoreFacts:
    """Return what a store holds and what it has read.

    Raises:
        StoreError: it cannot be read.
    """
    ((schema, calls, runs, interrupted),) = store.fetch("""
        SELECT (SELECT max(number) FROM _migrations), (SELECT count(*) FROM calls),
               (SELECT count(*) FROM runs), (SELECT count(*) FROM calls WHERE status = 'interrupted')
    """)
    lost = store.fetch(
        "SELECT coalesce(reason, 'unknown'), sum(count)::BIGINT FROM _lost GROUP BY 1 ORDER BY 1"
    )
    positions = store.fetch("SELECT file, position FROM _files")
    return StoreFacts(
        schema,
        calls,
        runs,
        interrupted,
        positions={str(file): int(position) for file, position in positions},
        lost=Counter({str(reason): int(count) for reason, count in lost if count}),
    )


def count_totals(store: Store) -> dict[str, int]:
    """Return how many calls a store has, how many were interrupted, lost, or set aside as unreadable."""
    (row,) = store.fetch("""
        SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM calls WHERE status = 'interrupted'),
               (SELECT coalesce(sum(count), 0)::BIGINT FROM _lost),
               (SELECT coalesce(sum(bad_lines), 0)::BIGINT FROM _files)
    """)
    return dict(zip(("calls", "interrupted", "lost", "quarantined"), map(int, row), strict=True))
