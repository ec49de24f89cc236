"""Read a slice of the spool into memory tables: what needs the slice only, not yet the store.

On a connection of its own, for a transaction on the store would keep the memory of every slice until it
commits; and in two slots, so that one slice can be read while the one before is folded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.stores.columns import ENDS, KINDS, LISTS, STAGE
from llm_trace.stores.instances import hide_progress
from llm_trace.stores.load import SliceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

    from llm_trace.stores.slices import SpoolSlice

MOST_MESSAGES = 100_000
"""Messages that one event may refer to, each way."""

_LENGTH = "CASE WHEN r[2] > 1e15 THEN 1e15 ELSE greatest(r[2]::DOUBLE - r[1] + 1, 0) END"
_FEW = " AND ".join(
    f"coalesce(list_sum(list_transform({name}, lambda r: {_LENGTH})), 0) <= {MOST_MESSAGES}" for name in LISTS
)
_IS_EVENT = f"""coalesce(CASE event
    WHEN 'start' THEN span_id IS NOT NULL AND start_ns >= 0 AND coalesce(kind, 'chain') IN {KINDS}
    WHEN 'end' THEN span_id IS NOT NULL AND end_ns >= 0 AND status IN {ENDS}
    WHEN 'run' THEN id IS NOT NULL
    WHEN 'prompt' THEN name IS NOT NULL AND version IS NOT NULL
    WHEN 'score' THEN id IS NOT NULL AND span_id IS NOT NULL AND name IS NOT NULL AND value IS NOT NULL
    WHEN 'attribution' THEN span_id IS NOT NULL AND method IS NOT NULL
    WHEN 'operation' THEN id IS NOT NULL AND kind IS NOT NULL AND subject IS NOT NULL AND body IS NOT NULL
    ELSE event IN ('file', 'lost') END, false)"""

# The bodies that a slice brings. `role` and `text` are for people and search; `rest` is the whole body,
# unless it is exactly {"role": role, "content": text}. Lengths tell that without building it again:
# 24 bytes stand around the two strings, and unless something is escaped they are as long in the body as out.
BODIES = """
CREATE TABLE bodies AS
SELECT file, n, ns, hash(body) AS hash, role,
       CASE WHEN simple THEN content
            ELSE array_to_string(list_filter([
                CASE WHEN json_type(body, '$.content') = 'VARCHAR' THEN content END,
                nullif(array_to_string(body ->> '$.content[*].text', chr(10)), ''),
                nullif(array_to_string(list_transform(list_filter(
                    json_extract(body, '$.parts[*]'), lambda p: coalesce(p ->> '$.type', '') <> 'blob'
                ), lambda p: p ->> '$.content'), chr(10)), ''),
                nullif(array_to_string(body ->> '$.parts[*].text', chr(10)), '')
            ], lambda x: x IS NOT NULL), chr(10))
            END AS text,
       CASE WHEN simple AND (strlen(body) = strlen(role) + strlen(content) + 24
                             OR body = json_object('role', role, 'content', content))
            THEN NULL ELSE body END AS rest
FROM (
    SELECT *, pair[1] AS role, pair[2] AS content,
           coalesce(starts_with(body, '{"role":"' || pair[1] || '","content":"'), false) AS simple
    FROM (
        SELECT p.file, m.n, ns, m.body, m.body ->> ['$.role', '$.content'] AS pair
        FROM (SELECT rowid AS row, coalesce(start_ns, end_ns) AS ns, unnest(messages) AS m
              FROM stage WHERE messages IS NOT NULL AND event IN ('start', 'end')) s
        JOIN pieces p ON s.row >= p.first AND s.row < p.stop
        WHERE m.n IS NOT NULL AND m.body IS NOT NULL
    )
)"""

# row -> the first row of the slice with the same message. Few repeat, for a writer gives each once a file.
FIRSTS = """
CREATE TABLE firsts AS
WITH repeated AS (SELECT hash FROM bodies GROUP BY hash HAVING count(*) > 1)
SELECT rowid AS row, rowid AS first, hash FROM bodies ANTI JOIN repeated USING (hash)
UNION ALL
SELECT rowid, min(rowid) OVER (PARTITION BY hash, role, text, rest), hash
FROM bodies SEMI JOIN repeated USING (hash)"""

_NO_BODIES = (
    "CREATE TABLE bodies (file TEXT, n BIGINT, ns BIGINT, hash UBIGINT, role TEXT, text TEXT, rest JSON)",
    "CREATE TABLE firsts (row BIGINT, first BIGINT, hash UBIGINT)",
)
TABLES = ("stage", "pieces", "bodies", "firsts")


_COUNT = """
SELECT event, count(*), count(DISTINCT span_id), count(messages), count(messages_in) + count(messages_out),
       count(model), count(same)
