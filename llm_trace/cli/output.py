"""What every command prints with: consoles, tables, JSON.

Texts of calls are foreign: they go out as plain `Text`, never as markup, and without control characters.
"""

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from llm_trace.controls import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

PIPED_WIDTH = 120
GAP, WIDEST, LEAST = 2, 24, 8
"""Blanks between columns; the most that an ordinary column takes; a legible width."""
WHOLE = frozenset(("time", "started", "id", "status", "took", "calls", "version", "hash"))
"""Columns that say nothing when cut."""
INTERRUPTED = "Query interrupted"
"""What DuckDB makes of Ctrl-C in the middle of a query: a RuntimeError of this text."""
COLOURS = {"ok": "green", "error": "red", "cancelled": "yellow", "interrupted": "magenta", "open": "cyan"}


def make_console(*, width: int | None = None) -> "Console":
    """Return a console on stdout, as wide as the terminal, or 120 columns in a pipe."""
    from rich.console import Console

    if width is None and not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        width = PIPED_WIDTH
    return Console(highlight=False, width=width)


def make_notes_console() -> "Console":
    """Return a console on stderr: progress, remarks, errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_complaint(message: str) -> None:
    """Print an error or a remark on stderr, unwrapped."""
    make_notes_console().print(
        make_plain_text(message), style="red" if message.startswith("llm-trace:") else "", soft_wrap=True
    )


def exit_nothing(message: str, *, quiet: bool = False) -> NoReturn:
    """Say on stderr that nothing was found and leave with exit code 3."""
    if not quiet:
        print_complaint(message)
    raise typer.Exit(3)


def print_json(data: Any) -> None:
    """Print a value as JSON: indented for a person, on one line for a program."""
    sys.stdout.write(to_json(data, indent=2 if sys.stdout.isatty() else None) + "\n")


def to_json(data: Any, *, indent: int | None = None) -> str:
    """Return strict JSON in ASCII; what JSON lacks (NaN, dates, bytes) becomes null or a text."""
    try:
        return json.dumps(data, indent=indent, default=_convert_other, allow_nan=False)
    except ValueError:
        return json.dumps(_drop_nan(data), indent=indent, default=_convert_other)


def _convert_other(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else str(value)


def _drop_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _drop_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_drop_nan(item) for item in value]
    return _drop_nan(value.model_dump(mode="json")) if hasattr(value, "model_dump") else value


def make_plain_text(text: object, style: str = "") -> "Text":
    """Return foreign text for printing."""
    from rich.text import Text

    return Text(clean(str(text)), style=style)


def make_table(
    columns: "Mapping[str, Iterable[object]]",
    *,
    wide: "Iterable[str]",
    right: "Iterable[str]" = (),
    widths: "Mapping[str, int] | None" = None,
) -> "Table":
    """Return a table without lines from columns of cells; the `wide` ones share what room is left.

    A column without any content is left out, unless fixed widths are given.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    shown = {
        name: [cell if isinstance(cell, Text) else make_plain_text(cell) for cell in cells]
        for name, cells in columns.items()
    }
    if widths is None:
        shown = {name: cells for name, cells in shown.items() if any(map(len, cells))}
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    numbers, flexible = set(right), set(wide)
    for name in shown:
        need = max(map(cell_len, (name, *(cell.plain for cell in shown[name]))))
        if widths is not None and name in flexible:
            need = PIPED_WIDTH  # tables below each other share their room alike
        table.add_column(
            name,
            justify="right" if name in numbers else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=(widths or {}).get(name),
            min_width=need if name in WHOLE else None,
            max_width=need if name in flexible or name in WHOLE else min(need, WIDEST),
            ratio=1 if name in flexible else None,
        )
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
    return table


def print_table(out: "Console", table: "Table", *, remedy: str = "--json", quiet: bool = False) -> list[str]:
    """Print a table as wide as the console; in a pipe without the blanks that fill its lines.

    Args:
        out: where to print.
        table: the table.
        remedy: the option that shows all, for the remark on what was cut.
        quiet: make no remark.

    Returns:
        The columns that were cut.
    """
    if all(column.max_width for column in table.columns):
        _fit(table.columns, out.width)
    if out.is_terminal:
        out.print(table)
    else:
        with out.capture() as captured:
            out.print(table)
        for line in captured.get().splitlines():
            out.print(make_plain_text(line.rstrip()), soft_wrap=True)
    cut = [str(column.header) for column in table.columns if _is_cut(column)]
    if not quiet:
        say_left_out({"cut": cut}, remedy)
    return cut


def _is_cut(column: "Column") -> bool:
    from rich.cells import cell_len

    cells = (str(cell) for cell in (column.header, *column.cells))
    return column.width is not None and any(cell_len(cell) > column.width for cell in cells)


def say_left_out(left_out: "Mapping[str, Sequence[str]]", remedy: str) -> None:
    """Say on stderr which columns a table cuts or does not show, and what shows all."""
    parts = [f"{how}: {', '.join(names)}" for how, names in left_out.items() if names]
    if parts:
        print_complaint(f"… {'; '.join(parts)}: {remedy} shows all")


def _fit(columns: "Sequence[Column]", room: int) -> None:
    """Set the widths: the columns with a ratio share what the others leave, none more than it needs."""
    wide = [column for column in columns if column.ratio is not None]
    others = [column for column in columns if column.ratio is None]
    left = room - GAP * (len(columns) - 1) - sum(column.width or column.max_width or 0 for column in others)
    for column in others:
        want = column.width or column.max_width or 0
        column.width = want
        if left < LEAST * len(wide) and column.min_width is None:  # names give way first
            column.width = min(want, LEAST)
            left += want - column.width
    needs = [column.max_width or 0 for column in wide]
    for column, width in zip(wide, share_room(needs, left), strict=True):
        column.width, column.ratio = width, None


def share_room(needs: "Sequence[int]", room: int) -> list[int]:
    """Return widths that fill the room; none is more than its need, and small needs are met first."""
    widths = list(needs)
    for i, place in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        widths[place] = max(1, min(needs[place], room // (len(needs) - i)))
        room -= widths[place]
    return widths


def make_status(name: str) -> "Text":
    """Return a call's status in its colour."""
    return make_plain_text(name, COLOURS.get(name, ""))
