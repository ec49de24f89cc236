"""The tool `runs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from llm_trace.mcp.answers import ToolAnswer
from llm_trace.mcp.values import Offset, RowLimit, drop_empty, fit_page, format_time, format_value
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things, format_one_line

if TYPE_CHECKING:
    from llm_trace.stores.run_tree import RunLine


class RunsQuestion(ToolQuestion):
    """Which runs."""

    limit: RowLimit = Field(default=20)
    offset: Offset = 0


def answer_runs(bench: Workbench, question: RunsQuestion) -> ToolAnswer:
    """Return runs, newest first, with what their calls came to; forks that were made alike in one row."""
    from llm_trace.stores.run_tree import read_run_lines

    lines = read_run_lines(bench.store, question.limit + 1, question.offset)
    shown, more = fit_page([_format_line(line) for line in lines], question.limit, question.offset, "runs")
    failing = sum(row.get("failed", 0) > 0 for row in shown)
    count = sum(row.get("reruns", 1) for row in shown)
    folded = f" in {len(shown)} rows" if count > len(shown) else ""
    failed = f"{count_things(failing, 'row' if folded else 'run')} with calls that failed"
    verdict = f"{count_things(count, 'run')}{folded}, newest first; {failed}."
    return ToolAnswer(verdict=verdict if shown else "No run.", more=more, recorded={"runs": shown})


def _format_line(line: RunLine) -> dict[str, Any]:
    run = line.run
    return drop_empty(
        {
            "id": run["id"],
            "name": run["name"] if line.count == 1 else line.title,
            "reruns": line.count if line.count > 1 else None,
            "fork_of": run["fork_of"],
            "started": format_time(run["start_ns"]),
            "ended": format_time(run["end_ns"]),
            "calls": run["calls"],
            "failed": run["failed"],
            "input_tokens": run["input_tokens"],
            "output_tokens": run["output_tokens"],
            "cost_usd": run["cost_usd"],
            "config": format_one_line(format_value(run["config"])) if run["config"] else None,
            "tags": list(run["tags"] or ()),
            "commit": run["git_commit"],
        }
    )
