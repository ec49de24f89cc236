"""The tool `runs`."""

from __future__ import annotations

from pydantic import Field

from llm_trace.mcp.answers import ToolAnswer
from llm_trace.mcp.values import Offset, RowLimit, drop_empty, fit_page, format_time, format_value
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things, format_one_line


class RunsQuestion(ToolQuestion):
    """Which runs."""

    limit: RowLimit = Field(default=20)
    offset: Offset = 0


def answer_runs(bench: Workbench, question: RunsQuestion) -> ToolAnswer:
    """Return runs, newest first, with what their calls came to."""
    from llm_trace.stores.run_totals import read_runs

    runs = read_runs(bench.store, question.offset + question.limit + 1)[question.offset :]
    rows = [
        drop_empty(
            {
                "id": run["id"],
                "name": run["name"],
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
        for run in runs
    ]
    shown, more = fit_page(rows, question.limit, question.offset, "runs")
    failing = sum(row.get("failed", 0) > 0 for row in shown)
    failed = f"{count_things(failing, 'run')} with calls that failed"
    verdict = f"{count_things(len(shown), 'run')}, newest first; {failed}."
    return ToolAnswer(verdict=verdict if shown else "No run.", more=more, recorded={"runs": shown})
