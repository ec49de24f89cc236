"""The arguments of `Store.calls` as an SQL condition."""

from __future__ import annotations

import numbers
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self

from llm_trace.errors import ConfigurationError
from llm_trace.record import ATTRIBUTION_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

Moment = datetime | date | timedelta | float | str
"""A point in time as people give it: what `nanoseconds` reads."""


Order = Literal["newest", "oldest", "slowest", "dearest", "largest"]
_ORDERS: dict[str, str] = {
    "newest": "start_ns DESC, span_id",
    "oldest": "start_ns, span_id",
    "slowest": "end_ns - start_ns DESC NULLS LAST, start_ns DESC, span_id",
    "dearest": "cost_usd DESC NULLS LAST, start_ns DESC, span_id",
    "largest": "coalesce(input_tokens + output_tokens, input_tokens, output_tokens) DESC NULLS LAST, "
    "start_ns DESC, span_id",
}


def slice_in_order(order: str, limit: int | None, offset: int) -> str:
    """Return the end of a query that gives `limit` calls after the first `offset` ones of an order.

    Raises:
        ConfigurationError: there is no such order.
    """
    if order not in _ORDERS:
        raise ConfigurationError(f"order {order!r} is none of {', '.join(_ORDERS)}")
    most = "" if limit is None else f"LIMIT {int(limit)}"
    return f"ORDER BY {_ORDERS[order]} {most} OFFSET {int(offset)}"


_VOLATILE = re.compile("now|today|current|localtime|random|uuid|age", re.IGNORECASE)


@dataclass(frozen=True)
class Filter:
    """A condition over `calls` and the values of its parameters, in order."""

    sql: str
    values: tuple[Any, ...]

    @classmethod
    def of(
        cls,
        *,
        runs: Sequence[str] | None = None,
        tag: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        where: str | Filter | None = None,
        **equal: str | None,
    ) -> Self:
        """Return the condition that all of these hold; `runs` are ids, `equal` are columns with values."""
        parts: list[tuple[str, tuple[Any, ...]]] = [
            (f'"{column}" = ?', (value,)) for column, value in equal.items() if value is not None
        ]
        if runs is not None:
            parts.append((f"run IN ({', '.join('?' * len(runs))})", tuple(runs)))
        if tag is not None:
            parts.append(("list_contains(tags, ?)", (tag,)))
        if tag != ATTRIBUTION_TAG:
            parts.append(("coalesce(NOT list_contains(tags, ?), true)", (ATTRIBUTION_TAG,)))
        if since is not None:
            parts.append(("start_ns >= ?", (convert_to_nanoseconds(since),)))
        if until is not None:
            parts.append(("start_ns < ?", (convert_to_nanoseconds(until),)))
        if where is not None:
            condition = where if isinstance(where, Filter) else Filter(where, ())
            parts.append((f"({condition.sql}\n)", condition.values))
        return cls(
            " AND ".join(sql for sql, _ in parts) or "true", tuple(v for _, values in parts for v in values)
        )

    @classmethod
    def join(cls, conditions: Sequence[Filter]) -> Self:
        """Return the condition that all of these hold, one at least."""
        values = (value for condition in conditions for value in condition.values)
        return cls(" AND ".join(condition.sql for condition in conditions), tuple(values))

    @property
    def is_volatile(self) -> bool:
        """Whether the condition may hold for other calls tomorrow, though none has changed."""
        return _VOLATILE.search(self.sql) is not None

    def and_(self, sql: str, *values: Any) -> Filter:
        """Return this condition with one more."""
        return Filter(f"{self.sql} AND {sql}", (*self.values, *values))


def convert_to_nanoseconds(moment: Moment) -> int:
    """Return Unix epoch nanoseconds.

    Args:
        moment: nanoseconds as an int, seconds as a float (`time.time()`), a datetime or ISO 8601 (local time
            where it names no zone), a date (its first moment, local), or a timedelta (so long ago).

    Raises:
        ConfigurationError: it is none of these.
    """
    try:
        return _read_moment(moment)
    except (ValueError, OverflowError, AttributeError, TypeError) as exc:
        raise ConfigurationError(
            f"{moment!r} is no time: give ISO 8601 as '2026-11-21T09:30', a datetime, a date, a timedelta "
            f"(so long ago), "
            "seconds as a float or nanoseconds as an int"
        ) from exc


def _read_moment(moment: Any) -> int:
    if isinstance(moment, bool):
        raise TypeError("a yes or no")
    if isinstance(moment, numbers.Integral):
        return int(moment)
    if isinstance(moment, numbers.Real):
        return round(float(moment) * 10**6) * 1000  # the digits of today's seconds end at microseconds
    if isinstance(moment, timedelta):
        moment = datetime.now(UTC) - moment
    elif isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    elif not isinstance(moment, datetime):
        moment = datetime.combine(moment, datetime.min.time())
    return int(moment.replace(microsecond=0).timestamp()) * 10**9 + int(moment.microsecond) * 1000
