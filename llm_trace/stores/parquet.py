"""Write the tables as Parquet files for Spark, pandas and the like, and read them as lines of an export."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llm_trace.errors import ConfigurationError
from llm_trace.spool.private import open_private
from llm_trace.stores import paging
from llm_trace.stores.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

CHOSEN = "temp.main.chosen"
"""The temporary table of the `span_id` of the calls to write, where not all are."""
MAKE_CHOSEN = "CREATE OR REPLACE TEMP TABLE chosen"


_CALLS = f"calls WHERE span_id IN (SELECT span_id FROM {CHOSEN})"
_SAID = "unnest(list_concat(coalesce(messages_in, []), coalesce(messages_out, [])))"
_ABOUT = f"span_id IN (SELECT span_id FROM {CHOSEN})"
_MESSAGES = """(
    SELECT id, role, text, coalesce(body, json_object('role', role, 'content', text)) AS body, first_ns
    FROM messages)"""  # `hash` is our own affair and no other engine has its type


class ParquetTable(NamedTuple):
    """How a table is written."""

    source: str
    order: str
    chosen: str
    """Which rows belong to the chosen calls."""


TABLES = {
    "calls": ParquetTable("calls", "start_ns, span_id", _ABOUT),
    "messages": ParquetTable(_MESSAGES, "id", f"id IN (SELECT {_SAID} FROM {_CALLS})"),
    "attributions": ParquetTable("attributions", "time_ns, id", _ABOUT),
    "scores": ParquetTable("scores", "time_ns, id", _ABOUT),
    "operations": ParquetTable("operations", "time_ns, id", _ABOUT),
    "runs": ParquetTable("runs", "start_ns, id", f"id IN (SELECT run FROM {_CALLS})"),
    "prompts": ParquetTable(
        "prompts",
        "name, first_ns, version",
        f"(name, version) IN (SELECT (prompt_name, prompt_version) FROM {_CALLS})",
    ),
    "_same": ParquetTable("_same", "kept, span_id", f"kept IN (SELECT span_id FROM {CHOSEN})"),
}
EVENTS = {
    "runs": """'event', 'run', 'id', id, 'name', name, 'config', config, 'tags', tags,
        'environment', environment, 'start_ns', start_ns, 'end_ns', end_ns, 'replay_of', replay_of,
        'fork_of', fork_of""",
    "prompts": (
        "'event', 'prompt', 'name', name, 'version', version, 'template', template, 'time_ns', first_ns"
    ),
    "scores": """'event', 'score', 'id', id, 'span_id', span_id, 'name', name, 'value', value,
        'source', source, 'comment', comment, 'time_ns', time_ns""",
    "attributions": """'event', 'attribution', 'id', id, 'span_id', span_id, 'method', method,
        'config_hash', config_hash, 'time_ns', time_ns, 'status', status, 'error', error,
        'attribution', attribution""",
    "operations": """'event', 'operation', 'id', id, 'kind', kind, 'subject', subject, 'span_id', span_id,
        'time_ns', time_ns, 'body', body""",
}
"""Rows of each table as events of the spool's format, in the terms of `json_object`."""
_JSON = {
    "calls": (
        "params",
        "metadata",
        "input",
        "output",
        "rebuild",
        "prompt_variables",
        "usage_details",
        "cost_basis",
    ),
    "messages": ("body",),
    "attributions": ("attribution",),
    "scores": ("value",),
    "operations": ("body",),
    "runs": ("config", "environment"),
}
_LATER = {"calls": ("usage_details", "tier", "cost_basis")}
"""Columns that exports of earlier versions lack."""
_LATER_TABLES = {"operations": "id TEXT, kind TEXT, subject TEXT, span_id TEXT, time_ns BIGINT, body JSON"}
"""Tables that exports of earlier versions lack, with their columns."""
_PAGE = 5_000


def write_parquet(connection: DuckDBPyConnection, folder: Path, *, chosen: bool = False) -> list[Path]:
    """Write each table to `<folder>/<table>.parquet` (zstd); a file appears only when it is whole.

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
            f"SELECT {_list_columns(connection, table.source)} FROM {table.source} {where} ORDER BY "
            f"{table.order}"
        )
        open_private(part, "wb").close()
        connection.execute(
            f"COPY ({query}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
        )
        part.replace(path)
        written.append(path)
    return written


def _list_columns(connection: DuckDBPyConnection, source: str) -> str:
    """Return the columns of a table, JSON as text: not every reader knows the logical type."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    return ", ".join(
        f'"{name}"::TEXT AS "{name}"' if kind == "JSON" else f'"{name}"' for name, kind, *_ in described
    )


def read_event_lines(connection: DuckDBPyConnection, *, chosen: bool = False) -> Iterator[str]:
    """Yield runs, prompts and what was added to calls as JSON lines; with `chosen` only those of `CHOSEN`."""
    for name, fields in EVENTS.items():
        table = TABLES[name]
        where = f"WHERE {table.chosen}" if chosen else ""
        query = f"SELECT json_object({fields})::TEXT FROM {table.source} {where} ORDER BY {table.order}"
        for (line,) in connection.execute(query).fetchall():
            yield f"{line}\n"


def is_parquet_export(path: Path) -> bool:
    """Say whether a path is a folder that `write_parquet` wrote, or one of its files."""
    folder = path if path.is_dir() else path.parent
    named = path.is_dir() or (path.suffix == ".parquet" and path.stem in TABLES)
    return named and all(
        (folder / f"{name}.parquet").is_file() for name in {"calls", *EVENTS} - set(_LATER_TABLES)
    )


def read_parquet(path: Path) -> Iterator[str]:
    """Yield the lines that an export to JSON Lines of the same calls has.

    Raises:
        ConfigurationError: a file is missing, or DuckDB cannot read it.
    """
    import duckdb

    folder = path if path.is_dir() else path.parent
    with duckdb.connect() as connection:
        try:
            for name in TABLES:
                if name in _LATER_TABLES and not (folder / f"{name}.parquet").is_file():
                    connection.execute(f"CREATE TABLE {name} ({_LATER_TABLES[name]})")
                    continue
                source = str(folder / f"{name}.parquet").replace("'", "''")
                columns = _select_columns(connection, name, f"read_parquet('{source}')")
                connection.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM read_parquet('{source}')")
            yield from _call_lines(connection)
            yield from read_event_lines(connection)
        except duckdb.Error as exc:
            raise ConfigurationError(f"{str(folder)!r} is no whole export to Parquet: {exc}") from exc


def _select_columns(connection: DuckDBPyConnection, name: str, source: str) -> str:
    """Return the columns of a table of an export as the store has them, NULL for those it lacks."""
    present = {column for column, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    typed = ", ".join(f"{column}::JSON AS {column}" for column in _JSON.get(name, ()) if column in present)
    absent = [f"NULL::JSON AS {column}" for column in _LATER.get(name, ()) if column not in present]
    return ", ".join([f"* REPLACE ({typed})" if typed else "*", *absent])


def _call_lines(connection: DuckDBPyConnection) -> Iterator[str]:
    until: int | None = paging.LAST
    while until is not None:
        window = paging.read_window(
            connection, Filter.of(), None, f"{paging.HEAD}, {paging.STORED}", until, _PAGE
        )
        bodies = paging.load_bodies(connection, paging.list_spoken_ids(window.rows))
        yield from paging.iter_json_lines(paging.Page(window.rows, bodies))
        until = window.until
