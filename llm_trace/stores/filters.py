"""The arguments of `Store.calls` as an SQL condition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from llm_trace.errors import ConfigurationError
from llm_trace.record import ATTRIBUTION_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence


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
        since: datetime | int | str | None = None,
        until: datetime | int | str | None = None,
        where: str | None = None,
        **equal: str | None,
    ) -> Self:
        """Return the condition that all that is given holds; `runs` are ids, `equal` are columns and their values."""
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
            parts.append(("start_ns >= ?", (nanoseconds(since),)))
        if until is not None:
            parts.append(("start_ns < ?", (nanoseconds(until),)))
        if where is not None:
            parts.append((f"({where}\n)", ()))
        return cls(
            " AND ".join(sql for sql, _ in parts) or "true", tuple(v for _, values in parts for v in values)
        )

    def and_(self, sql: str, *values: Any) -> Filter:
        """Return this condition with one more."""
        return Filter(f"{self.sql} AND {sql}", (*self.values, *values))


def nanoseconds(moment: datetime | int | str) -> int:
    """Return Unix epoch nanoseconds; a datetime without a zone is local time.

    Raises:
        ConfigurationError: a string that is not ISO 8601.
    """
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as exc:
            raise ConfigurationError(
                f"{moment!r} is no time: give ISO 8601 as '2026-11-21T09:30', a datetime or nanoseconds"
            ) from exc
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 10**9 + moment.microsecond * 1000