FROM stage GROUP BY event"""


@dataclass(frozen=True)
class SliceContents:
    """What a slice holds at most: most are short, and planning a query costs more than it finds in them."""

    events: frozenset[str]
    messages: int
    message_lists: int
    models: int
    same: int
    is_unique: bool
    """Whether no call starts twice or ends twice."""
    is_even: bool
    """Whether, besides, as many calls end as start."""


def _sum_up(rows: Sequence[tuple[Any, ...]]) -> SliceContents:
    """Return what a slice holds, of `_COUNT`'s rows."""
    lines = {event: (count, calls) for event, count, calls, *_ in rows}
    (starts, started), (ends, ended) = (lines.get(event, (0, 0)) for event in ("start", "end"))
    messages, message_lists, models, same = (sum(row[column] for row in rows) for column in range(3, 7))
    return SliceContents(
        frozenset(event for event in lines if event),
        messages,
        message_lists,
        models,
        same,
        is_unique=(starts, ends) == (started, ended),
        is_even=starts == started == ends == ended,
    )


@dataclass(frozen=True)
class Staged:
    """A slice in the memory tables of a schema."""

    part: SpoolSlice
    schema: str
    bad: list[int]
    """Rows that are no events, ascending."""
    contents: SliceContents


class Staging:
    """Reads slices, each kept until the next but one is read.

    Args:
        connection: its DuckDB gets a database `work` in memory.
    """

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection.cursor()
        hide_progress(self._connection)
        self._execute("ATTACH ':memory:' AS work")
        for slot in (0, 1):
            self._execute(f"CREATE SCHEMA work.slot{slot}")
        self._slot = 0

    def stage(self, part: SpoolSlice) -> Staged:
        """Read one slice; lines that are no events get no `event`."""
        self._slot = 1 - self._slot
        schema = f"work.slot{self._slot}"
        self._execute(f"USE {schema}")
        for table in TABLES:  # all at once, or the new ones would be made beside the old
            self._execute(f"DROP TABLE IF EXISTS {table}")
        self._read(part)
        contents = _sum_up(self._rows(_COUNT))
        is_good = f"{_IS_EVENT} AND {_FEW}" if contents.message_lists else _IS_EVENT
        bad = [row[0] for row in self._rows(f"SELECT rowid FROM stage WHERE NOT ({is_good}) ORDER BY rowid")]
        if bad:
            self._execute(f"UPDATE stage SET event = NULL WHERE NOT ({is_good})")
        if not contents.is_unique:
            self._drop_repeated()
        for query in (BODIES, FIRSTS) if contents.messages else _NO_BODIES:
            self._execute(query)
        return Staged(part, schema, bad, contents)

    def _read(self, part: SpoolSlice) -> None:
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in STAGE.items())
        # DuckDB's buffers are twice maximum_object_size: its default of 16 MB would cost 32 MB.
        longest = max(part.longest + 16, min(part.bytes, 1 << 21))
        self._execute(
            f"""CREATE TABLE stage AS SELECT * FROM read_json(?, format = 'newline_delimited',
                ignore_errors = true, maximum_object_size = {longest}, columns = {{{columns}}})""",
            str(part.path),
        )
        count = self._rows("SELECT count(*) FROM stage")[0][0]
        if count != part.lines:
            raise SliceError(part)  # without a cause: a line that DuckDB takes for several, or for none
        self._execute("CREATE TABLE pieces (file TEXT, writer TEXT, first BIGINT, stop BIGINT)")
        for piece in part.pieces:
            values = (piece.file.name, piece.file.writer, piece.first, piece.stop)
            self._execute("INSERT INTO pieces VALUES (?, ?, ?, ?)", *values)

    def _drop_repeated(self) -> None:
        """Keep the first start and the first end of each call."""
        self._execute(
            """UPDATE stage SET event = NULL WHERE event IN ('start', 'end') AND rowid NOT IN
            (SELECT min(rowid) FROM stage WHERE event IN ('start', 'end') GROUP BY span_id, event)"""
        )

    def _execute(self, query: str, *values: object) -> None:
        self._connection.execute(query, list(values))

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()
