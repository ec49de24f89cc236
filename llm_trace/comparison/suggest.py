"""`suggest`: changes to a prompt that its attributions speak for, each tried on examples held out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llm_trace.capture.prompts import Prompt
from llm_trace.comparison.judge import PairTable, judge_overall
from llm_trace.comparison.records import Metric
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.record import Record
from llm_trace.rendering.formatting import count_things
from llm_trace.stores.duckdb import Store, open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from llm_trace.attribution.studies.aggregate import Aggregate, PromptPart
    from llm_trace.comparison.dataset import Dataset, Example
    from llm_trace.record import Attribution, Call

    Try = Callable[[Prompt, Example], float]
    Reword = Callable[[str], Sequence[str]]


FEW = 15
"""Held-out examples below which all are needed for trying."""
LOOKED_AT = 10
"""Examples that are scored without each sentence, to find those that do harm."""


class Suggestion(Record):
    """A changed template, why it was proposed, and how it did. It is not applied."""

    kind: Literal["delete", "reword"]
    text: str
    """The stretch of the template that goes."""
    replacement: str
    """What stands in its place; empty for a deletion."""
    template: str
    why: str
    metric: Metric
    """The changed prompt (b) against the one at hand (a) on the held-out examples; false findings
    controlled over all suggestions.
    """


@dataclass(frozen=True)
class Candidate:
    """A suggestion before it was tried; fields as there."""

    kind: Literal["delete", "reword"]
    text: str
    replacement: str
    template: str
    why: str


def suggest(
    prompt: Prompt,
    *,
    examples: Dataset,
    score: Try,
    model: Any,
    store: str | os.PathLike[str] | Store = "llm_trace.duckdb",
    reword: Reword | None = None,
    calls: int = 20,
    most: int = 5,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Suggestion, ...]:
    """Return changes to a prompt with their comparison, the largest gain first.

    Sentences of the template that never mattered or spoke against the answers, over many calls, are proposed,
    and those without which a part of the examples scores better; for deletion, and where `reword` is given,
    for the wordings that it returns. Nothing is changed anywhere.

    Args:
        prompt: the version at hand, which must have calls in the store.
        examples: to try on; those whose input is among the explained calls are left out. Up to ten of a third
            of them serve to look for sentences that do harm (a score of each for each sentence of the
            template), the others to try what was proposed.
        score: runs a prompt on an example and returns how good the answer was; higher is better.
        model: explains the calls, as `llm_trace.attribute` takes it.
        reword: from a sentence to other wordings of it.
        calls: how many of the newest calls are explained.
        most: parts of the template that are tried: first those without which examples scored better, the
            largest gain first.

    Raises:
        NotFoundError: the prompt has no calls.
        ConfigurationError: fewer than two examples are held out.
        AttributionError: no call can be explained.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    explained = _select_calls(opened, prompt, calls)
    held_out = _hold_out(opened, explained, examples)
    aggregated = _aggregate_calls(explained, model=model, seed=seed)
    held_out, looked_at = _split(held_out)
    harm = _measure_harm(prompt, aggregated, looked_at, score)
    candidates = list(_list_candidates(prompt, aggregated, harm, most, reword))
    before = np.array([float(score(prompt, example)) for example in held_out])
    tested = {
        str(i): np.stack([before, [float(score(Prompt(prompt.name, c.template), e)) for e in held_out]])
        for i, c in enumerate(candidates)
    }
    spans = [(example.id, example.id) for example in held_out]
    metrics = judge_overall(
        PairTable(spans, tested, {}, None, dict.fromkeys(tested, "higher"), confidence, seed)
    )
    suggestions = [
        Suggestion(**asdict(candidate), metric=metric.model_copy(update={"name": "score"}))
        for candidate, metric in zip(candidates, metrics, strict=True)
    ]
    return tuple(sorted(suggestions, key=lambda suggestion: -suggestion.metric.difference))


