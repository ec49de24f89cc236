"""The tool `compare`: is b better than a, by how much, where, and what was changed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import Field

from llm_trace.comparison.records import DECIDED, PairOutcome
from llm_trace.comparison.words import COSTS
from llm_trace.mcp.answers import MoreRequest, ToolAnswer
from llm_trace.mcp.values import Offset, RowLimit, drop_empty, fit_page
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things
from llm_trace.rendering.texts import cut_text

if TYPE_CHECKING:
    from llm_trace.comparison.answers import AnswerPair
    from llm_trace.comparison.changes import Change
    from llm_trace.comparison.comparison import Comparison
    from llm_trace.comparison.records import Metric

TEXT = 300
"""Characters of an input or an answer."""


class CompareQuestion(ToolQuestion):
    """Two sides, and which pairs of calls to list of them."""

    a: str = Field(
        description="A run (id or name), a prompt version ('refund-desk v1', refund@1) or a model."
    )
    b: str = Field(description="The same, for what is to be judged.")
    by: str | None = Field(
        default=None, description="Pairs calls by this: replay, metadata.KEY, input.ARGUMENT, variables.NAME."
    )
    metrics: list[str] | None = Field(default=None, description="Only these; every score and cost if absent.")
    slices: list[str] = Field(default=["tag"], description="Compare each value of these too: tag, input.X …")
    lower: list[str] = Field(default=[], description="Scores that are better when lower.")
    outcome: PairOutcome | None = Field(default=None, description="List these pairs instead of the metrics.")
    metric: str | None = Field(
        default=None, description="That got worse or better; the first that did if absent."
    )
    limit: RowLimit = 10
    offset: Offset = 0


def answer_compare(bench: Workbench, question: CompareQuestion) -> ToolAnswer:
    """Return the differences of b from a with bounds and tests, or some of the pairs.

    Raises:
        NotFoundError: a side does not exist, or no call of a has a partner in b.
    """
    from llm_trace.comparison.remembered import compare_once

    comparison = compare_once(
        bench.store, question.a, question.b, by=question.by, metrics=question.metrics,
        slices=question.slices, lower=question.lower,
    )  # fmt: skip
    if question.outcome is not None:
        return _answer_pairs(comparison, question)
    slices = [
        {"slice": part.name, "pairs": part.pairs, **_format_metric(metric)}
        for part in comparison.slices
        for metric in part.metrics
        if metric.verdict in DECIDED
    ]
    recorded = {
        "a": comparison.a, "b": comparison.b, "paired_by": comparison.paired_by,
        "metrics": [_format_metric(metric) for metric in order_metrics(comparison)],
        "slices_decided": slices[:10],
        "changes": [_format_change(change) for change in comparison.changes()[:5]],
        "warnings": [*comparison.warnings, *comparison.notes],
    }  # fmt: skip
    return ToolAnswer(
        verdict=_conclude(comparison), more=tuple(_list_more(comparison)), recorded=drop_empty(recorded)
    )


def order_metrics(comparison: Comparison) -> list[Metric]:
    """Return the metrics: what says how good answers are before what they cost, what got worse first."""
    ranks = {"worse": 0, "better": 1, "higher": 2, "lower": 2, "undecided": 3}
    return sorted(comparison.metrics, key=lambda m: (m.name in COSTS, ranks.get(m.verdict, 4)))


def _conclude(comparison: Comparison) -> str:
    ordered = order_metrics(comparison)
    counts = {v: sum(m.verdict == v for m in ordered) for v in ("worse", "better", "undecided")}
    head = (
        f"{count_things(comparison.pairs, 'pair')}, {comparison.confidence:.0%} sure: b is worse in "
        f"{count_things(counts['worse'], 'metric')}, better in {counts['better']}, "
        f"undecided in {counts['undecided']}"
    )
    first = ordered[0] if ordered else None
    if first is None or first.low is None or first.high is None:
        return f"{head}."
    q = "" if first.q_value is None else f", q {first.q_value:.2g}"
    more = f"; {first.further:,} more pairs would decide it" if first.further else ""
    return (
        f"{head}. The first, metrics[0]: {first.a:.3g} in a, {first.b:.3g} in b, difference "
        f"{first.difference:+.3g} ({first.low:+.3g} to {first.high:+.3g}{q}), {first.verdict}{more}."
    )


def _format_metric(metric: Metric) -> dict[str, Any]:
    names = ("name", "better", "n", "a", "b", "difference", "low", "high", "q_value", "verdict", "further")
    return drop_empty(metric.model_dump(include=set(names)))


def _format_change(change: Change) -> dict[str, Any]:
    lines = list(
        difflib.unified_diff(
            change.a.splitlines(), change.b.splitlines(), change.label_a or "a", change.label_b or "b",
            n=1, lineterm="",
        )
    )  # fmt: skip
    return drop_empty({"what": change.what, "name": change.name, "diff": lines})


def _list_more(comparison: Comparison) -> list[MoreRequest]:
    """Return requests for the pairs of which one metric got worse, and for those with another answer."""
    gives = {"worse": "the pairs that got worse", "other": "the pairs with another answer"}
    if not any(outcome.worse for outcome in comparison.outcomes()):
        del gives["worse"]
    return [
        MoreRequest(gives=text, tool="compare", arguments={"outcome": outcome}, same_otherwise=True)
        for outcome, text in gives.items()
    ]


def _answer_pairs(comparison: Comparison, question: CompareQuestion) -> ToolAnswer:
    assert question.outcome is not None
    metric = question.metric or _choose_metric(comparison, question.outcome)
    pairs = comparison.answers(
        question.outcome, metric=metric, limit=question.limit + 1, offset=question.offset
    )
    rows = [_format_pair(pair, changed=question.by == "replay") for pair in pairs]
    shown, more = fit_page(rows, question.limit, question.offset, "compare")
    verdict = (
        f"{count_things(len(shown), 'pair')} of {comparison.pairs:,}, from number {question.offset + 1:,} on."
    )
    recorded = drop_empty({"metric": metric, "pairs": shown})
    return ToolAnswer(verdict=verdict if shown else "No such pair.", more=more, recorded=recorded)


def _choose_metric(comparison: Comparison, outcome: PairOutcome) -> str | None:
    """Return the first metric of which some pairs got worse, or better; none where that is not asked."""
    if outcome not in ("worse", "better"):
        return None
    counts = {each.metric: getattr(each, outcome) for each in comparison.outcomes()}
    return next((m.name for m in order_metrics(comparison) if counts.get(m.name)), next(iter(counts), None))


def _format_pair(pair: AnswerPair, *, changed: bool) -> dict[str, Any]:
    """Return a pair; what b was asked only where that was `changed`, and what answers cost not at all."""
    differing = {n: list(v) for n, v in pair.values.items() if n not in COSTS and v[0] != v[1]}
    return drop_empty(
        {
            "a": pair.a, "b": pair.b, "input": cut_text(pair.input, TEXT),
            "input_b": cut_text(pair.input_b, TEXT) if changed else None,
            "output_a": cut_text(pair.output_a, TEXT), "output_b": cut_text(pair.output_b, TEXT),
            "slices": list(pair.slices),
            "values": differing,
        }
    )  # fmt: skip
