"""A store as far as it answers in SQL: its connections, and what it remembers."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from llm_trace.errors import StoreError
from llm_trace.stores.calls import read_dicts
from llm_trace.stores.instances import limit_time, spoil
from llm_trace.stores.memo import Memo
from llm_trace.stores.migrations import read_version
from llm_trace.stores.result import Result, SqlRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from llm_trace.stores.connection import Database


class SqlStore:
    """Answers queries from one DuckDB file, which is held only while a query runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held = threading.local()
        self._memo = Memo(database.read_state)
        self.path = database.path
        self.address = database.address
        """What `open_store` opens it by: the path, or the address of a lake."""

    def keep_answers(self, seconds: float) -> None:
        """Let answers that take a look at every call of a store of more than 100 MB be so old, though it has
        changed since: totals, runs, prompts, the first calls of an order. By default none may.
        """
        self._memo.patience_s = seconds

    def read_state(self) -> object:
        """Return what differs as soon as anything in the store has changed."""
        with self._query():
            return self._database.read_state()[0]

    @property
    def is_held(self) -> bool:
        """Whether this thread holds the file."""
        return self._get_held() is not None

    def _get_held(self) -> DuckDBPyConnection | None:
        """Return the connection that this thread holds; what a child of a fork inherits is not it."""
        pid, connection = getattr(self._held, "by", (0, None))
        return connection if pid == os.getpid() else None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Answer this thread's questions, until the end, from the store as it stands now.

        Many small questions take the time of one so. Nobody can write to the file meanwhile; `ingest` raises.
        """
        with self._query() as connection:
            outer, self._held.by = self._get_held(), (os.getpid(), connection)
            try:
                yield
            finally:
                self._held.by = (os.getpid(), outer)

    def sql(self, query: str, *params: Any, files: bool = True, seconds: float | None = None) -> Result:
        """Return the answer to a query over the tables of docs/store.md, whole; `?` stands for a parameter.

        The store cannot be changed by it.

        Args:
            query: one statement.
            files: whether it may read and write files, as `COPY … TO` does; not what somebody else wrote.
            seconds: the most that it may take; a `StoreError` says that it was stopped.
        """
        with self._query() as connection, limit_time(connection, seconds):
            spoil(connection)
            if not files:
                self._database.close_files(connection, query)
            return Result.of(connection, query, params)

    def fetch(self, query: str, *values: Any, remember: bool = False) -> list[SqlRow]:
        """Return the rows of a query that the package itself holds; what comes from elsewhere is a value.

        Unlike `sql` it makes no DuckDB of its own, which takes 25 ms.

        Args:
            remember: keep the rows until the file changes: for few rows that take a look at every call.
        """
        with self._query() as connection:
            rows: list[SqlRow] = self._memo.get(
                (query, repr(values)) if remember else None,
                lambda: connection.execute(query, list(values)).fetchall(),
            )
        return list(rows) if remember else rows

    def fetch_dicts(self, query: str, *values: Any, remember: bool = False) -> list[dict[str, Any]]:
        """Return the rows of `fetch` by the names of their columns."""
        with self._query() as connection:
            rows = self._memo.get(
                ("dicts", query, repr(values)) if remember else None,
                lambda: read_dicts(connection, query, values),
            )
        return [dict(row) for row in rows]

    @contextlib.contextmanager
    def _query(self) -> Iterator[DuckDBPyConnection]:
        """Give a connection for one query; what DuckDB says against it is a `StoreError`."""
        import duckdb

        with self._reading() as connection:
            try:
                yield connection
            except duckdb.Error as exc:
                raise StoreError(f"the query failed: {exc}") from exc

    @contextlib.contextmanager
    def _reading(self) -> Iterator[DuckDBPyConnection]:
        held = self._get_held()
        if held is not None:
            yield held
            return
        with self._database.reading() as connection:
            read_version(connection)
            yield connection