def _select_calls(store: Store, prompt: Prompt, most: int) -> list[Call]:
    name = prompt.name.replace("'", "''")
    where = f"prompt_name = '{name}' AND prompt_version = '{prompt.version}' AND output IS NOT NULL"
    matching = store.calls(where=where, kind="llm", limit=most)
    if not matching:
        raise NotFoundError(
            f"prompt {prompt.name}@{prompt.version} has no model calls in {str(store.path)!r}: use it in "
            f"traced calls first"
        )
    return matching


def _hold_out(store: Store, explained: list[Call], examples: Dataset) -> list[Example]:
    """Return the examples that no explained call, nor a call around one, was about."""
    traces = [call.trace_id for call in explained]
    around = store.fetch("SELECT span_id FROM calls WHERE trace_id IN (SELECT unnest(?))", traces)
    inputs = [store.call(row[0]).input for row in around]
    inputs += [call.prompt.variables for call in explained if call.prompt]
    used = {match.id for value in inputs if (match := examples.example_of(value))}
    left = [example for example in examples if example.id not in used]
    if len(left) < 2:
        raise ConfigurationError(
            f"{len(left)} of {len(examples)} examples are held out, the others are what was explained: give "
            f"at least two more"
        )
    return left


def _aggregate_calls(calls: list[Call], **settings: Any) -> Aggregate:
    from llm_trace.attribution.api import attribute
    from llm_trace.attribution.studies.aggregate import aggregate

    attributions: list[Attribution] = [
        attribute(call, segments="sentence", method="occlusion", **settings) for call in calls
    ]
    return aggregate(attributions)


def _split(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """Return the examples to try on, and every third of many, at most ten, to look for harm with."""
    if len(examples) < FEW:
        return examples, []
    looked_at = examples[::3][:LOOKED_AT]
    return [example for example in examples if example not in looked_at], looked_at


def _measure_harm(
    prompt: Prompt, aggregated: Aggregate, examples: list[Example], score: Try
) -> dict[str, float]:
    """Return how much better the examples score without each sentence of the template, where they do."""
    if not examples:
        return {}
    before = np.mean([float(score(prompt, example)) for example in examples])
    gains = {}
    for part in _list_sentences(prompt, aggregated):
        without = Prompt(prompt.name, _change_prompt(prompt, part.name, "", "").template)
        gains[part.name] = float(np.mean([float(score(without, example)) for example in examples]) - before)
    return {name: gain for name, gain in gains.items() if gain > 0}


def _list_sentences(prompt: Prompt, aggregated: Aggregate) -> list[PromptPart]:
    """Return the parts that stand in the template, once."""
    return [p for p in aggregated.parts if prompt.template.count(p.name) == 1]


def _list_candidates(
    prompt: Prompt, aggregated: Aggregate, harm: dict[str, float], most: int, reword: Reword | None
) -> Iterator[Candidate]:
    proposed = [
        p
        for p in _list_sentences(prompt, aggregated)
        if p.name in harm or p.verdict in ("negligible", "opposes")
    ]
    proposed.sort(key=lambda part: -harm.get(part.name, 0.0))
    for part in proposed[:most]:
        why = (
            f"over {count_things(part.calls, 'call')} it {_describe_part(part)} ({part.mean:+.2g} "
            f"{aggregated.unit})"
        )
        if part.name in harm:
            why = f"examples score {harm[part.name]:.2g} better without it; {why}"
        yield _change_prompt(prompt, part.name, "", why)
        yield from (
            _change_prompt(prompt, part.name, wording, why)
            for wording in (reword(part.name) if reword else ())
        )


def _describe_part(part: PromptPart) -> str:
    did = {
        "negligible": "made no difference",
        "opposes": "spoke against the answers",
        "supports": "spoke for the answers",
    }
    return did.get(part.verdict, "had no clear effect")


def _change_prompt(prompt: Prompt, text: str, replacement: str, why: str) -> Candidate:
    before, _, after = prompt.template.partition(text)
    if not replacement and before[-1:].isspace() and (after[:1].isspace() or not after):
        before = before[:-1]  # one of the two blanks goes with the text
    return Candidate(
        "reword" if replacement else "delete", text, replacement, before + replacement + after, why
    )
