"""The tools of the door: what each is called, what it takes, what it says of itself.

All of it is written here and in the questions' fields, and nothing of it is read from a store: what a call
says cannot reach a tool's description.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_trace.mcp import attribute, calls, causes, compare, doctor, prompts, replay, runs, show, sql
from llm_trace.mcp.answers import ToolAnswer
from llm_trace.mcp.workbench import ToolQuestion, Workbench


@dataclass(frozen=True)
class DoorTool:
    """A tool as a client sees it, and the function behind it."""

    name: str
    question: type[ToolQuestion]
    answer: Callable[[Workbench, Any], ToolAnswer]
    description: str
    reads_only: bool = True
    """Whether it leaves the store and the world as they are."""


TOOLS = (
    DoorTool(
        "runs", runs.RunsQuestion, runs.answer_runs,
        "List runs (experiments, versions), newest first: calls, failures, tokens, cost, configuration. "
        "Reruns that were made alike are one row, with the run that they fork.",
    ),
    DoorTool(
        "calls", calls.CallsQuestion, calls.answer_calls,
        "List calls that match all filters, with how many match, failed, and what they cost.",
    ),
    DoorTool(
        "show", show.ShowQuestion, show.answer_show,
        "Show one call: input, answer, error, scores, what mattered, and the calls around it in its trace.",
    ),
    DoorTool(
        "sql", sql.SqlQuestion, sql.answer_sql,
        "Ask the store by one SELECT in DuckDB's SQL. It cannot write, attach or read files.",
    ),
    DoorTool(
        "attribute", attribute.AttributeQuestion, attribute.answer_attribute,
        "Say which words, lines, messages or variables of a call's prompt made the model answer as it did, "
        "each effect with bounds. Kept with the call; asked again it costs nothing.", reads_only=False,
    ),
    DoorTool(
        "compare", compare.CompareQuestion, compare.answer_compare,
        "Compare two runs, prompt versions or models on the inputs that both answered: each score and cost "
        "with bounds, test and verdict, what was changed, and the pairs that got worse.",
    ),
    DoorTool(
        "why", causes.WhyQuestion, causes.answer_why,
        "Say which message, tool result or text before it caused a call of a tool or an answer of a model: "
        "the model decides again without each of them, all before it from the record, no tool run; effects "
        "with bounds and exact tests. Only functions that the user named at start run.", reads_only=False,
    ),
    DoorTool(
        "bisect", causes.BisectQuestion, causes.answer_bisect,
        "Find which hunks of a change of prompt, parameters or model (a good, b worse) broke the answers, or "
        "which two only together: recorded inputs are asked again with half-changed prompts, what is blamed "
        "is proved with bounds. Only functions that the user named at start run.", reads_only=False,
    ),
    DoorTool(
        "replay", replay.ReplayQuestion, replay.answer_replay,
        "Run recorded calls again with a prompt, variable, argument, parameter or model changed, and say how "
        "many answer otherwise and, given the right answers, how many are mended: the proof of a fix. Only "
        "functions that the user named at start run. Without a change it shows what chance does.",
        reads_only=False,
    ),
    DoorTool(
        "prompts", prompts.PromptsQuestion, prompts.answer_prompts,
        "List prompts and their versions with use and scores, show a template whole, or diff two versions.",
    ),
    DoorTool(
        "doctor", doctor.DoctorQuestion, doctor.answer_doctor,
        "Say whether anything was lost, what is pending, and what this server may run and explain with.",
    ),
)  # fmt: skip
