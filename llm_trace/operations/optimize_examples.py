"""Examples that prompts are tried on: logged calls or a dataset, each with what is known of its answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.attribution.remote.prompts import put_text
from llm_trace.attribution.studies.answering import ToolPrompt
from llm_trace.attribution.studies.template_edits import fill_tokens
from llm_trace.attribution.studies.template_pieces import parse_template
from llm_trace.errors import ConfigurationError
from llm_trace.rendering.formatting import count_things
from llm_trace.stores.lookup import read_scores

if TYPE_CHECKING:
    from llm_trace.attribution.studies.answering import AskedPrompt, PromptLike
    from llm_trace.comparison.dataset import Dataset, Example
    from llm_trace.operations.diet_cases import Case
    from llm_trace.record import Call, Score
    from llm_trace.stores.duckdb import Store

FEWEST = 8
"""Examples below which nothing can be learnt on some and confirmed on others."""


@dataclass(frozen=True)
class Trying:
    """An example to try prompts on."""

    id: str
    """The same in every run."""
    values: Mapping[str, str]
    """Of the variables, as they stand in the prompt."""
    subject: Call | Example
    """What the score is told of."""
    known: tuple[str, ...]
    """What people and attributions say of the logged answer, and what is expected."""
    case: Case | None = None

    def render(self, template: str) -> AskedPrompt:
        """Return what is asked with another template.

        Raises:
            ValueError: it is no template, or has a variable that this example lacks.
        """
        tokens = parse_template(template)
        if lacking := {token.text for token in tokens if token.is_field} - self.values.keys():
            names = ", ".join(sorted(f"{{{name}}}" for name in lacking))
            raise ValueError(f"it has variables that no call gives: {names}")
        filled = fill_tokens(tokens, [self.values[token.text] for token in tokens if token.is_field])
        if not filled.strip():
            raise ValueError("it is empty")
        return filled if self.case is None else _put_filled(self.case, filled)


def _put_filled(case: Case, filled: str) -> AskedPrompt:
    """Return a call's prompt with another text where its template stood."""
    text = case.texts[case.host]
    whole = text[: case.filling.start] + filled + text[case.filling.end :]
    prompt: PromptLike = whole
    if not isinstance(case.prompt, str):
        prompt = [
            put_text(message, whole) if i == case.host else dict(message)
            for i, message in enumerate(case.prompt)
        ]
    return ToolPrompt(prompt, tuple(tool for _, tool in case.tools)) if case.tools else prompt


def list_example_calls(
    store: Store, template: str, cases: Sequence[Case], summaries: Mapping[str, str]
) -> list[Trying]:
    """Return logged calls as examples.

    Args:
        template: that they were made with.
        summaries: what an attribution says of the logged answer, by call.
    """
    fields = [token.text for token in parse_template(template) if token.is_field]
    scores = read_scores(store, [case.call.span_id for case in cases])
    examples = []
    for case in cases:
        span_id, text = case.call.span_id, case.texts[case.host]
        values = {name: text[a:b] for name, (a, b) in zip(fields, case.filling.values, strict=True)}
        known = [_describe_score(score) for score in scores.get(span_id, ())]
        if span_id in summaries:
            known.append(f"Of the logged answer {case.answer!r} an attribution says: {summaries[span_id]}")
        examples.append(Trying(span_id, values, case.call, tuple(known), case))
    return examples


def _describe_score(score: Score) -> str:
    who = "A person" if score.source == "human" else "A score"
    return f"{who} said {score.name}: {score.value}" + (f" ({score.comment})" if score.comment else "")


def list_dataset(template: str, dataset: Dataset) -> list[Trying]:
    """Return the examples of a dataset, whose inputs are the prompt's variables, each once.

    Raises:
        ConfigurationError: one lacks a variable.
    """
    fields = {token.text for token in parse_template(template) if token.is_field}
    examples = []
    for example in {example.id: example for example in dataset}.values():
        if lacking := fields - example.input.keys():
            raise ConfigurationError(
                f"example {example.id} of {dataset.name!r} lacks the variable {min(lacking)!r} of the "
                f"prompt: its input has {', '.join(sorted(example.input)) or 'none'}"
            )
        values = {name: str(value) for name, value in example.input.items()}
        known = () if example.expected is None else (f"Expected: {example.expected}",)
        examples.append(Trying(example.id, values, example, known))
    return examples


class Split(NamedTuple):
    """Examples to learn from, to choose on, and to confirm on."""

    train: tuple[Trying, ...]
    validation: tuple[Trying, ...]
    held_out: tuple[Trying, ...]


def split_examples(examples: Sequence[Trying], seed: int) -> Split:
    """Return a quarter to learn from, a quarter to choose on, and the other half, which neither touches.

    They are ordered by hashes, so that few change places when others come.

    Raises:
        ConfigurationError: there are too few.
    """
    if len(examples) < FEWEST:
        raise ConfigurationError(
            f"{count_things(len(examples), 'example')} cannot suffice to learn on some and confirm on "
            f"others: give at least {FEWEST}"
        )

    def rank(example: Any) -> bytes:
        return hashlib.sha256(f"{seed} {example.id}".encode()).digest()

    ordered = sorted(examples, key=rank)
    quarter = len(ordered) // 4
    return Split(
        tuple(ordered[:quarter]), tuple(ordered[quarter : 2 * quarter]), tuple(ordered[2 * quarter :])
    )
