"""`llm-trace export`: calls as JSON lines, CSV or Parquet."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import complain, nothing, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

NAME = "export"
EXAMPLE = 'Example: llm-trace export --to jsonl --out calls.jsonl --run "refund-desk v2"'

Format = Literal["parquet", "jsonl", "csv"]
PAGE = 500
"""Calls in memory at a time."""
COLUMNS = (
    "span_id", "trace_id", "parent_id", "name", "kind", "status", "start_ns", "end_ns", "model", "provider", "input_tokens",
    "output_tokens", "cost_usd", "run", "session", "user", "tags", "prompt", "error", "input", "output",
)  # fmt: skip
"""Columns of the CSV; what is no number or text is JSON."""


To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FORMAT",
        help="jsonl and csv: one call a line. parquet: a folder with a file for each table.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="PATH", help="The file, or with parquet the folder; stdout otherwise."
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many calls, the newest.")
]


def command(
    to: To,
    out: Out = None,
    run: o.Run = None,
    name: o.Name = None,
    kind: o.Kind = None,
    model: o.Model = None,
    tag: o.Tag = None,
    session: o.Session = None,
    user: o.User = None,
    status: o.Status = None,
    since: o.Since = None,
    until: o.Until = None,
    text: o.Text = None,
    where: o.Where = None,
    limit: Limit = None,
    store: o.Store = o.STORE,
) -> None:
    """Write calls to a file, newest first; parquet writes the whole store for DuckDB, pandas or Spark."""
    from llm_trace.stores.duckdb import open_store

    chosen = o.chosen_by(
        run=run, name=name, kind=kind, model=model, tag=tag, session=session, user=user, status=status,
        since=since, until=until, text=text, where=where,
    )  # fmt: skip
    o.one_of("--to", to, Format)
    if to == "parquet" and (out is None or chosen or limit):
        raise typer.BadParameter(
            "parquet needs --out, a folder, and takes the whole store: else use jsonl or csv"
        )
    with open_store(store) as opened:
        if to == "parquet" and out is not None:
            files = opened.to_parquet(out)
            complain(f"{', '.join(file.name for file in files)} are in {out}")
            return
        with _opened(out) as file:
            count = (_jsonl if to == "jsonl" else _csv)(file, pages(opened, chosen, limit))
    if count == 0:
        nothing("no call matches")
    if out is not None:
        complain(f"{count:,} calls are in {out}")


def pages(store: "Store", chosen: dict[str, Any], limit: int | None) -> "Iterator[list[Call]]":
    """Yield the calls that the filters choose, newest first, a page at a time."""
    where, left, until = chosen.get("where"), limit, chosen.get("until")
    cursor = "true"
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        condition = cursor if where is None else f"({where}\n) AND {cursor}"
        page = store.calls(**{**chosen, "where": condition, "until": until}, limit=size)
        if page:
            yield page
        if len(page) < size:
            return
        left = None if left is None else left - len(page)
        oldest = page[-1]
        until = oldest.start_ns + 1  # spares DuckDB the newer ones; the cursor is exact
        cursor = f"(start_ns < {oldest.start_ns} OR span_id > '{oldest.span_id}')"


@contextlib.contextmanager
def _opened(path: Path | None) -> "Iterator[TextIO]":
    """Give stdout, or a new file that takes its name only when it is whole."""
    if path is None:
        yield sys.stdout
        return
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _jsonl(file: TextIO, found: "Iterator[list[Call]]") -> int:
    count = 0
    for page in found:
        file.writelines(to_json(call.model_dump(mode="json")) + "\n" for call in page)
        count += len(page)
    return count


def _csv(file: TextIO, found: "Iterator[list[Call]]") -> int:
    import csv

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for page in found:
        writer.writerows(_cells(call) for call in page)
        count += len(page)
    return count


def _cells(call: "Call") -> list[Any]:
    data = call.model_dump(mode="json")
    data |= data["usage"] or {}
    cells = (data.get(column) for column in COLUMNS)
    return [to_json(cell) if isinstance(cell, list | dict) else cell for cell in cells]
