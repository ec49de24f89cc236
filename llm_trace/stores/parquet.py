"""Write the tables as Parquet files that Spark, pandas and the like read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

# JSON becomes text, for not every reader knows the logical type; `hash` is our own affair and no other engine has its type.
QUERIES = {
    "calls": """SELECT * REPLACE (prompt_variables::TEXT AS prompt_variables, params::TEXT AS params, metadata::TEXT AS metadata,
                input::TEXT AS input, output::TEXT AS output, rebuild::TEXT AS rebuild) FROM calls ORDER BY start_ns, span_id""",
    "messages": """SELECT id, role, text, coalesce(body, json_object('role', role, 'content', text))::TEXT AS body, first_ns
                   FROM messages ORDER BY id""",
    "attributions": "SELECT * REPLACE (attribution::TEXT AS attribution) FROM attributions ORDER BY time_ns, id",
    "scores": "SELECT * REPLACE (value::TEXT AS value) FROM scores ORDER BY time_ns, id",
    "runs": "SELECT * REPLACE (config::TEXT AS config, environment::TEXT AS environment) FROM runs ORDER BY start_ns, id",
    "prompts": "SELECT * FROM prompts ORDER BY name, first_ns, version",
}


def write_parquet(connection: DuckDBPyConnection, folder: Path) -> list[Path]:
    """Write each table to `<folder>/<table>.parquet`, compressed with zstd; a file appears only when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table, query in QUERIES.items():
        path = folder / f"{table}.parquet"
        part = folder / f".{table}.parquet.part"
        quoted = str(part).replace("'", "''")
        connection.execute(f"COPY ({query}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")
        part.replace(path)
        written.append(path)
    return written
