"""Fresh draws of a scenario: within its constraints, each surface form once, other ones for other seeds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from llm_trace.errors import ScenarioError
from llm_trace.evaluation.expressions import compile_expression, compute
from llm_trace.evaluation.instances import dump_sorted_json
from llm_trace.evaluation.slots import Slot, draw_slots

ATTEMPTS = 10_000
"""Draws after which constraints that were never met count as impossible."""
CLASSES = 8
"""Surface forms are divided into so many classes by their hash; a seed takes those of class
`seed % CLASSES`, so that seeds less than this apart share no surface form, however many instances each makes.
"""
STALE = 1_000
"""Draws without a new surface form after which there are taken to be no more."""


class Draw(NamedTuple):
    """SlotValues of all slots, and the input that they make."""

    values: dict[str, Any]
    input: dict[str, Any]


class FreshDraws(NamedTuple):
    """What was drawn for a seed."""

    draws: list[Draw]
    shared: int
    """Of these, the last ones that other seeds may have too: the slots allow no more of this seed's own."""


def draw_fresh(
    draw: Callable[[], Draw], n: int, seed: int, known: Iterable[Mapping[str, Any]] = ()
) -> FreshDraws:
    """Return at most n draws with different inputs, none of them known, the first ones such that seeds share
    none.
    """
    own: list[Draw] = []
    others: list[Draw] = []
    seen = {_hash_input(each) for each in known}
    stale = 0
    while len(own) < n and stale < STALE:
        candidate = draw()
        surface = _hash_input(candidate.input)
        stale += 1
        if surface in seen:
            continue
        if int.from_bytes(surface[:4]) % CLASSES == seed % CLASSES:
            own.append(candidate)
            seen.add(surface)
            stale = 0
        elif len(others) < n:
            others.append(candidate)
            seen.add(surface)
    shared = others[: n - len(own)]
    return FreshDraws([*own, *shared], len(shared))


def _hash_input(arguments: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(dump_sorted_json(arguments)).digest()


def draw_allowed(slots: Mapping[str, Slot], constraints: Sequence[str], random: Random) -> dict[str, Any]:
    """Return values of all slots that meet the constraints.

    Raises:
        ScenarioError: none did in 10,000 draws; the message names the constraint that failed most.
    """
    refused: Counter[int] = Counter()
    for values in _iterate_draws(slots, random):
        failing = next(_find_failing(constraints, values), None)
        if failing is None:
            return values
        refused[failing] += 1
    ((number, times),) = refused.most_common(1)
    raise ScenarioError(
        f"no draw of the slots met the constraints in {ATTEMPTS:,} attempts; {constraints[number]!r} was "
        f"false in {times:,} of them: widen the slots, or compute one of them so that it holds",
        where=("constraints", number),
    )


def _iterate_draws(slots: Mapping[str, Slot], random: Random) -> Iterator[dict[str, Any]]:
    for _ in range(ATTEMPTS):
        yield draw_slots(slots, random)


def _find_failing(constraints: Sequence[str], values: Mapping[str, Any]) -> Iterator[int]:
    for number, text in enumerate(constraints):
        place, what = ("constraints", number), f"constraint {text!r}"
        if not compute(compile_expression(text), values, place, what):
            yield number
