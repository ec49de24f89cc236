"""Write rows as Parquet files of a lake: sorted, in small row groups, with filters for ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_trace.spool.private import open_private
from llm_trace.stores.lake.delta import DataFile
from llm_trace.stores.lake.tables import SHAPES

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

# Where every text of a row group may stand in its dictionary, DuckDB writes a Bloom filter beside it: an id
# is looked for in the row groups that may have it. Large texts go beyond a dictionary's bytes and have none.
_OPTIONS = (
    "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {1}, USE_TMP_FILE false, ROW_GROUP_SIZE {0}, "
    "DICTIONARY_SIZE_LIMIT {0}, BLOOM_FILTER_FALSE_POSITIVE_RATIO 0.01"
)
_COUNTS = """
SELECT path_in_schema, sum(stats_null_count)::BIGINT, min(stats_min_value), max(stats_max_value),
       bool_and(stats_null_count IS NOT NULL), sum(row_group_num_rows)::BIGINT
FROM parquet_metadata(?) WHERE NOT contains(path_in_schema, ', ') GROUP BY path_in_schema"""


def write_part(
    connection: DuckDBPyConnection, name: str, query: str, path: Path, place: str, *, level: int = 3
) -> DataFile | None:
    """Write the rows of a query, all of one day, as a file; `None` where there is no row.

    Args:
        name: of the table.
        path: where the file is written.
        place: where it is to be in the lake, below the table's folder: `day=YYYY-MM-DD/…`.
        level: of zstd.
    """
    options = _OPTIONS.format(SHAPES[name].row_group, level)
    open_private(path, "wb").close()
    quoted = str(path).replace("'", "''")
    row = connection.execute(f"COPY ({query}) TO '{quoted}' ({options})").fetchone()
    if not row or not row[0]:
        path.unlink(missing_ok=True)
        return None
    return describe_part(connection, name, path, place)


def describe_part(connection: DuckDBPyConnection, name: str, path: Path, place: str) -> DataFile:
    """Return a file as Delta's log is to have it: with the times of its rows, and no text of theirs."""
    rows = connection.execute(_COUNTS, [str(path)]).fetchall()
    time_column = SHAPES[name].time
    nulls: dict[str, int] = {column: count for column, count, _, _, whole, _ in rows if whole}
    bounds: dict[str, Any] = {column: (low, high) for column, _, low, high, _, _ in rows}
    low, high = bounds.get(time_column, (None, None))
    stats: dict[str, Any] = {"numRecords": max((row[5] for row in rows), default=0), "nullCount": nulls}
    newest = None if high is None else int(high)
    if low is not None and high is not None:
        stats |= {"minValues": {time_column: int(low)}, "maxValues": {time_column: int(high)}}
    day = place.partition("/")[0].removeprefix("day=")
    return DataFile(
        place,
        day,
        path.stat().st_size,
        stats["numRecords"],
        newest,
        frozenset(nulls),
        json.dumps(stats),
    )
