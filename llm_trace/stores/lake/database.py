"""A lake in the place of a store's DuckDB file: the same tables, as views over the files of the lake."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from llm_trace.errors import StoreError
from llm_trace.spool.paths import find_lake_root, get_spool_dir, get_store_path
from llm_trace.stores.connection import Database
from llm_trace.stores.instances import MemoryInstance, close_files, spoil, take
from llm_trace.stores.lake.delta import LakeTable
from llm_trace.stores.lake.storage import LakeStorage
from llm_trace.stores.lake.tables import SHAPES, build_view, list_lake_columns
from llm_trace.stores.migrations import migrate
from llm_trace.stores.result import check_reads_only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

_SETTINGS = {
    "parquet_metadata_cache": True,
    # For as many ids as a page of calls has messages, DuckDB passes over row groups that have none of them.
    "dynamic_or_filter_threshold": 100_000,
}


class LakeDatabase(Database):
    """Answers from a lake.

    Args:
        address: of the lake; `path` is the file of what this machine has yet to ship there.
        timeout: seconds to wait for another process of this machine that ships.
    """

    def __init__(self, address: str, timeout: float) -> None:
        path = get_store_path(address)
        super().__init__(path, get_spool_dir(path), timeout)
        self.address, self.root = address, find_lake_root(address)
        self.storage = LakeStorage(self.root)
        self.tables = {name: LakeTable(self.root, name, shape.time) for name, shape in SHAPES.items()}
        self._lock = threading.Lock()
        self._views: tuple[list[int], list[str]] = [], []
        self._bytes = 0
        self._pid = os.getpid()

    def exists(self) -> bool:
        """Return whether there is a lake: its table of calls."""
        return self.tables["calls"].load()

    def read_state(self) -> tuple[object, int]:
        """Return the numbers of the tables' last commits, as of the query that runs, and their bytes."""
        return tuple(self._views[0]), self._bytes

    @contextlib.contextmanager
    def reading(self) -> Iterator[DuckDBPyConnection]:
        """Give a connection that sees the lake as of now and cannot change it."""
        instance = take(**_SETTINGS)
        try:
            self._attach(instance)
            yield instance.connection
        except BaseException:
            spoil(instance.connection)
            raise
        finally:
            instance.give_back("store")

    def close_files(self, connection: DuckDBPyConnection, query: str) -> None:
        """Keep a query from all files but the lake's, which it may read."""
        check_reads_only(query)
        folder = self.storage.locate("").replace("'", "''")
        connection.execute(f"SET allowed_directories = ['{folder}']")
        close_files(connection)

    def _attach(self, instance: MemoryInstance) -> None:
        connection = instance.connection
        self.storage.attach(connection)
        connection.execute("ATTACH ':memory:' AS store")
        connection.execute("USE store")
        migrate(connection)
        for statement in self._list_views():
            connection.execute(statement)

    def _list_views(self) -> list[str]:
        """Return the statements that put views of the lake as of now in the place of empty tables."""
        if os.getpid() != self._pid:
            raise StoreError(
                f"the lake {self.root!r} was opened before a fork: open it in this process, where the parent "
                f"has not, or make workers by 'spawn'"
            )
        with self._lock:
            for table in self.tables.values():
                table.load()
                table.check_columns(list_lake_columns(table.name))
            versions = [table.version for table in self.tables.values()]
            if versions != self._views[0]:
                files = {table: table.list_files() for table in self.tables.values()}
                self._bytes = sum(file.bytes for each in files.values() for file in each)
                self._views = (
                    versions,
                    [
                        statement
                        for table, each in files.items()
                        for statement in (
                            f'DROP TABLE "{table.name}"',
                            build_view(
                                table.name,
                                each,
                                [self.storage.locate(f"{table.name}/{file.path}") for file in each],
                                table.list_columns(),
                            ),
                        )
                    ],
                )
            return self._views[1]
