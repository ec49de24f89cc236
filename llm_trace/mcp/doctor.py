"""The tool `doctor`."""

from __future__ import annotations

from llm_trace.mcp.answers import ToolAnswer
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things


class DoctorQuestion(ToolQuestion):
    """Nothing is to be said."""


def answer_doctor(bench: Workbench, question: DoctorQuestion) -> ToolAnswer:  # noqa: ARG001
    """Return whether anything was lost, what is pending, and what this server may do."""
    from llm_trace.examination import examine

    report = examine(str(bench.path))
    problems = len(report["problems"])
    head = "Nothing is known to be lost" if not problems else f"{count_things(problems, 'problem')}"
    verdict = f"{head}; {count_things(len(report['remarks']), 'remark')}. {_describe_rights(bench)}"
    recorded = {name: report[name] for name in ("problems", "remarks", "store", "spool", "destinations")}
    return ToolAnswer(verdict=verdict, recorded=recorded | {"versions": report["versions"]})


def _describe_rights(bench: Workbench) -> str:
    """Return what the user let this server do."""
    may_run = ", ".join(bench.functions) or "nothing: the server was started without --function"
    return f"May run again: {may_run}. Models that explain: {', '.join(bench.models)}."
