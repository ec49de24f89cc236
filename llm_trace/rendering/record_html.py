"""Runs, versions of prompts and scores as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.rendering import formatting
from llm_trace.rendering.differences import diff_words
from llm_trace.rendering.elements import Html, element
from llm_trace.rendering.tables import Column, render_table
from llm_trace.rendering.texts import format_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.rendering.shapes import ShownEnvironment, ShownPrompt, ShownRun, ShownScore

ROWS = 100
_RUN_COLUMNS = (
    Column("Started", "dim nowrap"), Column("Name"), Column("Id", "dim nowrap"), Column("Took", "num nowrap"),
    Column("Tags", "dim"), Column("Configuration", "excerpt"),
)  # fmt: skip
_SCORE_COLUMNS = (
    Column("Name"), Column("Value", "num"), Column("From", "dim"), Column("Comment", "excerpt"),
    Column("Call", "dim nowrap"), Column("Time", "dim nowrap"),
)  # fmt: skip


def render_runs(runs: Sequence[ShownRun]) -> Html:
    """Return a table of runs."""
    if not runs:
        return element("p", 'No runs yet: with llm_trace.start_run("refund v2"): …', class_="dim")
    return render_table(_RUN_COLUMNS, map(_list_run_cells, runs[:ROWS]), len(runs) - ROWS)


def _list_run_cells(run: ShownRun) -> tuple[Html | str, ...]:
    return (
        formatting.format_clock(run.start_ns),
        element("strong", formatting.format_one_line(run.name, 60)),
        element("code", run.id),
        _format_span(run),
        formatting.format_one_line(", ".join(run.tags), 60),
        element("bdi", formatting.format_one_line(dict(run.config), 120)) if run.config else "",
    )


def _format_span(run: ShownRun) -> str:
    return "no end" if run.end_ns is None else formatting.format_duration(run.end_ns - run.start_ns)


def render_run(run: ShownRun) -> Html:
    """Return all of a run."""
    return element("article", element("h3", run.name), render_run_facts(run))


def render_run_facts(run: ShownRun) -> Html:
    """Return what is known of a run, without its name."""
    rows = (
        element("tr", element("th", name, scope="row"), element("td", element("bdi", format_text(value))))
        for name, value in _list_run_facts(run)
        if value not in (None, "", {})
    )
    return element(
        "div", element("table", element("tbody", rows), class_="facts-table"), class_="scroll", tabindex="0"
    )


def _list_run_facts(run: ShownRun) -> Iterator[tuple[str, object]]:
    yield "id", run.id
    yield "started", formatting.format_clock(run.start_ns)
    yield "took", _format_span(run)
    yield "tags", ", ".join(run.tags)
    yield from run.config.items()
    yield "replay of", run.replay_of
    yield "fork of", run.fork_of
    if run.environment is not None:
        if run.environment.seed != run.config.get("seed"):
            yield "seed", run.environment.seed
        yield from _list_environment(run.environment)


def _list_environment(environment: ShownEnvironment) -> Iterator[tuple[str, object]]:
    dirty = " with changes" if environment.git_dirty else ""
    yield "git commit", f"{environment.git_commit}{dirty}" if environment.git_commit else None
    yield "Python", f"{environment.python}, {environment.platform}"
    yield "packages", f"{len(environment.packages):,}" if environment.packages else None


def render_prompts(versions: Sequence[ShownPrompt]) -> Html:
    """Return versions of prompts, each beside the one of its name that stands before it."""
    if not versions:
        hint = 'No prompts yet: name a template, llm_trace.Prompt("qa", "Answer: {question}")'
        return element("p", hint, class_="dim")
    before: dict[str, str] = {}
    shown = []
    for version in versions[:ROWS]:
        shown.append(render_prompt(version, before.get(version.name)))
        before[version.name] = version.template
    left = len(versions) - ROWS
    return element("div", shown, element("p", f"… {left:,} more", class_="dim") if left > 0 else None)


def render_prompt(version: ShownPrompt, before: str | None = None) -> Html:
    """Return a version of a prompt, and what is new in it against the text before."""
    about = f" {version.version} · {version.calls:,} calls · last {formatting.format_clock(version.last_ns)}"
    return element(
        "article",
        element("h3", f"{version.name} v{version.number}", element("span", about, class_="dim")),
        element("pre", version.template if before is None else render_difference(before, version.template),
                dir="auto"),
        class_="panel",
    )  # fmt: skip


def render_difference(old: str, new: str) -> Html:
    """Return two texts as one, with what is gone and what is new."""
    tags = {"gone": "del", "new": "ins"}
    pieces = (
        element(tags[piece["change"]], piece["text"]) if piece["change"] in tags else piece["text"]
        for piece in diff_words(old, new)
    )
    return element("bdi", pieces)


def render_scores(scores: Sequence[ShownScore]) -> Html:
    """Return a table of scores."""
    if not scores:
        return element("p", 'No scores: llm_trace.log_score("right", 1.0, call=…) adds one.', class_="dim")
    return render_table(_SCORE_COLUMNS, map(_list_score_cells, scores[:ROWS]), len(scores) - ROWS)


def _list_score_cells(score: ShownScore) -> tuple[Html | str, ...]:
    value = score.value
    return (
        element("strong", formatting.format_one_line(score.name, 60)),
        f"{value:.4g}" if isinstance(value, float) else formatting.format_one_line(str(value), 60),
        score.source,
        element("bdi", formatting.format_one_line(score.comment or "", 200)),
        element("code", score.span_id),
        formatting.format_clock(score.time_ns),
    )
