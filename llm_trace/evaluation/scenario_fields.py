"""The fields of a scenario, as Python and YAML give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from llm_trace.call_parts import Record
from llm_trace.evaluation.edits import ScenarioEdit
from llm_trace.evaluation.public_set import PublicSet
from llm_trace.evaluation.slots import Slot


class ScenarioFields(Record):
    """What a scenario consists of."""

    id: str = Field(pattern=r"^[^/\s][^/\n]*$")
    """Its name; without a slash."""
    about: str = ""
    """What it tests, for people."""
    slots: dict[str, Slot] = Field(default_factory=dict)
    """What varies, in the order of drawing: a slot may use earlier ones."""
    constraints: tuple[str, ...] = ()
    """Expressions that every draw meets."""
    input: dict[str, Any] = Field(min_length=1)
    """Arguments of the function by name; `{{ slot }}` alone stays a number or list."""
    expected: Any = None
    """The answer: an expression such as `price * count`, or a template where it has `{{ }}`."""
    decisive: tuple[str, ...] = ()
    """What of the input decides the answer: slots, or words (templates)."""
    preserving: tuple[ScenarioEdit, ...] = ()
    """Edits that leave the answer as it is."""
    changing: tuple[ScenarioEdit, ...] = ()
    """Edits that change it."""
    groups: dict[str, dict[str, tuple[Any, ...]]] = Field(default_factory=dict)
    """By slot, groups of values that must not matter, by name."""
    slices: tuple[str, ...] = ()
    """Slots by whose values results are told apart, such as where a fact was planted."""
    public: PublicSet | None = None
    """A fixed set of examples of the same kind that anybody may have seen."""

    @field_validator("preserving", "changing", mode="after")
    @classmethod
    def _name_edits(cls, edits: tuple[ScenarioEdit, ...], info: Any) -> tuple[ScenarioEdit, ...]:
        return tuple(
            edit if edit.id else edit.model_copy(update={"id": f"{info.field_name} {number}"})
            for number, edit in enumerate(edits, start=1)
        )

    @field_validator("groups", mode="before")
    @classmethod
    def _name_groups(cls, groups: Any) -> Any:
        if not isinstance(groups, Mapping):
            return groups
        return {
            slot: {str(each): (each,) for each in values} if isinstance(values, list | tuple) else values
            for slot, values in groups.items()
        }
