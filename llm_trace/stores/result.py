"""The answer to an SQL query, held in memory: the store's file is free again."""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, Any, Self

from llm_trace.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckdb import DuckDBPyConnection

SqlRow = tuple[Any, ...]
_numbers = itertools.count()
_CATALOG = re.compile(r"information_schema|sqlite_master|\b(?:duckdb|pg)_\w", re.IGNORECASE)


class Result:
    """Rows and columns of one query; iterating gives the rows.

    Args:
        connection: an in-memory DuckDB that holds the answer in a table.
        table: the table's name.
        columns: names of the columns as the query gave them.
    """

    def __init__(self, connection: DuckDBPyConnection, table: str, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._connection = connection
        self._name = table
        self._pid = os.getpid()
        self._cursor: DuckDBPyConnection | None = None

    @classmethod
    def of(cls, connection: DuckDBPyConnection, query: str, params: Sequence[Any]) -> Self:
        """Run a query on the store in use and keep its answer."""
        import duckdb

        statement, table = _strip_semicolon(query), f"memory.main.result{next(_numbers)}"
        try:
            if _CATALOG.search(statement):  # it would list the answer's own table
                _keep_rows(connection, table, statement, params)
            else:
                connection.execute(f"CREATE TABLE {table} AS\n{statement}\n", list(params))
        except duckdb.ParserException:
            _keep_rows(connection, table, statement, params)  # EXPLAIN, PRAGMA and what is no SQL at all
        named = connection.execute(f"SELECT * FROM {table} LIMIT 0").description
        return cls(connection, table, tuple(column[0] for column in named))

    def fetchone(self) -> SqlRow | None:
        """Return the next row, or `None` after the last."""
        if self._cursor is None:
            self._cursor = self._table()
        row: SqlRow | None = self._cursor.fetchone()
        return row

    def fetchall(self) -> list[SqlRow]:
        """Return the rows that `fetchone` has not given yet."""
        if self._cursor is None:
            self._cursor = self._table()
        rows: list[SqlRow] = self._cursor.fetchall()
        return rows

    def __iter__(self) -> Iterator[SqlRow]:
        return iter(self._table().fetchall())

    def __len__(self) -> int:
        row = self._open().execute(f"SELECT count(*) FROM {self._name}").fetchone()
        return int(row[0]) if row else 0

    def df(self) -> Any:
        """Return all rows as a pandas DataFrame."""
        try:
            frame = self._table().df()
        except ImportError as exc:
            raise MissingExtraError("pandas is not installed: pip install 'llm-trace[dataframe]'") from exc
        frame.columns = list(self.columns)
        return frame

    def arrow(self) -> Any:
        """Return all rows as a pyarrow Table."""
        try:
            cursor = self._open()  # named, or DuckDB 1.4 closes it under the relation
            table = cursor.sql(f"SELECT * FROM {self._name}").to_arrow_table()
        except ImportError as exc:
            raise MissingExtraError("pyarrow is not installed: pip install 'llm-trace[dataframe]'") from exc
        return table.rename_columns(list(self.columns))

    def _table(self) -> DuckDBPyConnection:
        return self._open().execute(f"SELECT * FROM {self._name}")

    def _open(self) -> DuckDBPyConnection:
        if os.getpid() != self._pid:
            raise StoreError("this result was made before a fork: run the query again in this process")
        return self._connection.cursor()


def bound_query(query: str, most: int, offset: int = 0) -> str:
    """Return a query for some rows of another one's answer: at most `most`, after `offset` of them."""
    return f"FROM (\n{query.strip().rstrip(';')}\n) LIMIT {most} OFFSET {offset}"


def check_reads_only(query: str) -> None:
    """Refuse a query that is no SELECT, which alone cannot write a file.

    Raises:
        StoreError: it is another statement.
    """
    import duckdb

    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error:  # DuckDB says what is wrong when the query runs
        return
    reading = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if any(statement.type not in reading for statement in statements):
        raise StoreError("of a lake only SELECT can be asked: its files could be written over otherwise")


def _strip_semicolon(query: str) -> str:
    """Return the query without its closing semicolon.

    Raises:
        StoreError: it holds none, or several statements, of which only one could be answered.
    """
    import duckdb

    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error:  # DuckDB says what is wrong when the query runs
        return query.strip().rstrip(";")
    if not statements:
        raise StoreError("the query is empty: ask for something, such as SELECT count(*) FROM calls")
    if len(statements) > 1:
        raise StoreError(f"the query holds {len(statements)} statements: ask one at a time")
    return query.strip().rstrip(";")


def _keep_rows(connection: DuckDBPyConnection, table: str, statement: str, params: Sequence[Any]) -> None:
    """Keep the answer of a statement that `CREATE TABLE AS` does not take."""
    cursor = connection.execute(statement, list(params))
    columns = [(column[0].replace('"', '""'), str(column[1])) for column in cursor.description or ()]
    rows = cursor.fetchall()
    if not columns:
        columns, rows = [("ok", "BOOLEAN")], []
    described = ", ".join(f'"{name}" {kind}' for name, kind in columns)
    connection.execute(f"CREATE TABLE {table} ({described})")
    marks = ", ".join("?" * len(columns))
    for row in rows:
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", list(row))
