"""Write the tables as Parquet files that Spark, pandas and the like read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

CHOSEN = "memory.main.chosen"
"""The table of the `span_id` of the calls to write, where not all are."""


_CALLS = f"calls WHERE span_id IN (SELECT span_id FROM {CHOSEN})"
_SAID = "unnest(list_concat(coalesce(messages_in, []), coalesce(messages_out, [])))"
_ABOUT = f"span_id IN (SELECT span_id FROM {CHOSEN})"
_MESSAGES = """(SELECT id, role, text, coalesce(body, json_object('role', role, 'content', text)) AS body, first_ns
FROM messages)"""  # `hash` is our own affair and no other engine has its type


class Table(NamedTuple):
    """How a table is written."""

    source: str
    order: str
    chosen: str
    """Which rows belong to the chosen calls."""


TABLES = {
    "calls": Table("calls", "start_ns, span_id", _ABOUT),
    "messages": Table(_MESSAGES, "id", f"id IN (SELECT {_SAID} FROM {_CALLS})"),
    "attributions": Table("attributions", "time_ns, id", _ABOUT),
    "scores": Table("scores", "time_ns, id", _ABOUT),
    "runs": Table("runs", "start_ns, id", f"id IN (SELECT run FROM {_CALLS})"),
    "prompts": Table(
        "prompts",
        "name, first_ns, version",
        f"(name, version) IN (SELECT (prompt_name, prompt_version) FROM {_CALLS})",
    ),
}


def write_parquet(connection: DuckDBPyConnection, folder: Path, *, chosen: bool = False) -> list[Path]:
    """Write each table to `<folder>/<table>.parquet`, compressed with zstd; a file appears only when it is whole.

    Args:
        connection: has the store in use.
        folder: made if absent.
        chosen: write only what belongs to the calls in the table `CHOSEN`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for name, table in TABLES.items():
        path = folder / f"{name}.parquet"
        part = folder / f".{name}.parquet.part"
        quoted = str(part).replace("'", "''")
        where = f"WHERE {table.chosen}" if chosen else ""
        query = (
            f"SELECT {_columns(connection, table.source)} FROM {table.source} {where} ORDER BY {table.order}"
        )
        open_private(part, "wb").close()
        connection.execute(
            f"COPY ({query}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
        )
        part.replace(path)
        written.append(path)
    return written


def _columns(connection: DuckDBPyConnection, source: str) -> str:
    """Return the columns of a table, JSON as text: not every reader knows the logical type."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return ", ".join(
        f'"{name}"::TEXT AS "{name}"' if kind == "JSON" else f'"{name}"' for name, kind, *_ in described
    )
