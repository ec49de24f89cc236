"""The tool `prompts`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import Field

from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.mcp.answers import MoreRequest, ToolAnswer
from llm_trace.mcp.values import Offset, RowLimit, drop_empty, fit_page, format_time
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from llm_trace.record import PromptVersion
    from llm_trace.stores.duckdb import Store

BEGINNING = 300
"""Characters of a template in the list."""


class PromptsQuestion(ToolQuestion):
    """Which prompts, or which two versions."""

    name: str | None = Field(default=None, description="Only this prompt, with its scores.")
    version: str | None = Field(default=None, description="v3 or a hash: this version, its template whole.")
    against: str | None = Field(default=None, description="Another version: what `version` changed in it.")
    limit: RowLimit = 20
    offset: Offset = 0


def answer_prompts(bench: Workbench, question: PromptsQuestion) -> ToolAnswer:
    """Return the versions of prompts, one of them whole, or what one changed against another.

    Raises:
        NotFoundError: there is no such prompt or version.
        ConfigurationError: a version without the prompt's name.
    """
    from llm_trace.comparison.iterations import find_prompt_version

    if question.name is None and (question.version or question.against):
        raise ConfigurationError("a version is one of a prompt: give its name too")
    if question.against is not None and question.version is None:
        raise ConfigurationError("against needs the version that is held against it")
    if question.name is None or question.version is None:
        return _answer_list(bench.store, question)
    version = find_prompt_version(bench.store, question.name, question.version)
    if question.against is None:
        whole = {"template": version.template, **_format_version(bench.store, version, scored=True)}
        verdict = f"Version v{version.number}, {count_things(version.calls, 'call')}."
        return ToolAnswer(verdict=verdict, recorded={"prompt": whole})
    before = find_prompt_version(bench.store, question.name, question.against)
    lines = list(
        difflib.unified_diff(
            before.template.splitlines(), version.template.splitlines(),
            f"v{before.number}", f"v{version.number}", n=1, lineterm="",
        )
    )  # fmt: skip
    verdict = f"v{before.number} to v{version.number}: {_count_lines(lines)}."
    return ToolAnswer(verdict=verdict, recorded={"diff": lines})


def _count_lines(lines: list[str]) -> str:
    added = sum(line.startswith("+") for line in lines[2:])
    removed = sum(line.startswith("-") for line in lines[2:])
    return f"{count_things(added, 'line')} added, {count_things(removed, 'line')} removed"


def _answer_list(store: Store, question: PromptsQuestion) -> ToolAnswer:
    versions = [p for p in store.prompts() if question.name in (None, p.name)]
    if not versions and question.name is not None:
        raise NotFoundError(f"no prompt is called {question.name!r}: ask without a name for all")
    page = versions[question.offset : question.offset + question.limit + 1]
    scored = question.name is not None
    rows = [
        {**_format_version(store, version, scored=scored), "begins": version.template[:BEGINNING]}
        for version in page
    ]
    shown, more = fit_page(rows, question.limit, question.offset, "prompts")
    names = len({version.name for version in versions})
    verdict = f"{count_things(names, 'prompt')} with {count_things(len(versions), 'version')}."
    if scored and len(versions) > 1 and not more:
        first, last = (f"v{v.number}" for v in (versions[-2], versions[-1]))
        pair = {"name": question.name, "version": last, "against": first}
        more = (MoreRequest(gives=f"what {last} changed in {first}", tool="prompts", arguments=pair),)
    return ToolAnswer(verdict=verdict, more=more, recorded={"versions": shown})


def _format_version(store: Store, version: PromptVersion, *, scored: bool) -> dict[str, Any]:
    from llm_trace.comparison.iterations import use

    row = {
        "name": version.name, "version": f"v{version.number}", "hash": version.version,
        "calls": version.calls, "last_used": format_time(version.last_ns),
    }  # fmt: skip
    if not scored:
        return row
    facts = use(store, version)
    means = {"errors": facts.errors, "median_ms": facts.latency_ms, "cost_usd": facts.cost_usd}
    return row | drop_empty({"mean_scores": facts.scores, **means})
