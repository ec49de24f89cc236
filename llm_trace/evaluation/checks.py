"""What can be wrong with a scenario before anything is drawn, in words that say where and what to do."""

from __future__ import annotations

import difflib
import keyword
from itertools import combinations
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ScenarioError
from llm_trace.evaluation.edits import Distractors, ScenarioEdit, check_edit, check_known
from llm_trace.evaluation.expressions import FieldPath, check_names, get_environment, list_free_names
from llm_trace.evaluation.public_set import PublicExample, PublicFile
from llm_trace.evaluation.slots import KINDS, Computed, check_slot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel, ValidationError

    from llm_trace.evaluation.scenario_fields import ScenarioFields


def check_scenario(scenario: ScenarioFields) -> None:
    """Check that every name is known where it is used.

    Raises:
        ScenarioError: one is not.
    """
    slots = list(scenario.slots)
    for number, (name, slot) in enumerate(scenario.slots.items()):
        _check_slot_name(name)
        check_slot(name, slot, slots[:number], slots[number + 1 :])
    for number, text in enumerate(scenario.constraints):
        check_names(text, slots, ("constraints", number), template=False)
    check_names(scenario.input, slots, ("input",), template=True)
    check_names(scenario.expected, slots, ("expected",), template=False)
    check_names(scenario.decisive, slots, ("decisive",), template=True)
    for number, name in enumerate(scenario.slices):
        check_known(name, slots, "slot", ("slices", number))
    for varied, groups in scenario.groups.items():
        check_known(varied, slots, "slot", ("groups", varied))
        if len(groups) < 2 or not all(groups.values()):
            raise ScenarioError("give at least two groups, each with a value", where=("groups", varied))
        if varied not in _list_shown(scenario):
            raise ScenarioError(
                f"slot {varied!r} does not stand in the input, so swapping it shows nothing: say it there",
                where=("groups", varied),
            )
        _check_groups_differ(varied, groups)
    _check_edits(scenario, slots)


def _check_edits(scenario: ScenarioFields, slots: list[str]) -> None:
    seen: set[str] = set()
    for key, edits in (("preserving", scenario.preserving), ("changing", scenario.changing)):
        for number, edit in enumerate(edits):
            check_edit(edit, slots, scenario.input, (key, number))
            if edit.id in seen:
                raise ScenarioError(f"there are two edits {edit.id!r}: rename one", where=(key, number, "id"))
            seen.add(edit.id)
            if key == "preserving" and edit.expected is not None:
                raise ScenarioError(
                    "a preserving edit leaves the answer: leave `expected` out, or move it to `changing`",
                    where=(key, number, "expected"),
                )
            if key == "changing" and edit.expected is None and not edit.slots:
                raise ScenarioError(
                    "a changing edit says its own answer: add `expected`", where=(key, number)
                )


def _list_shown(scenario: ScenarioFields) -> set[str]:
    """Return the slots that the input depends on, those included that others are computed of."""
    shown = list_free_names(scenario.input)
    for name, slot in reversed(scenario.slots.items()):
        if name in shown and isinstance(slot, Computed):
            shown |= list_free_names(f"{{{{ {slot.compute} }}}}")
    return shown


def _check_groups_differ(varied: str, groups: Mapping[str, Sequence[Any]]) -> None:
    for (one, values), (other, others) in combinations(groups.items(), 2):
        if common := [value for value in values if value in others]:
            raise ScenarioError(
                f"{common[0]!r} is in the groups {one!r} and {other!r}: leave it in one of them",
                where=("groups", varied),
            )


def _check_slot_name(name: str) -> None:
    reserved = {*get_environment().globals, "expected", "none", "true", "false", "self", "loop"}
    if not name.isidentifier() or keyword.iskeyword(name) or name in reserved:
        why = "has a meaning of its own in expressions" if name in reserved else "is no name for expressions"
        raise ScenarioError(f"slot {name!r} {why}: rename it", where=("slots", name))


def describe_invalid(exc: ValidationError, scenario: type[BaseModel]) -> ScenarioError:
    """Return what is wrong with the fields of a scenario: the first complaint, with its place."""
    error = min(exc.errors(), key=lambda each: each["type"] != "extra_forbidden")  # a typo explains the rest
    where = _drop_tags(error["loc"])
    if error["type"] == "extra_forbidden":
        model = _find_model(error["loc"][:-1], scenario)
        return ScenarioError(_refuse_key(str(error["loc"][-1]), model), where=where)
    if error["type"] == "missing":
        return ScenarioError(f"{'.'.join(map(str, where))} is missing: add it", where=where)
    message = f"{_translate(error['msg'])} (it is {error['input']!r})"
    return ScenarioError(f"{'.'.join(map(str, where))}: {message}", where=where)


_WORDS = {"Value error, ": "", "a valid tuple": "a list", "a valid dictionary": "keys with values"}
"""What pydantic calls things, and what somebody who writes YAML does."""


def _translate(message: str) -> str:
    for word, plain in _WORDS.items():
        message = message.replace(word, plain)
    return message


def _drop_tags(place: FieldPath) -> FieldPath:
    """Return the keys of a place without the names of kinds that pydantic puts between them."""
    match place:
        case ("slots", name, kind, *rest) if kind in KINDS:
            return ("slots", name, *rest)
        case ("public", "a file" | "examples", *rest):
            return ("public", *rest)
        case _:
            return place


def _find_model(place: tuple[str | int, ...], scenario: type[BaseModel]) -> type[BaseModel]:
    match place:
        case ("slots", _, str(kind), *_) if kind in KINDS:
            return KINDS[kind]
        case ("preserving" | "changing", _, "distractors"):
            return Distractors
        case ("preserving" | "changing", _):
            return ScenarioEdit
        case ("public", *rest):
            return PublicExample if any(isinstance(part, int) for part in rest) else PublicFile
        case _:
            return scenario


def _refuse_key(key: str, model: type[BaseModel]) -> str:
    known: list[Any] = [name for name, field in model.model_fields.items() if not field.exclude]
    near = difflib.get_close_matches(key, known, 1)
    remedy = f"did you mean {near[0]!r}?" if near else f"use {', '.join(known)}"
    return f"{key!r} is unknown here: {remedy}"
