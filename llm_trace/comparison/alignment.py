"""Two traces step by step: which steps are the same, and where the traces part."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal, TypeVar

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.rendering.steps import AgentStep

H = TypeVar("H", bound=Hashable)
StepChange = Literal["same", "changed", "left", "right"]
"""Of a pair of steps: both did the same, both did it otherwise, or one side alone did it."""


@dataclass(frozen=True)
class StepPair:
    """A step of the left trace, its partner in the right one, by number from 0, and what differs."""

    change: StepChange
    left: int | None
    right: int | None


def align_steps(left: Sequence[AgentStep], right: Sequence[AgentStep]) -> list[StepPair]:
    """Return the steps of two traces as pairs, in order.

    Steps are the same where they are of one function and did and gave the same; time, cost and retries do not
    count. What both began with is paired first, then the longest stretches of same steps after it, and
    between those steps of the same function as `changed`.
    """
    ours, theirs = list(map(_write_deed, left)), list(map(_write_deed, right))
    begin = find_parting(left, right)
    pairs = [StepPair("same", i, i) for i in range(begin)]
    for tag, a, b, c, d in _match(ours[begin:], theirs[begin:]):
        if tag == "equal":
            pairs += [
                StepPair("same", begin + i, begin + j) for i, j in zip(range(a, b), range(c, d), strict=True)
            ]
        else:
            pairs += _pair_changed(left, right, range(begin + a, begin + b), range(begin + c, begin + d))
    return pairs


def find_parting(left: Sequence[AgentStep], right: Sequence[AgentStep]) -> int:
    """Return how many steps at the beginning are the same: the number from 0 of the step where they part."""
    pairs = zip(map(_write_deed, left), map(_write_deed, right), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _pair_changed(
    left: Sequence[AgentStep], right: Sequence[AgentStep], ours: range, theirs: range
) -> Iterator[StepPair]:
    """Yield steps that differ: of the same function as a pair, others each on its side."""
    names = [[(side[i].kind, side[i].name) for i in part] for side, part in ((left, ours), (right, theirs))]
    for tag, a, b, c, d in _match(*names):
        if tag == "equal":
            for i, j in zip(ours[a:b], theirs[c:d], strict=True):
                yield StepPair("changed", i, j)
            continue
        for i in ours[a:b]:
            yield StepPair("left", i, None)
        for j in theirs[c:d]:
            yield StepPair("right", None, j)


def _match(a: Sequence[H], b: Sequence[H]) -> list[tuple[str, int, int, int, int]]:
    return SequenceMatcher(None, a, b, autojunk=False).get_opcodes()  # type: ignore[return-value]


def _write_deed(step: AgentStep) -> bytes:
    """Return what a step did and gave; equal for steps that are the same."""
    deed = (step.kind, step.name, step.status == "error", step.text, step.input, step.output, step.error)
    requests = [(request.name, request.arguments) for request in step.requests]
    return orjson.dumps((deed, requests), default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def describe_divergence(left: Sequence[AgentStep], right: Sequence[AgentStep]) -> str:
    """Return in a sentence where two traces part, and what each did there."""
    place = find_parting(left, right)
    if place == len(left) == len(right):
        steps = "step" if place == 1 else f"{place:,} steps"
        return f"They do not part: both took the same {steps}."
    deeds = [_describe_deed(side, place) for side in (left, right)]
    begin = f"They part at step {place + 1}"
    if deeds[0] == deeds[1]:
        return f"{begin}: both {deeds[0]}, with another {_name_change(left, right, place)}."
    return f"{begin}: the left {deeds[0]}, the right {deeds[1]}."


def _describe_deed(steps: Sequence[AgentStep], place: int) -> str:
    if place >= len(steps):
        return "had ended"
    step = steps[place]
    if step.kind == "llm" and step.status == "ok":
        names = [f"`{request.name}`" for request in step.requests]
        return f"called {' and '.join(names)}" if names else "answered"
    failed = f" and failed ({step.error})" if step.error else ""
    return f"{'asked' if step.kind == 'llm' else 'ran'} `{step.name}`{failed}"


def _name_change(left: Sequence[AgentStep], right: Sequence[AgentStep], place: int) -> str:
    """Return what differs in two steps that are told by the same words."""
    a, b = left[place], right[place]
    if a.name != b.name or a.kind != b.kind:
        return "function"
    if a.input != b.input or a.requests != b.requests:
        return "input" if a.input != b.input else "choice of arguments"
    return "text" if a.text != b.text else "result"
