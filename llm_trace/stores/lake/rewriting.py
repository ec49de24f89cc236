"""Take rows out of a lake's files, and make few files of many.

Files never change: new ones take the place of old ones in one commit, and of two who do so at a time one is
refused and begins anew. The old files stay until a vacuum.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_trace.errors import StoreError
from llm_trace.stores.lake.delta import CommitConflictError, LakeTable, TableChange
from llm_trace.stores.lake.parts import write_part
from llm_trace.stores.lake.storage import LakeStorage
from llm_trace.stores.lake.tables import SHAPES, scan_files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from llm_trace.stores.lake.delta import DataFile

_ATTEMPTS = 10


@dataclass(frozen=True)
class Workshop:
    """What rewriting needs besides the table."""

    storage: LakeStorage
    connection: DuckDBPyConnection
    """May read the lake's files."""
    folder: Path
    """For files that are being made."""

    def scan(self, table: LakeTable, files: Sequence[DataFile]) -> str:
        """Return the term of SQL that reads files of a table."""
        places = [self.storage.locate(f"{table.name}/{file.path}") for file in files]
        return scan_files(files, places)

    def write(self, table: LakeTable, query: str, day: str) -> DataFile | None:
        """Write the rows of a query as a file of a day, and put it where the table's files are."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = f"day={day}/{os.urandom(8).hex()}.parquet"
        path = self.folder / place.replace("/", "-")
        query = f"{query} ORDER BY {SHAPES[table.name].order}"
        file = write_part(self.connection, table.name, query, path, place)
        if file is not None:
            self.storage.put(path, f"{table.name}/{place}")
            path.unlink()
        return file


def rewrite_table(table: LakeTable, plan: Callable[[], TableChange | None]) -> TableChange | None:
    """Commit a change of files that a table has; return it, or `None` where there is nothing to change.

    Args:
        plan: makes the change for the table as it stands; asked anew where others have changed files.
    """
    for _ in range(_ATTEMPTS):
        table.load()
        change = plan()
        if change is None:
            return None
        try:
            table.commit(change)
        except CommitConflictError:
            continue
        return change
    raise StoreError(
        f"the table {table.name!r} of the lake {table.root!r} was rewritten by others: try again"
    )


def remove_rows(
    table: LakeTable,
    shop: Workshop,
    condition: str,
    *,
    days: Collection[str] | None = None,
    columns: str = "*",
    stays: str = "false",
) -> int:
    """Take rows out of the files of a table; return how many.

    Args:
        condition: of the rows, in SQL over the table's columns.
        days: where they can be; anywhere if absent.
        columns: what rows that stay become.
        stays: of which of the rows only the columns change.
    """
    gone = 0

    def plan() -> TableChange | None:
        nonlocal gone
        files = [file for file in table.list_files() if days is None or file.day in days]
        counts = _count_in_files(shop, table, files, condition) if files else {}
        touched = [file for file in files if counts.get(file.path)]
        if not touched:
            return None
        gone = sum(counts[file.path] for file in touched)
        kept = f"coalesce(NOT ({condition}), true) OR ({stays})"
        made = [
            shop.write(table, f"SELECT {columns} FROM {shop.scan(table, [file])} WHERE {kept}", file.day)
            for file in touched
        ]
        return TableChange([each for each in made if each], touched, table.next_rewrite())

    rewrite_table(table, plan)
    return gone


def _count_in_files(
    shop: Workshop, table: LakeTable, files: Sequence[DataFile], condition: str
) -> dict[str, int]:
    """Return how many rows of each file, by its path, match."""
    source = shop.scan(table, files).removesuffix(")")
    query = f"SELECT filename, count(*) FROM {source}, filename = true) WHERE {condition} GROUP BY filename"
    counts = dict(shop.connection.execute(query).fetchall())
    places = {shop.storage.locate(f"{table.name}/{file.path}"): file.path for file in files}
    return {places[place]: int(count) for place, count in counts.items()}


def remove_calls(table: LakeTable, shop: Workshop, calls: Mapping[str, int]) -> None:
    """Take calls out of the table of calls.

    Args:
        calls: their ids and starts.
    """
    shop.connection.execute(
        "CREATE OR REPLACE TEMP TABLE victims AS SELECT unnest(?) AS span_id", [list(calls)]
    )
    first, last = min(calls.values()), max(calls.values())
    condition = f"start_ns BETWEEN {first} AND {last} AND span_id IN (SELECT span_id FROM victims)"
    remove_rows(table, shop, condition)
