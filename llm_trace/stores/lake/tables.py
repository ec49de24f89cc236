"""The tables of a lake: what each has of a store's, and how it looks to whoever asks a store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from llm_trace.stores.instances import connect
from llm_trace.stores.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.stores.lake.delta import DataFile

_COMPUTED = {
    ("calls", "start_time"): "make_timestamp(start_ns // 1000)",
    ("calls", "duration_ms"): "(end_ns - start_ns) / 1e6",
    ("messages", "hash"): "('0x' || right(id, 16))::UBIGINT",
    ("attributions", "verdict"): "attribution ->> '$.verdict'",
    ("scores", "number"): "TRY_CAST(TRY_CAST(value AS JSON) AS DOUBLE)",
    ("runs", "start_time"): "make_timestamp(start_ns // 1000)",
}
"""Columns that are computed from others, as the store's own tables compute them."""


@dataclass(frozen=True)
class TableShape:
    """How a table of a lake is laid out."""

    time: str
    """The column that says of which day a row is."""
    order: str
    row_group: int
    newest: str = ""
    """What stands after the rows in SQL, where what was shipped later may replace what was shipped before."""
    grouped: bool = False
    """Whether rows of one key are merged, the later column by column before the earlier."""


SHAPES = {
    # messages before what refers to them: a call that is seen has its messages
    "messages": TableShape("first_ns", "id", 8_192),
    "runs": TableShape("start_ns", "id", 16_384, grouped=True),
    "prompts": TableShape("first_ns", "name, version", 16_384, "GROUP BY name, version"),
    "scores": TableShape("time_ns", "time_ns, id", 16_384),
    "attributions": TableShape(
        "time_ns",
        "time_ns, id",
        2_048,
        "QUALIFY row_number() OVER (PARTITION BY span_id, method, config_hash ORDER BY time_ns DESC, id) = 1",
    ),
    "operations": TableShape("time_ns", "time_ns, id", 16_384),
    "_same": TableShape("time_ns", "kept, span_id", 16_384),
    "_lost": TableShape("time_ns", "time_ns", 16_384),
    "calls": TableShape("start_ns", "start_ns, span_id", 16_384),
}
"""By name, in the order in which a shipment is committed."""
OWN = {"messages": {"id": "VARCHAR"}, "calls": {"messages_in": "VARCHAR[]", "messages_out": "VARCHAR[]"}}
"""Types that differ from those of a store of one machine, where a message's id is a number."""
ADDED = {"runs": {"shipped_ns": "BIGINT"}, "_same": {"time_ns": "BIGINT"}}
"""Columns that only a lake has."""


@cache
def read_store_columns() -> dict[str, dict[str, str]]:
    """Return the columns of each table of a store of this version, with their types in DuckDB."""
    connection = connect()
    try:
        migrate(connection)
        return {
            name: {row[0]: row[1] for row in connection.execute(f'DESCRIBE "{name}"').fetchall()}
            for name in SHAPES
        }
    finally:
        connection.close()


def list_lake_columns(name: str) -> dict[str, str]:
    """Return the columns that a table of a lake stores, with their types in DuckDB."""
    stored = {
        column: kind for column, kind in read_store_columns()[name].items() if (name, column) not in _COMPUTED
    }
    return stored | OWN.get(name, {}) | ADDED.get(name, {})


def build_view(name: str, files: Sequence[DataFile], places: Sequence[str], present: Sequence[str]) -> str:
    """Return the view of a table as a store has it.

    Args:
        files: what it consists of.
        places: where DuckDB finds them.
        present: the columns that the files have.
    """
    shape, columns = SHAPES[name], read_store_columns()[name] | OWN.get(name, {})
    if not files:
        nothing = ", ".join(f'NULL::{kind} AS "{column}"' for column, kind in columns.items())
        return f'CREATE VIEW "{name}" AS SELECT {nothing} WHERE false'
    source = scan_files(files, places)
    extra = [
        f'"{column}"' for column in present if column not in columns and column not in ADDED.get(name, ())
    ]
    if shape.grouped:
        source = _merge_rows(source, present)
    picked = [_pick(name, column, kind, present) for column, kind in columns.items()]
    if name == "prompts":
        picked = ["name", "version", "arg_min(template, first_ns) AS template", "min(first_ns) AS first_ns"]
        extra = []
    return f'CREATE VIEW "{name}" AS SELECT {", ".join([*picked, *extra])} FROM {source} {shape.newest}'


def scan_files(files: Sequence[DataFile], places: Sequence[str]) -> str:
    """Return the term of SQL that reads files, the columns that some of them lack as NULL."""
    quoted = ", ".join("'" + place.replace("'", "''") + "'" for place in places)
    # looking at the columns of each file takes long, and most tables have only ever had these
    alike = all(file.columns == files[0].columns and file.columns for file in files)
    return f"read_parquet([{quoted}], hive_partitioning = false, union_by_name = {not alike})"


def _merge_rows(source: str, present: Sequence[str]) -> str:
    columns = [column for column in present if column not in ("id", "shipped_ns")]
    merged = ", ".join(f'arg_max("{column}", shipped_ns) AS "{column}"' for column in columns)
    return f"(SELECT id, {merged} FROM {source} GROUP BY id)"


def _pick(name: str, column: str, kind: str, present: Sequence[str]) -> str:
    if (name, column) in _COMPUTED:
        return f'{_COMPUTED[name, column]} AS "{column}"'
    if column not in present:
        return f'NULL::{kind} AS "{column}"'
    return f'"{column}"::{kind} AS "{column}"' if kind == "JSON" else f'"{column}"'


def list_moved_columns(name: str) -> str:
    """Return the columns of a store's table that go to a lake, in SQL; JSON as text, as readers know it."""
    own = ADDED.get(name, {})
    return ", ".join(
        f'"{column}"::TEXT AS "{column}"' if kind == "JSON" else f'"{column}"'
        for column, kind in list_lake_columns(name).items()
        if column not in own
    )
