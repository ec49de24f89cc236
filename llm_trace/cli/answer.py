"""The answer to an SQL query in the terminal: no column goes missing and no number is cut without a word."""

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

from llm_trace.cli.output import (
    GAP,
    make_console,
    make_plain_text,
    print_table,
    say_left_out,
    share_room,
    to_json,
)
from llm_trace.errors import StoreError
from llm_trace.rendering.formatting import format_one_line
from llm_trace.rendering.leaves import convert_leaves, spell_float

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from llm_trace.stores.result import Result

NULL = "·"
EXPLAINED = ("explain_key", "explain_value")
"""Columns of the answer to EXPLAIN: a drawing."""
LEGIBLE = 12
"""Characters of a text that must have room for a table."""
LONGEST = 500
"""Characters of a text that are shown without --wide."""
REMEDY = "--wide or --json"


def iterate_rows(result: "Result") -> "Iterator[tuple[Any, ...]]":
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


def format_cell(value: Any) -> Any:
    """Return a value for a table; what is nested is JSON."""
    return to_json(convert_leaves(value, spell_float)) if isinstance(value, list | dict | tuple) else value


def print_result(result: "Result", limit: int, *, wide: bool) -> None:
    """Print the rows as a table, or below each other where they are too wide, and what was left out.

    Args:
        result: the answer.
        limit: the most rows to print; 0 for all.
        wide: print every column whole, on lines as long as they need.
    """
    out = make_console()
    if result.columns == EXPLAINED:
        for _, plan in iterate_rows(result):
            out.print(make_plain_text(plan), soft_wrap=True)
        return
    values = list(itertools.islice(iterate_rows(result), limit or None))
    cells = [[_format_value(value, wide=wide) for value in row] for row in values]
    print_rows(out, result.columns, values, cells, wide=wide)
    if limit and result.fetchone() is not None:
        out.print(
            f"… and more: the first {limit:,} rows are shown; --limit 0, --csv or --json print all",
            style="dim",
        )


def print_rows(
    out: "Console",
    names: "Sequence[str]",
    values: "Sequence[Sequence[Any]]",
    cells: "Sequence[Sequence[str]]",
    *,
    wide: bool,
) -> None:
    """Print a table if each text has a legible width in it, otherwise a line for each cell."""
    from rich.cells import cell_len

    needs = [max(cell_len(text) for text in (name, *(r[i] for r in cells))) for i, name in enumerate(names)]
    texts = [i for i in range(len(names)) if any(_is_text(row[i]) for row in values)]
    room = out.width - GAP * (len(names) - 1)
    if wide:
        out = make_console(width=max(out.width, sum(needs) + GAP * len(names)))
        room = sum(needs)
    widths = needs.copy()
    left = room - sum(need for i, need in enumerate(needs) if i not in texts)
    for i, width in zip(texts, share_room([needs[i] for i in texts], left), strict=True):
        widths[i] = width
    least = [min(needs[i], max(LEGIBLE, cell_len(names[i]))) for i in texts]
    if sum(widths) > room or any(widths[i] < need for i, need in zip(texts, least, strict=True)):
        cut = _print_records(out, names, values, cells)
    else:
        cut = _print_table(out, names, values, cells, widths)
    cut |= {names[i] for i in texts if not wide and any(len(row[i]) == LONGEST for row in cells)}
    say_left_out({"cut": [name for name in names if name in cut]}, REMEDY)


def _print_table(
    out: "Console",
    names: "Sequence[str]",
    values: "Sequence[Sequence[Any]]",
    cells: "Sequence[Sequence[str]]",
    widths: "Sequence[int]",
) -> set[str]:
    """Print a line for each row, numbers to the right; return the columns that were cut."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for i, name in enumerate(names):
        right = any(isinstance(row[i], int | float) for row in values)
        table.add_column(
            make_plain_text(name),
            justify="right" if right else "left",
            overflow="ellipsis",
            no_wrap=True,
            width=widths[i],
        )
    for row in cells:
        table.add_row(*map(make_plain_text, row))
    return set(print_table(out, table, quiet=True))


def _print_records(
    out: "Console",
    names: "Sequence[str]",
    values: "Sequence[Sequence[Any]]",
    cells: "Sequence[Sequence[str]]",
) -> set[str]:
    """Print a line for each cell, for what is too wide for a table; return which columns were cut."""
    wide, cut = max(map(len, names)), set()
    for number, (row, shown) in enumerate(zip(values, cells, strict=True), start=1):
        out.print(make_plain_text(f"row {number}", "bold"))
        for name, value, text in zip(names, row, shown, strict=True):
            line = make_plain_text(f"  {name:<{wide}}  ", "dim").append(make_plain_text(text))
            if value is not None and _is_text(value):
                out.print(line, no_wrap=True, overflow="ellipsis")
                cut |= {name} if line.cell_len > out.width else set()
            elif value is not None:
                for piece in line.divide(range(out.width, len(line), out.width)):
                    piece.rstrip()
                    out.print(piece)
        absent = [name for name, value in zip(names, row, strict=True) if value is None]
        if absent:
            out.print(make_plain_text(_fold(f"NULL: {', '.join(absent)}", out.width), "dim"))
    return cut


def _fold(text: str, width: int) -> str:
    lines = textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(map(str.rstrip, lines))


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes | list | dict | tuple)


def _format_value(value: Any, *, wide: bool) -> str:
    if value is None:
        return NULL
    text = str(format_cell(value))
    return format_one_line(text, max(len(text), 1) if wide or not _is_text(value) else LONGEST)
