"""Calls as lines of JSON or of a table, a page at a time."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from llm_trace.controls import disarm
from llm_trace.stores.paging import FLAT, HEAD, STORED, Spoken, iter_json_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.paging import Page

    Report = Callable[[int], None]
    """Takes the number of calls so far."""

PAGE = 5_000
"""Calls in memory at a time."""


def read_pages(store: Store, columns: str, chosen: dict[str, Any], report: Report) -> Iterator[Page]:
    """Yield pages of `Store.pages`, and report how many calls they had."""
    count = 0
    for page in store.pages(columns, **{"size": PAGE, **chosen}):
        yield page
        count += len(page.rows)
        report(count)


def write_json_lines(store: Store, chosen: dict[str, Any], report: Report) -> Iterator[str]:
    """Yield lines of calls, newest first, then of their runs, prompts, scores and attributions.

    Args:
        chosen: filters as `Store.calls` takes them, and `limit`.
    """
    some = any(value is not None for value in chosen.values())
    span_ids: list[str] = []
    for page in read_pages(store, f"span_id, {HEAD}, {STORED}", chosen, report):
        span_ids += [row[0] for row in page.rows] if some else []
        yield from iter_json_lines(page._replace(rows=[row[1:] for row in page.rows]))
    yield from store.event_lines(span_ids if some else None)


def write_csv(store: Store, chosen: dict[str, Any], report: Report) -> Iterator[str]:
    """Yield a table in parts; what is no number or text is JSON, and no cell is a spreadsheet's formula."""
    yield _write_rows([[*FLAT, "input", "output"]])
    for page in read_pages(store, ", ".join(FLAT.values()), chosen, report):
        yield _write_rows([_list_cells(page, row) for row in page.rows])


def _list_cells(page: Page, row: tuple[Any, ...]) -> list[object]:
    spoken = Spoken(page.bodies, *row[-4:])
    return [disarm(cell) for cell in (*row[:-4], _format_cell(spoken.input), _format_cell(spoken.output))]


def _write_rows(rows: list[list[Any]]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue()


def _format_cell(text: str | None) -> Any:
    """Return JSON as it stands, or the text or number that it says."""
    return text if text is None or text[:1] in "{[" else json.loads(text)
