"""`llm-trace sql`: ask the store in SQL."""

import itertools
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import console, plain, print_table, to_json
from llm_trace.cli.words import one_line
from llm_trace.controls import disarm
from llm_trace.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.result import Result

NULL = "·"
EXPLAINED = ("explain_key", "explain_value")
"""Columns of the answer to EXPLAIN: a drawing."""
LEGIBLE = 12
"""Characters of a cell that must have room for a table."""
NAME = "sql"
EXAMPLE = 'Example: llm-trace sql "SELECT model, count(*), quantile_cont(duration_ms, 0.95) FROM calls GROUP BY model"'


def command(
    query: Annotated[
        str,
        typer.Argument(
            help="A query; - reads it from stdin. Tables: calls, messages, attributions, scores, runs, prompts."
        ),
    ],
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", metavar="N", min=0, help="Print at most so many rows of the table; 0 for all."
        ),
    ] = 100,
    csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Let the query read and write files, as COPY … TO does; the store stays as it is."
        ),
    ] = False,
    store: o.Store = o.STORE,
    as_json: o.Json = False,
) -> None:
    """Ask the store in SQL, read-only and without access to files. "DESCRIBE calls" lists the columns of a table."""
    if csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    from llm_trace.stores.duckdb import open_store

    asked = sys.stdin.read() if query == "-" else query
    with open_store(store) as opened:
        whole = as_json or csv or not limit
        result = opened.sql(asked, files=write) if whole else _first(opened, asked, limit + 1, files=write)
    if as_json:
        _print_json(result)
    elif csv:
        _print_csv(result)
    else:
        print_result(result, limit, console())


def _first(store: "Store", query: str, most: int, *, files: bool) -> "Result":
    """Return the first rows of the answer, without computing more of it than DuckDB must."""
    try:
        return store.sql(f"FROM (\n{query.strip().rstrip(';')}\n) LIMIT {most}", files=files)
    except StoreError:  # wrong, or a statement that cannot stand in brackets, such as EXPLAIN
        return store.sql(query, files=files)


def rows(result: "Result") -> "Iterator[tuple[Any, ...]]":
    """Return the rows one by one.

    Raises:
        StoreError: a value has no form in Python here, such as a time with a zone without pytz.
    """
    import duckdb

    try:
        while (row := result.fetchone()) is not None:
            yield row
    except duckdb.Error as exc:
        reason = str(exc).partition("\n")[0]
        raise StoreError(
            f"the answer cannot be read ({reason}): cast the column, as in column::TEXT"
        ) from exc


def _print_json(result: "Result") -> None:
    """Print one list of objects, row by row: the answer may be larger than memory."""
    before = "["
    for row in rows(result):
        sys.stdout.write(before + to_json(dict(zip(result.columns, row, strict=True))))
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def _print_csv(result: "Result") -> None:
    import csv

    writer = csv.writer(sys.stdout)
    writer.writerow(map(disarm, result.columns))
    writer.writerows([disarm(_cell(value)) for value in row] for row in rows(result))


def _cell(value: Any) -> Any:
    return to_json(value) if isinstance(value, list | dict | tuple) else value


def print_result(result: "Result", limit: int, out: "Console") -> None:
    """Print the rows as a table, or below each other where they are too wide, and how many were left out."""
    if result.columns == EXPLAINED:
        for _, plan in rows(result):
            out.print(plain(plan), soft_wrap=True)
        return
    shown = list(itertools.islice(rows(result), limit or None))
    cells = [[one_line(_shown(value), 500) for value in row] for row in shown]
    widths = [
        max(len(name), *(min(len(row[i]), LEGIBLE) for row in cells), 1)
        for i, name in enumerate(result.columns)
    ]
    if sum(widths) + 2 * len(widths) > out.width:
        _print_records(out, result.columns, cells)
    else:
        _print_table(out, result.columns, shown, cells)
    if limit and result.fetchone() is not None:
        out.print(
            f"… and more: the first {limit:,} rows are shown; --limit 0, --csv or --json print all",
            style="dim",
        )


def _print_table(
    out: "Console",
    names: "Sequence[str]",
    values: "Sequence[Sequence[Any]]",
    cells: "Sequence[Sequence[str]]",
) -> None:
    """Print a line for each row, numbers to the right."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i, name in enumerate(names):
        numeric = any(isinstance(row[i], int | float) for row in values)
        made.add_column(
            plain(name), justify="right" if numeric else "left", overflow="ellipsis", no_wrap=True
        )
    for row in cells:
        made.add_row(*map(plain, row))
    print_table(out, made)


def _print_records(out: "Console", names: "Sequence[str]", cells: "Sequence[Sequence[str]]") -> None:
    """Print a line for each cell: what is too wide for a table."""
    wide = max(map(len, names))
    for i, row in enumerate(cells, start=1):
        out.print(plain(f"row {i}", "bold"))
        for name, cell in zip(names, row, strict=True):
            if cell != NULL:
                out.print(
                    plain(f"  {name:<{wide}}  ", "dim").append(plain(cell)), no_wrap=True, overflow="ellipsis"
                )


def _shown(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return value if isinstance(value, str) else str(_cell(value))
