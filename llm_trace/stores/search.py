"""Find the newest calls in whose messages, input or output a text occurs.

Looks at ever larger windows of calls, the newest first, and stops when the page is full: a common word costs
milliseconds. A rare one ends in one scan of everything. JSON columns are matched as they are stored; a hit
counts only if it is not in a key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.filters import Filter

WINDOWS = (2_000, 16_000)
"""Calls in the first windows; the last one is all that is left."""

_KEYS = r"""'"(?:role|type)":"[^"]*"|"(?:[^"\\]|\\.)*":'"""
_IDS = "unnest(list_concat(messages_in, messages_out)) AS id"
Match = tuple[str, int]


@dataclass(frozen=True)
class _Window:
    """Calls that match a filter and began before `until` and not before `since`."""

    chosen: Filter
    until: int
    since: int | None

    @property
    def sql(self) -> str:
        lower = "" if self.since is None else f"AND start_ns >= {self.since}"
        return f"FROM calls WHERE {self.chosen.sql} AND start_ns < {self.until} {lower}"


def search(connection: DuckDBPyConnection, chosen: Filter, text: str, limit: int | None) -> list[Match]:
    """Return `span_id` and `start_ns` of the calls that match and hold the text in any case, newest first."""
    matches: list[Match] = []
    until = 2**63 - 1
    for size in (*WINDOWS, None):
        window = _Window(chosen, until, begin_of_window(connection, chosen, until, size))
        matches += _find_in_window(connection, window, text, None if limit is None else limit - len(matches))
        if window.since is None or (limit is not None and len(matches) >= limit):
            break
        until = window.since
    return matches


def begin_of_window(
    connection: DuckDBPyConnection, chosen: Filter, until: int, size: int | None
) -> int | None:
    """Return the start of the oldest call of a window, `None` where there are no more calls than that."""
    if size is None:
        return None
    query = (
        f"SELECT start_ns FROM calls WHERE {chosen.sql} AND start_ns < {until} ORDER BY start_ns DESC LIMIT "
        f"1 OFFSET {size - 1}"
    )
    row = connection.execute(query, chosen.values).fetchone()
    return None if row is None else int(row[0])


def find_matches(
    connection: DuckDBPyConnection, chosen: Filter, until: int, since: int | None, text: str
) -> list[Match]:
    """Return the calls that match, hold the text and began before `until` and not before `since`."""
    return _find_in_window(connection, _Window(chosen, until, since), text, None)


def _find_in_window(
    connection: DuckDBPyConnection, window: _Window, text: str, limit: int | None
) -> list[Match]:
    _find_messages(connection, window, text)
    count = connection.execute("SELECT count(*) FROM hits").fetchone()
    condition = "span_id IN (SELECT span_id FROM saying)" if count and count[0] else "false"
    query = f"""
        WITH saying AS (
            SELECT DISTINCT span_id FROM (SELECT span_id, {_IDS} {window.sql}) SEMI JOIN hits USING (id))
        SELECT span_id, start_ns {window.sql}
        AND ({condition} OR {_build_json_condition("input")} OR {_build_json_condition("output")})
        ORDER BY start_ns DESC, span_id {"" if limit is None else f"LIMIT {limit}"}"""
    values = [*window.chosen.values, *window.chosen.values] if count and count[0] else window.chosen.values
    if condition == "false":
        query = query[query.index("SELECT span_id, start_ns") :]
    pattern = _build_pattern(json.dumps(text, ensure_ascii=False)[1:-1])
    return connection.execute(query, [*values, *[pattern] * 4]).fetchall()


def _find_messages(connection: DuckDBPyConnection, window: _Window, text: str) -> None:
    """Make the table `hits`: ids of messages with the text, of the window's calls or, at last, of all."""
    source, values = "messages", ()
    if window.since is not None:  # materialised, or DuckDB would match all messages first and join then
        source = (
            f"(WITH near AS MATERIALIZED (SELECT * FROM messages WHERE id IN (SELECT {_IDS} {window.sql})) "
            "FROM near)"
        )
        values = window.chosen.values
    escaped = _build_pattern(json.dumps(text, ensure_ascii=False)[1:-1])
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE hits AS SELECT id FROM {source}
        WHERE coalesce(regexp_matches(text, ?), false) OR {_build_json_condition("body")}""",
        [*values, _build_pattern(text), escaped, escaped],
    )


def _build_json_condition(column: str) -> str:
    """Return a condition with the pattern twice: a JSON column's value must match, not a key or a type."""
    # CASE, for AND would replace in every row
    return (
        f"CASE WHEN regexp_matches({column}, ?) THEN regexp_matches(regexp_replace({column}, {_KEYS}, '', "
        "'g'), ?) ELSE false END"
    )


def _build_pattern(text: str) -> str:
    return r"(?is)\Q" + text.replace(r"\E", r"\E\\E\Q") + r"\E"
