"""A scenario: a question with slots, from which fresh instances with computed answers are made."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from functools import cached_property
from random import Random
from typing import Any

from pydantic import ValidationError

from llm_trace.errors import ScenarioError
from llm_trace.evaluation.checks import check_scenario, describe_invalid
from llm_trace.evaluation.edits import ScenarioEdit, edit_input, is_meant, override_slots
from llm_trace.evaluation.expressions import (
    FieldPath,
    SlotValues,
    compile_answer,
    compile_value,
    compute_json,
)
from llm_trace.evaluation.fresh import Draw, draw_allowed, draw_fresh
from llm_trace.evaluation.instances import Instance, Variant, dump_sorted_json, read_source, to_json_value
from llm_trace.evaluation.public_set import hash_public, make_public_instances, read_public
from llm_trace.evaluation.scenario_fields import ScenarioFields
from llm_trace.evaluation.slots import Computed, draw_slots

ENOUGH = 10
"""Fresh instances from which an edit that changes none of them is hardly left out by chance."""


class Scenario(ScenarioFields):
    """A question with slots; texts of `input` are templates, and the answer is computed.

    Raises:
        ScenarioError: it cannot work; the message says where and what to change.
    """

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as exc:
            raise describe_invalid(exc, type(self)) from exc
        check_scenario(self)

    @cached_property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of what decides which instances are made."""
        fields = self.model_dump(mode="json", exclude={"about", "public"})
        functions = [read_source(e.function) for e in (*self.preserving, *self.changing) if e.function]
        data = dump_sorted_json([fields, functions, hash_public(self.public)])
        return hashlib.sha256(data).hexdigest()[:12]

    def make_instances(self, n: int, seed: int = 0) -> list[Instance]:
        """Return n fresh instances, each followed by its variants, and at most n public ones.

        Equal seeds give equal instances, and the first of more are those of fewer. Seeds less than 8 apart
        share no input where the slots allow; where they do not, a warning says so, as of an edit that changes
        nothing. No fresh instance is a public one.

        Raises:
            ScenarioError: something cannot be drawn or computed; the message names the values.
        """
        random = Random(f"{self.id}:{seed}")
        examples = read_public(self.public) if self.public else ()
        fresh = draw_fresh(lambda: self._draw(random), n, seed, [each.input for each in examples])
        self._warn(n, len(fresh.draws), fresh.shared)
        instances: list[Instance] = []
        for number, draw in enumerate(fresh.draws):
            original = self._build(f"{self.id}/{seed}.{number}", "fresh", draw)
            instances += [original, *self._vary(original, draw)]
        if len(fresh.draws) >= ENOUGH or 0 < len(fresh.draws) < n:
            self._warn_of_edits({each.edit for each in instances}, len(fresh.draws))
        return [*instances, *make_public_instances(self.id, examples, n, seed)]

    def _draw(self, random: Random) -> Draw:
        values = draw_allowed(self.slots, self.constraints, random)
        return Draw(values, self._render(values))

    def _render(self, values: SlotValues) -> dict[str, Any]:
        return {
            name: compute_json(compile_value(template), values, ("input", name), f"input {name!r}")
            for name, template in self.input.items()
        }

    def _answer(self, values: SlotValues, where: FieldPath = ("expected",)) -> Any:
        return compute_json(compile_answer(self.expected), values, where, "expected")

    def _build(self, id_: str, variant: Variant, draw: Draw, **fields: Any) -> Instance:
        return Instance.model_validate(
            {
                "id": id_, "scenario": self.id, "variant": variant, "input": draw.input,
                "expected": self._answer(draw.values), "slots": to_json_value(draw.values),
                "decisive": tuple(_list_standing(self._list_decisive(draw.values), draw.input)),
                "slices": {name: to_json_value(draw.values[name]) for name in self.slices}, **fields,
            }
        )  # fmt: skip

    def _list_decisive(self, values: SlotValues) -> Iterator[str]:
        for number, word in enumerate(self.decisive):
            if word in self.slots:
                value = to_json_value(values[word])
                yield from map(str, value if isinstance(value, list) else [value])
            else:
                yield str(compute_json(compile_value(word), values, ("decisive", number), "decisive"))

    def _vary(self, original: Instance, draw: Draw) -> Iterator[Instance]:
        for number, edit in enumerate(self.preserving):
            yield from self._edit(original, draw, edit, "preserved", ("preserving", number))
        for number, edit in enumerate(self.changing):
            yield from self._edit(original, draw, edit, "changed", ("changing", number))
        for slot, groups in self.groups.items():
            swapped = [self._swap(original, draw, slot, *each) for each in groups.items()]
            if (
                len({dump_sorted_json(each.input) for each in swapped}) > 1
            ):  # else it does not stand in this one
                yield from swapped

    def _edit(
        self, original: Instance, draw: Draw, edit: ScenarioEdit, variant: Variant, where: FieldPath
    ) -> Iterator[Instance]:
        if not is_meant(edit, draw.values, where):
            return
        values = self._redraw(draw.values, override_slots(edit, draw.values, where))
        arguments = self._render(values) if edit.slots else draw.input
        random = Random(f"{original.id}/{edit.id}")
        expected = self._answer(values, (*where, "slots"))
        if edit.expected is not None:
            known = {**values, "expected": original.expected}
            expected = compute_json(compile_answer(edit.expected), known, (*where, "expected"), "expected")
        if variant == "changed" and expected == original.expected:
            return
        if variant == "preserved" and expected != original.expected:
            raise ScenarioError(
                f"edit {edit.id!r} must leave the answer, but turns {original.expected!r} into "
                f"{expected!r}: move it to `changing`, or limit it by `when`",
                where=where,
            )
        edited = Draw(values, edit_input(edit, arguments, values, random, where))
        if edited.input == draw.input:
            if variant == "preserved":
                return
            raise ScenarioError(
                f"edit {edit.id!r} turns the answer {original.expected!r} into {expected!r} and leaves the "
                "question as it is: change what the question says too, or limit it by `when`",
                where=where,
            )
        yield self._build(
            f"{original.id}/{edit.id}", variant, edited, expected=expected, of=original.id, edit=edit.id
        )

    def _swap(
        self, original: Instance, draw: Draw, slot: str, group: str, choices: tuple[Any, ...]
    ) -> Instance:
        place = int.from_bytes(hashlib.sha256(f"{original.id}/{slot}".encode()).digest()[:4])
        values = self._redraw(draw.values, {slot: choices[place % len(choices)]})
        if (expected := self._answer(values)) != original.expected:
            raise ScenarioError(
                f"{slot}={values[slot]!r} must not matter, but turns {original.expected!r} into "
                f"{expected!r}: compute the answer without it, or leave the group out",
                where=("groups", slot, group),
            )
        swapped = Draw(values, self._render(values))
        id_ = f"{original.id}/{slot}={group}"
        return self._build(id_, "swapped", swapped, of=original.id, edit=slot, group=group)

    def _redraw(self, values: SlotValues, overrides: SlotValues) -> dict[str, Any]:
        """Return the values with some replaced and the computed ones computed again."""
        fixed = {
            name: value for name, value in values.items() if not isinstance(self.slots[name], Computed)
        } | dict(overrides)
        return draw_slots(self.slots, Random(0), fixed)

    def _warn(self, n: int, count: int, shared: int) -> None:
        if shared or count < n:
            lacking = f"makes only {count} different instances of the {n} that were asked for" * (count < n)
            common = f"makes {shared} instances that other seeds may make too" * bool(shared)
            warnings.warn(
                f"scenario {self.id!r} {' and '.join(filter(None, (lacking, common)))}: its slots allow "
                "no more; widen them, or ask for fewer",
                stacklevel=3,
            )

    def _warn_of_edits(self, made: set[str | None], count: int) -> None:
        names = [*(edit.id for edit in (*self.preserving, *self.changing)), *self.groups]
        for name in names:
            if name not in made:
                warnings.warn(
                    f"scenario {self.id!r}: {name!r} changes none of {count} instances, so nothing is asked "
                    "of it: look at its `when`, and at what it changes",
                    stacklevel=3,
                )


def _list_standing(words: Iterator[str], arguments: dict[str, Any]) -> Iterator[str]:
    """Yield the words that stand in the input: an edit may have taken some out."""
    text = dump_sorted_json(arguments).decode()
    return (word for word in words if word and dump_sorted_json(word).decode()[1:-1] in text)
