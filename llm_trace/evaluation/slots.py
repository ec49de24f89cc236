"""Slots of a scenario: what may vary, and how a value is drawn."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from llm_trace.call_parts import Record
from llm_trace.errors import ScenarioError
from llm_trace.evaluation.expressions import (
    SlotValues,
    check_names,
    compile_expression,
    describe_expression_failure,
)
from llm_trace.evaluation.names import NAMES

Items = str | tuple[Any, ...]
"""A list, or an expression of earlier slots that gives one."""


class ChoiceSlot(Record):
    """One item of a list."""

    choice: Items
    weights: tuple[float, ...] | None = None
    """How often each item comes, relative to the others."""

    def draw(self, random: Random, values: SlotValues) -> Any:
        items = find_items(self.choice, values)
        return random.choices(items, self.weights)[0] if self.weights else random.choice(items)


class IntegerSlot(Record):
    """A whole number from least to most, both included; each may be an expression of earlier slots."""

    integer: tuple[int | str, int | str]
    step: int = Field(1, ge=1)

    def draw(self, random: Random, values: SlotValues) -> int:
        least, most = (int(evaluate_bound(bound, values)) for bound in self.integer)
        if most < least:
            raise ValueError(f"no whole number lies between {least} and {most}")
        return random.randrange(least, most + 1, self.step)


class NumberSlot(Record):
    """A number from least to most, on steps or rounded to digits."""

    number: tuple[float | str, float | str]
    step: float | None = Field(None, gt=0)
    digits: int = Field(2, ge=0, le=12)

    def draw(self, random: Random, values: SlotValues) -> float:
        least, most = (float(evaluate_bound(bound, values)) for bound in self.number)
        if most < least:
            raise ValueError(f"no number lies between {least} and {most}")
        if self.step is None:
            return round(random.uniform(least, most), self.digits)
        return round(least + self.step * random.randint(0, int((most - least) / self.step + 1e-9)), 12)


class Day(Record):
    """A date from the first to the last, both included."""

    date: tuple[datetime.date, datetime.date]

    def draw(self, random: Random, values: SlotValues) -> datetime.date:  # noqa: ARG002
        first, last = self.date
        if last < first:
            raise ValueError(f"no date lies between {first} and {last}")
        return first + datetime.timedelta(days=random.randint(0, (last - first).days))


class NameSlot(Record):
    """A first name of a list that is here: `women`, `men` or `people`."""

    names: Literal["women", "men", "people"]

    def draw(self, random: Random, values: SlotValues) -> str:  # noqa: ARG002
        return random.choice(NAMES[self.names])


class SampleSlot(Record):
    """Some items of a list, each at most once, in a random order."""

    sample: Items
    size: int | str

    def draw(self, random: Random, values: SlotValues) -> list[Any]:
        return random.sample(find_items(self.sample, values), int(evaluate_bound(self.size, values)))


class Shuffle(Record):
    """All items of a list in a random order."""

    shuffle: Items

    def draw(self, random: Random, values: SlotValues) -> list[Any]:
        items = find_items(self.shuffle, values)
        return random.sample(items, len(items))


class Computed(Record):
    """An expression of earlier slots."""

    compute: str

    def draw(self, random: Random, values: SlotValues) -> Any:  # noqa: ARG002
        return compile_expression(self.compute)(values)


KINDS: dict[str, type[Record]] = {
    "choice": ChoiceSlot, "integer": IntegerSlot, "number": NumberSlot, "date": Day,
    "names": NameSlot, "sample": SampleSlot, "shuffle": Shuffle, "compute": Computed,
}  # fmt: skip


def find_kind(value: Any) -> str | None:
    """Return the one key that says what kind of slot it is."""
    if isinstance(value, Mapping):
        kinds = [kind for kind in KINDS if kind in value]
        return kinds[0] if len(kinds) == 1 else None
    return next((kind for kind, type_ in KINDS.items() if isinstance(value, type_)), None)


Slot = Annotated[
    Annotated[ChoiceSlot, Tag("choice")]
    | Annotated[IntegerSlot, Tag("integer")]
    | Annotated[NumberSlot, Tag("number")]
    | Annotated[Day, Tag("date")]
    | Annotated[NameSlot, Tag("names")]
    | Annotated[SampleSlot, Tag("sample")]
    | Annotated[Shuffle, Tag("shuffle")]
    | Annotated[Computed, Tag("compute")],
    Discriminator(
        find_kind,
        custom_error_type="slot_kind",
        custom_error_message=f"a slot has exactly one of {', '.join(KINDS)}",
    ),
]


def find_items(items: Items, values: SlotValues) -> Sequence[Any]:
    """Return the items of a list, or of an expression.

    Raises:
        ValueError: there are none.
    """
    sequence = compile_expression(items)(values) if isinstance(items, str) else items
    if not isinstance(sequence, list | tuple | range) or not sequence:
        raise ValueError(f"a list with items is needed, not {sequence!r}")
    return sequence


def evaluate_bound(bound: float | str, values: SlotValues) -> float:
    """Return a number, or that of an expression."""
    number = compile_expression(bound)(values) if isinstance(bound, str) else bound
    return float(number)


def check_slot(name: str, slot: Slot, known: Sequence[str], later: Sequence[str]) -> None:
    """Check that a slot's expressions use nothing but earlier slots.

    Raises:
        ScenarioError: they do.
    """
    for key, value in slot.model_dump().items():
        texts = [value] if isinstance(value, str) else value if key in ("integer", "number") else ()
        for text in texts:
            if not isinstance(text, str) or key == "names":
                continue
            try:
                check_names(text, known, ("slots", name, key), template=False)
            except ScenarioError as exc:
                late = next((each for each in (name, *later) if f"{each!r} in " in str(exc)), None)
                if late is None:
                    raise
                raise ScenarioError(
                    f"{late!r} in {text!r} comes later: a slot uses earlier ones only, so move it "
                    f"below {late!r}",
                    where=("slots", name, key),
                ) from exc


def draw_slots(slots: Mapping[str, Slot], random: Random, fixed: SlotValues | None = None) -> dict[str, Any]:
    """Return a value for each slot, in their order.

    Args:
        slots: by name.
        random: gives the draws.
        fixed: values that slots have already; computed ones are computed of them.

    Raises:
        ScenarioError: a value cannot be drawn or computed.
    """
    values: dict[str, Any] = {}
    for name, slot in slots.items():
        if fixed is not None and name in fixed:
            values[name] = fixed[name]
            continue
        try:
            values[name] = slot.draw(random, values)
        except Exception as exc:
            raise describe_expression_failure(exc, values, ("slots", name), f"slot {name!r}") from exc
    return values
