"""Edits of an instance: those that leave its meaning, and those that change it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Literal

from pydantic import Field

from llm_trace.call_parts import Record
from llm_trace.errors import ScenarioError
from llm_trace.evaluation.expressions import (
    FieldPath,
    SlotValues,
    check_names,
    compile_answer,
    compile_expression,
    compile_text,
    compile_value,
    compute_json,
)

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class Distractors(Record):
    """Sentences that say nothing to the question, put into one argument."""

    into: str
    """The argument."""
    sentences: tuple[str, ...] = Field(min_length=1)
    """To choose from; templates."""
    count: int = Field(1, ge=1)
    at: Literal["start", "end", "any"] = "any"
    """Before the text, after it, or between its sentences too."""


class ScenarioEdit(Record):
    """One way in which an instance becomes another; what is given is done in this order."""

    id: str = ""
    """Unique in the scenario; by default its kind and number, such as `changing 1`."""
    when: str | None = None
    """An expression: only instances for which it is true have this variant."""
    slots: dict[str, Any] = Field(default_factory=dict)
    """Other values of slots; texts are expressions of the drawn ones. Computed slots follow."""
    input: dict[str, Any] = Field(default_factory=dict)
    """Other wordings of arguments; templates."""
    replace: dict[str, dict[str, str]] = Field(default_factory=dict)
    """By argument, what is replaced in its text by what; templates both."""
    distractors: Distractors | None = None
    function: Callable[[dict[str, Any]], Mapping[str, Any]] | None = Field(None, exclude=True)
    """From Python: the input of the variant for that of the instance, as of a paraphrase by a model."""
    expected: Any = None
    """Of a changing edit its answer, as in the scenario; in it `expected` is the answer before. By default
    the scenario's own is computed with the other slots.
    """

    @property
    def acts(self) -> bool:
        """Whether it does anything."""
        parts = (self.slots, self.input, self.replace, self.distractors, self.function)
        return any(part for part in parts)


def check_edit(
    edit: ScenarioEdit, slots: Sequence[str], arguments: Mapping[str, Any], where: FieldPath
) -> None:
    """Check an edit against the scenario that it is of.

    Raises:
        ScenarioError: it does nothing, or names a slot or argument that is not there.
    """
    if not edit.acts:
        raise ScenarioError("the edit does nothing: give slots, input, replace or distractors", where=where)
    for key, names, known, what in (
        ("slots", edit.slots, slots, "slot"),
        ("input", edit.input, tuple(arguments), "argument of input"),
        ("replace", edit.replace, tuple(arguments), "argument of input"),
    ):
        for name in names:
            check_known(name, known, what, (*where, key, name))
    check_names(edit.slots, slots, (*where, "slots"), template=False)
    check_names(edit.input, slots, (*where, "input"), template=True)
    for name, pairs in edit.replace.items():
        check_names([*pairs, *pairs.values()], slots, (*where, "replace", name), template=True)
    if edit.when is not None:
        check_names(edit.when, slots, (*where, "when"), template=False)
    check_names(edit.expected, (*slots, "expected"), (*where, "expected"), template=False)
    if edit.distractors is not None:
        check_known(
            edit.distractors.into, tuple(arguments), "argument of input", (*where, "distractors", "into")
        )
        check_names(edit.distractors.sentences, slots, (*where, "distractors", "sentences"), template=True)


def check_known(name: str, known: Sequence[str], what: str, where: FieldPath) -> None:
    """Check that a name is one of those known.

    Raises:
        ScenarioError: it is not; the message lists them.
    """
    if name not in known:
        raise ScenarioError(f"{name!r} is no {what}: there are {', '.join(known) or 'none'}", where=where)


def override_slots(edit: ScenarioEdit, values: SlotValues, where: FieldPath) -> dict[str, Any]:
    """Return the other values that an edit gives slots."""
    overrides = {}
    for name, value in edit.slots.items():
        place = (*where, "slots", name)
        overrides[name] = compute_json(compile_answer(value), values, place, f"slot {name!r}")
    return overrides


def is_meant(edit: ScenarioEdit, values: SlotValues, where: FieldPath) -> bool:
    """Return whether an edit is for instances with these values."""
    if edit.when is None:
        return True
    return bool(compute_json(compile_expression(edit.when), values, (*where, "when"), "when"))


def edit_input(
    edit: ScenarioEdit, arguments: Mapping[str, Any], values: SlotValues, random: Random, where: FieldPath
) -> dict[str, Any]:
    """Return the input of a variant.

    Args:
        arguments: the input with the variant's slots.
        values: the variant's slots.
        random: places the distractors.

    Raises:
        ScenarioError: a template cannot be computed, a text to replace is not there, or a function raised.
    """
    edited = dict(arguments)
    for name, template in edit.input.items():
        edited[name] = compute_json(
            compile_value(template), values, (*where, "input", name), f"input {name!r}"
        )
    for name, pairs in edit.replace.items():
        edited[name] = _replace_words(edited[name], pairs, values, (*where, "replace", name))
    if edit.distractors is not None:
        edited |= _add_distractors(edit.distractors, edited, values, random, (*where, "distractors"))
    if edit.function is not None:
        edited |= _call_function(edit.function, edited, where)
    return edited


def _call_function(
    function: Callable[[dict[str, Any]], Mapping[str, Any]], arguments: Mapping[str, Any], where: FieldPath
) -> dict[str, Any]:
    changed = compute_json(lambda known: function(dict(known)), arguments, where, "the edit's function")
    if not isinstance(changed, dict):
        raise ScenarioError(
            f"the edit's function returned {changed!r}, and no arguments by name", where=where
        )
    return changed


def _replace_words(text: Any, pairs: Mapping[str, str], values: SlotValues, where: FieldPath) -> str:
    edited = str(text)
    for old, new in pairs.items():
        before, after = (
            str(compute_json(compile_text(each), values, where, "replace")) for each in (old, new)
        )
        if before not in edited:
            raise ScenarioError(
                f"{before!r} does not stand in {edited!r}, so it cannot be replaced: correct it, "
                "or say `when`",
                where=where,
            )
        edited = edited.replace(before, after)
    return edited


def _add_distractors(
    distractors: Distractors,
    arguments: Mapping[str, Any],
    values: SlotValues,
    random: Random,
    where: FieldPath,
) -> dict[str, str]:
    count = min(distractors.count, len(distractors.sentences))
    text = str(arguments[distractors.into])
    for template in random.sample(distractors.sentences, count):
        sentence = str(compute_json(compile_text(template), values, where, "a distractor"))
        places = {"start": [0], "end": [len(text)]}.get(distractors.at) or [
            0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)
        ]  # fmt: skip
        place = random.choice(places)
        before, after = text[:place].rstrip(" "), text[place:].lstrip(" ")
        text = " ".join(part for part in (before, sentence, after) if part)
    return {distractors.into: text}
