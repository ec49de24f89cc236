"""`llm-trace sql`: ask the store in SQL."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.answer import format_cell, iterate_rows, print_result
from llm_trace.cli.output import to_json
from llm_trace.controls import disarm
from llm_trace.errors import StoreError
from llm_trace.rendering.leaves import convert_leaves, spell_float

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.result import Result

EXAMPLE = (
    'Example: llm-trace sql "SELECT model, count(*), quantile_cont(duration_ms, 0.95) FROM calls '
    'GROUP BY model"'
)


QueryArgument = Annotated[
    str,
    typer.Argument(
        help=("A query; - reads it from stdin. Tables: calls, messages, attributions, scores, runs, prompts.")
    ),
]
RowsLimitOption = Annotated[
    int,
    typer.Option("--limit", "-n", metavar="N", min=0, help="Print at most N rows of the table; 0 for all."),
]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")]
WriteOption = Annotated[
    bool,
    typer.Option(
        "--write", help="Let the query read and write files, as COPY … TO does; the store stays as it is."
    ),
]


def run_sql(
    query: QueryArgument,
    limit: RowsLimitOption = 100,
    csv: CsvOption = False,
    write: WriteOption = False,
    wide: o.Wide = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Ask the store in SQL, read-only and without access to files.
    "DESCRIBE calls" lists the columns of a table.
    In JSON, NaN and infinities are the texts "NaN", "Infinity" and "-Infinity".
    """
    if csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    from llm_trace.stores.duckdb import open_store

    asked = sys.stdin.read() if query == "-" else query
    with open_store(store) as opened:
        whole = as_json or csv or not limit
        result = (
            opened.sql(asked, files=write) if whole else _read_first(opened, asked, limit + 1, files=write)
        )
    if as_json:
        _print_json(result)
    elif csv:
        _print_csv(result)
    else:
        print_result(result, limit, wide=wide)


def _read_first(store: "Store", query: str, most: int, *, files: bool) -> "Result":
    """Return the first rows of the answer, without computing more of it than DuckDB must."""
    from llm_trace.stores.result import bound_query

    try:
        return store.sql(bound_query(query, most), files=files)
    except StoreError:  # wrong, or a statement that cannot stand in brackets, such as EXPLAIN
        return store.sql(query, files=files)


def _print_json(result: "Result") -> None:
    """Print one list of objects, row by row: the answer may be larger than memory."""
    before = "["
    for row in iterate_rows(result):
        sys.stdout.write(
            before + to_json(dict(zip(result.columns, convert_leaves(row, spell_float), strict=True)))
        )
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def _print_csv(result: "Result") -> None:
    import csv

    writer = csv.writer(sys.stdout)
    writer.writerow(map(disarm, result.columns))
    writer.writerows([disarm(format_cell(value)) for value in row] for row in iterate_rows(result))
