"""Reads what monitors follow as it comes, each thing once, whatever clocks say."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.operations.monitors_values import (
    MetricReading,
    read_attribution,
    read_decision,
    read_metrics,
    read_score,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.filters import Filter

LATE_NS = 60 * 10**9
"""How much older than the newest what comes later may be without being looked for."""
REMEMBERED = 100_000
"""Rows of each source whose ids are remembered."""
Row = tuple[Any, ...]


class _Source(NamedTuple):
    """Rows of one kind, about the watched calls `c`."""

    id: str
    moment: str
    columns: str
    """What it has of its own, beside its call's."""
    tables: str
    condition: str
    details: str = ""
    """Tables that only the columns need."""
    calls: str = "SELECT * FROM calls WHERE {}"

    def count_rows(self, chosen: str) -> str:
        """Return the query for the number of rows."""
        return f"{self._begin(chosen)} SELECT count(*) FROM {self.tables} WHERE {self.condition}"

    def list_ids(self, chosen: str, first: int, last: int) -> str:
        """Return the query for the ids of a stretch of time."""
        return (
            f"{self._begin(chosen)} SELECT {self.id}, {self.moment} FROM {self.tables} "
            f"WHERE {self.condition} AND {self.moment} BETWEEN {first} AND {last}"
        )

    def read_rows(self, chosen: str, which: str) -> str:
        """Return the query for whole rows, in the order in which they happened."""
        call = "c.span_id, c.name, c.prompt_name, c.prompt_version, c.model"
        return (
            f"{self._begin(chosen)} SELECT {self.id}, {self.moment} AS moment, {call}, {self.columns} "
            f"FROM {self.tables} {self.details} WHERE {self.condition} AND {which} ORDER BY moment, 1"
        )

    def _begin(self, chosen: str) -> str:
        return f"WITH c AS ({self.calls.format(chosen)})"


_SOURCES: tuple[tuple[_Source, Callable[[Sequence[Any], Sequence[str]], Iterator[MetricReading]]], ...] = (
    (
        _Source(
            id="c.span_id",
            moment="coalesce(c.end_ns, c.start_ns)",
            columns="""c.status, c.duration_ms, c.cost_usd,
                coalesce(m.text, CASE WHEN json_type(c.output) = 'VARCHAR' THEN c.output ->> '$' END)[:400],
                coalesce(m.body ->> '$.finish_reason', m.body ->> '$.stop_reason'),
                coalesce(m.body ->> '$.refusal', '') <> ''""",
            tables="c",
            condition="c.status IN ('ok', 'error', 'interrupted')",
            details="LEFT JOIN messages m ON m.id = c.messages_out[len(c.messages_out)]",
        ),
        lambda row, _: read_metrics(row),
    ),
    (
        _Source(
            id="coalesce(s.id, s.span_id || s.name)",
            moment="s.time_ns",
            columns="s.name, s.number, s.value",
            tables="scores s JOIN calls own ON own.span_id = s.span_id JOIN c ON c.trace_id = own.trace_id",
            condition="true",
            # A score may stand at the call around the one that is watched.
            calls="""SELECT trace_id, span_id, name, prompt_name, prompt_version, model FROM calls WHERE {}
                QUALIFY row_number() OVER (PARTITION BY trace_id ORDER BY start_ns, span_id) = 1""",
        ),
        lambda row, _: read_score(row),
    ),
    (
        _Source(
            id="a.span_id || a.method || a.config_hash",
            moment="a.time_ns",
            columns="a.attribution, c.prompt_variables, p.template",
            tables="attributions a JOIN c ON c.span_id = a.span_id",
            condition="a.status = 'ok'",
            details="LEFT JOIN prompts p ON p.name = c.prompt_name AND p.version = c.prompt_version",
        ),
        read_attribution,
    ),
    (
        _Source(
            id="o.id",
            moment="o.time_ns",
            columns="o.subject, o.body ->> '$.action'",
            tables="operations o JOIN c ON c.span_id = o.span_id",
            condition="o.kind = 'decision'",
        ),
        lambda row, _: read_decision(row),
    ),
)


class _Cursor:
    """How far one source has been read."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._seen: dict[str, int] = {}  # moment by id, in the order of reading
        self._forgotten = -1
        """The latest moment whose ids may be forgotten."""
        self._newest = 0
        self._count = 0
        self.missed = 0
        """Rows that came so late that it is not known which they are."""

    def read(self, store: Store, chosen: Filter) -> list[Row]:
        """Return the rows that are new: those about as new as the newest, and where the store has more rows
        than these explain, those of earlier that have not been seen.
        """
        since = self._newest - LATE_NS
        recent = f"coalesce({self._source.moment}, 0) >= {since}"
        rows = store.sql(self._source.read_rows(chosen.sql, recent), *chosen.values)
        new = [row for row in rows if row[0] not in self._seen]
        counted = store.sql(self._source.count_rows(chosen.sql), *chosen.values).fetchone()
        count = int(counted[0]) if counted else 0
        late = count - self._count - len(new)
        if late > 0:
            earlier = self._read_earlier(store, chosen, since)
            self.missed += late - len(earlier)
            new = earlier + new
        self._count = count
        self._remember(new)
        return new

    def _read_earlier(self, store: Store, chosen: Filter, until: int) -> list[Row]:
        listed = store.sql(self._source.list_ids(chosen.sql, self._forgotten + 1, until - 1), *chosen.values)
        ids = [row[0] for row in listed if row[0] not in self._seen]
        which = f"{self._source.id} IN (SELECT unnest(?::TEXT[]))"
        return store.sql(self._source.read_rows(chosen.sql, which), *chosen.values, ids).fetchall()

    def _remember(self, rows: list[Row]) -> None:
        for row in rows:
            self._seen[row[0]] = row[1] or 0
        # A clock that went ahead must not hide what comes now.
        newest = max((row[1] or 0 for row in rows), default=0)
        self._newest = min(max(newest, self._newest), time.time_ns())
        while len(self._seen) > REMEMBERED:
            self._forgotten = max(self._forgotten, self._seen.pop(next(iter(self._seen))))


class MetricReader:
    """Reads what has come since it read last; each thing once.

    Args:
        store: where.
        chosen: the calls that are watched, as a condition over `calls`.
        texts: words or lines of prompts whose share of the weight is wanted too.
    """

    def __init__(self, store: Store, chosen: Filter, texts: Sequence[str] = ()) -> None:
        self._store = store
        self._chosen = chosen
        self._texts = texts
        self._cursors = [_Cursor(source) for source, _ in _SOURCES]
        self.left_out = 0
        """Values that are no finite number, and times below zero, as a clock gives that is put back."""

    @property
    def missed(self) -> int:
        """Rows that came so much later than others that they could not be told from those."""
        return sum(cursor.missed for cursor in self._cursors)

    def read(self) -> Iterator[MetricReading]:
        """Yield what is new, of each kind in the order in which it happened."""
        with self._store.hold():
            rows = [cursor.read(self._store, self._chosen) for cursor in self._cursors]
        for new, (_, parse) in zip(rows, _SOURCES, strict=True):
            for row in new:
                yield from self._keep_numbers(parse(row, self._texts))

    def _keep_numbers(self, readings: Iterator[MetricReading]) -> Iterator[MetricReading]:
        for reading in readings:
            value = reading.value
            if isinstance(value, str) or (
                math.isfinite(value) and (value >= 0 or reading.metric.kind != "latency")
            ):
                yield reading
            else:
                self.left_out += 1
