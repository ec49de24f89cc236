"""One run, prompt version or model against another: what was changed, metrics with bounds, the answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.comparison.html import place_bounds
from llm_trace.comparison.records import DECIDED
from llm_trace.comparison.words import COSTS, conclude, describe_costs
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.rendering.attribution_data import describe_attribution
from llm_trace.rendering.differences import diff_words
from llm_trace.rendering.texts import cut_text
from llm_trace.stores.run_tree import read_run_lines
from llm_trace.viewer.comparison_request import ComparisonRequest
from llm_trace.viewer.page import STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from llm_trace.comparison.answers import AnswerPair
    from llm_trace.comparison.comparison import Comparison
    from llm_trace.comparison.shift import RecordedPair
    from llm_trace.stores.duckdb import Store

CHOICES = 50
"""Runs to choose from; reruns that were made alike count as one, and are none to choose."""
PAIRS = 20
"""Pairs a page."""
LONGEST = 3000
"""Characters of an answer beside the other; the call's page has it whole."""
WORDS = 12
"""Words of a shift that are shown."""
_MODELS = "SELECT DISTINCT model FROM calls WHERE model IS NOT NULL ORDER BY model LIMIT 50"


def read_comparison(store: Store, request: Request) -> dict[str, Any]:
    """Return what can be compared and, where two sides are named, the comparison."""
    asked = ComparisonRequest.read(request.query_params)
    lines = [line for line in read_run_lines(store, CHOICES) if line.count == 1]
    prompts = [f"{version.name}@{version.number}" for version in store.prompts()]
    choices = {
        "asked": asked,
        "runs": [{"id": line.run["id"], "name": line.run["name"]} for line in lines],
        "sides": [*prompts, *(str(row[0]) for row in store.fetch(_MODELS))],
        "comparison": None,
        "problem": None,
    }
    if not (asked.a and asked.b):
        return choices
    try:
        return {**choices, **_compare(store, asked)}
    except (NotFoundError, ConfigurationError) as exc:  # the form stays, to ask otherwise
        status = 404 if isinstance(exc, NotFoundError) else 400
        return {**choices, "problem": str(exc), STATUS: status}


def _compare(store: Store, asked: ComparisonRequest) -> dict[str, Any]:
    comparison = asked.compare(store)
    tabs = _list_tabs(comparison, asked)
    asked = _choose_tab(asked, tabs)
    metrics = next((s.metrics for s in comparison.slices if s.name == asked.slice), comparison.metrics)
    shift = comparison.recorded_shift()
    return {
        "asked": asked,
        "comparison": comparison,
        "summary": comparison.summary(),
        "conclusion": conclude(comparison),
        "costs": describe_costs(comparison),
        "changes": [
            {"change": change, "diff": diff_words(change.a, change.b)} for change in comparison.changes()
        ],
        "slices": list(_list_slices(comparison, asked)),
        "rows": [{"slice": asked.slice, "metric": m, "range": place_bounds(m)} for m in metrics],
        "tabs": tabs,
        "shift": shift and {**shift.model_dump(), "summary": shift.summary(), "words": shift.words[:WORDS]},
        **_read_pairs(store, comparison, asked),
    }


def _list_tabs(comparison: Comparison, asked: ComparisonRequest) -> list[dict[str, Any]]:
    """Return what of the pairs can be shown, with how many there are: what got worse comes first."""
    part = asked.slice or None
    counts = comparison.outcomes(part)
    tabs: list[dict[str, Any]] = []
    for outcome in ("worse", "better"):
        for count in counts:
            pairs = getattr(count, outcome)
            if pairs:
                tabs.append({"show": outcome, "metric": count.metric, "pairs": pairs})
    tabs.append({"show": "other", "metric": "", "pairs": comparison.count_pairs("other", part)})
    tabs.append({"show": "all", "metric": "", "pairs": comparison.count_pairs("all", part)})
    return [{**tab, "link": asked.link(show=tab["show"], metric=tab["metric"])} for tab in tabs]


def _choose_tab(asked: ComparisonRequest, tabs: list[dict[str, Any]]) -> ComparisonRequest:
    """Return what is shown where the address does not say: what got worse in how good answers are."""
    if asked.show:
        return asked
    telling = [tab for tab in tabs if tab["show"] == "worse" and tab["metric"] not in COSTS]
    tab = next(tab for tab in (*telling, *tabs) if tab["show"] in ("other", "all") or tab in telling)
    return replace(asked, show=tab["show"] if tab["pairs"] else "all", metric=tab["metric"])


def _list_slices(comparison: Comparison, asked: ComparisonRequest) -> Iterator[dict[str, Any]]:
    yield {"name": "", "pairs": comparison.pairs, "link": asked.link(slice=""), "verdicts": ()}
    for part in comparison.slices:
        decided = [m for m in part.metrics if m.verdict in DECIDED and m.name not in COSTS]
        yield {
            "name": part.name,
            "pairs": part.pairs,
            "link": asked.link(slice=part.name),
            "verdicts": [(m.name, m.verdict) for m in decided],
        }


def _read_pairs(store: Store, comparison: Comparison, asked: ComparisonRequest) -> dict[str, Any]:
    from llm_trace.comparison.shift import find_recorded_pairs, list_explained

    pairs = comparison.answers(
        asked.show or "all",  # type: ignore[arg-type]  # read from the address as one of them
        metric=asked.metric or None,
        slice=asked.slice or None,
        limit=PAIRS + 1,
        offset=asked.begin,
    )
    explained = list_explained(store, [(pair.a, pair.b) for pair in pairs[:PAIRS]])
    recorded = find_recorded_pairs(store, explained)
    return {
        "pairs": [_describe_pair(pair, recorded.get((pair.a, pair.b)), asked.by) for pair in pairs[:PAIRS]],
        "next": asked.link(begin=asked.begin + PAIRS) if len(pairs) > PAIRS else None,
        "previous": asked.link(begin=max(0, asked.begin - PAIRS)) if asked.begin else None,
    }


def _diff_questions(pair: AnswerPair, by: str) -> list[dict[str, str]] | None:
    """Return what a replay was asked otherwise; elsewhere what differs in the input is what is compared."""
    if by != "replay" or pair.input == pair.input_b:
        return None
    return diff_words(*(cut_text(_write_question(text), LONGEST) for text in (pair.input, pair.input_b)))


def _describe_pair(pair: AnswerPair, recorded: RecordedPair | None, by: str) -> dict[str, Any]:
    a, b = cut_text(pair.output_a, LONGEST), cut_text(pair.output_b, LONGEST)
    return {
        "pair": pair,
        "asked": _write_question(pair.input),
        "question": _diff_questions(pair, by),
        "diff": diff_words(a, b),
        "same": pair.output_a == pair.output_b,
        "changed": {name: ends for name, ends in pair.values.items() if ends[0] != ends[1]},
        "mattered": recorded and [describe_attribution(x) for x in (recorded.of_a, recorded.of_b)],
    }


def _write_question(text: str) -> str:
    """Return what was asked as one reads it: of arguments in JSON their names and values."""
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if not isinstance(arguments, dict):
        return text
    return " · ".join(f"{name}: {value}" for name, value in arguments.items())
