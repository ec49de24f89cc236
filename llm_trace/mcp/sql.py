"""The tool `sql`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from llm_trace.errors import StoreError
from llm_trace.mcp.answers import ToolAnswer
from llm_trace.mcp.values import Offset, RowLimit, fit_page, format_value
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things
from llm_trace.rendering.texts import cut_text

SECONDS = 20.0
"""That a query may take."""
CELL = 600
"""Characters of a value."""


class SqlQuestion(ToolQuestion):
    """A query."""

    query: str = Field(
        max_length=20_000,
        description="One SELECT (or DESCRIBE, SUMMARIZE) of DuckDB over calls, messages, call_messages, "
        "attributions, scores, runs, prompts, operations. Begin with DESCRIBE calls.",
    )
    limit: RowLimit = 50
    offset: Offset = 0


def answer_sql(bench: Workbench, question: SqlQuestion) -> ToolAnswer:
    """Return the rows of a query that can neither write nor reach a file.

    Raises:
        StoreError: it is wrong, gives no rows, or takes too long.
    """
    from llm_trace.stores.result import bound_query

    bounded = bound_query(question.query, question.limit + 1, question.offset)
    try:
        result = bench.store.sql(bounded, files=False, seconds=SECONDS)
    except StoreError as exc:
        raise StoreError(
            f"{exc}\nAsk by one SELECT, DESCRIBE or SUMMARIZE; nothing else is answered"
        ) from exc
    rows = [dict(zip(result.columns, map(_format_cell, row), strict=True)) for row in result]
    shown, more = fit_page(rows, question.limit, question.offset, "sql")
    verdict = f"{count_things(len(shown), 'row')}{', and there are more' if more else ''}."
    recorded = {"columns": list(result.columns), "rows": [list(row.values()) for row in shown]}
    return ToolAnswer(verdict=verdict if shown else "No rows.", more=more, recorded=recorded)


def _format_cell(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    return cut_text(format_value(value) if isinstance(value, str | list | dict | tuple) else str(value), CELL)
