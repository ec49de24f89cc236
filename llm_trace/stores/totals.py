"""What calls come to, no token counted twice: what a call reports includes the calls inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from duckdb import DuckDBPyConnection

    from llm_trace.stores.filters import Filter

Number = TypeVar("Number", int, float)

_LEVELS = 100
"""Calls around a call that are looked at; parents may go in a circle."""
_SUMS = "sum(i)::BIGINT AS i, sum(o)::BIGINT AS o, sum(c) AS c"
_NUMBERS = "{0}input_tokens AS i, {0}output_tokens AS o, {0}cost_usd AS c"
_BEGIN = """
    CREATE OR REPLACE TEMP TABLE _level AS
    SELECT key, above, {sums} FROM (
        SELECT {key} AS key, nullif(parent_id, span_id) AS above, {numbers} FROM calls WHERE {chosen})
    WHERE coalesce(i, o, c) IS NOT NULL GROUP BY ALL"""
_CLIMB = """
    CREATE OR REPLACE TEMP TABLE _level AS
    SELECT key, above, {sums} FROM (
        SELECT l.key, nullif(p.parent_id, p.span_id) AS above,
               CASE WHEN p.i IS NULL {other} THEN l.i END AS i,
               CASE WHEN p.o IS NULL {other} THEN l.o END AS o,
               CASE WHEN p.c IS NULL {other} THEN l.c END AS c
        FROM _level l LEFT JOIN (
            SELECT span_id, parent_id, {key} AS key, CASE WHEN {chosen} THEN input_tokens END AS i,
                   CASE WHEN {chosen} THEN output_tokens END AS o, CASE WHEN {chosen} THEN cost_usd END AS c
            FROM calls WHERE span_id IN (SELECT above FROM _level)
        ) p ON p.span_id = l.above)
    WHERE coalesce(i, o, c) IS NOT NULL GROUP BY ALL"""


class Totals(NamedTuple):
    """What calls come to; `None` where none of them reports the number."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None


def sum_calls(
    connection: DuckDBPyConnection, chosen: Filter, key: str, *, within: bool = False
) -> dict[Any, Totals]:
    """Return what the calls of a filter come to, by what an expression over them says.

    A number counts that no call of the filter around its own reports; a level of the trees at a time goes up
    to the calls around, the numbers of those with a common one summed.

    Args:
        chosen: the filter.
        key: an expression in SQL.
        within: look only at calls around that have the same key.
    """
    other = "OR p.key IS DISTINCT FROM l.key" if within else ""
    terms = {"key": key, "chosen": chosen.sql, "sums": _SUMS, "other": other}
    connection.execute(_BEGIN.format(numbers=_NUMBERS.format(""), **terms), chosen.values)
    parts: list[tuple[Any, ...]] = []
    for level in range(_LEVELS + 1):
        outermost = "true" if level == _LEVELS else "above IS NULL"
        parts += connection.execute(f"SELECT key, i, o, c FROM _level WHERE {outermost}").fetchall()
        connection.execute(f"DELETE FROM _level WHERE {outermost}")
        if _is_empty(connection):
            break
        connection.execute(_CLIMB.format(**terms), chosen.values * 3)
    return _group_totals(parts)


def _is_empty(connection: DuckDBPyConnection) -> bool:
    return connection.execute("SELECT 1 FROM _level LIMIT 1").fetchone() is None


def _group_totals(parts: list[tuple[Any, ...]]) -> dict[Any, Totals]:
    groups: dict[Any, list[Totals]] = {}
    for key, *numbers in parts:
        groups.setdefault(key, []).append(Totals(*numbers))
    return {key: add_totals(totals) for key, totals in groups.items()}


def add_totals(totals: Iterable[Totals]) -> Totals:
    """Return the sums; `None` where none of them has the number."""
    columns = ([n for n in column if n is not None] for column in zip(*totals, strict=True))
    return Totals(*(sum(column) if column else None for column in columns))


def sum_outermost(parents: Mapping[str, str | None], numbers: Mapping[str, Number | None]) -> Number | None:
    """Return the sum of the numbers of calls that are inside no other that has one; `None` where none has.

    Args:
        parents: the ids of the calls, and of those around them.
        numbers: what each call reports.
    """
    outermost = [
        number
        for span, number in numbers.items()
        if number is not None and not _is_inside_reporting(span, parents, numbers)
    ]
    return sum(outermost) if outermost else None


def _is_inside_reporting(
    span: str, parents: Mapping[str, str | None], numbers: Mapping[str, Number | None]
) -> bool:
    above = parents[span]
    for _ in parents:  # no more steps than calls: parents may go in a circle
        if above is None or above == span or above not in parents:
            return False
        if numbers[above] is not None:
            return True
        above = parents[above]
    return False
